import { writeFileSync } from 'node:fs'
import { createProgram } from './program.ts'
import { roomsText } from './rooms-text.ts'

const { readNothing } =
  createProgram(`Draws docs/rooms.md anew: the rooms of src and the imports between them, as the code has them.

  npm run architecture`)

readNothing()
writeFileSync(new URL('../docs/rooms.md', import.meta.url), await roomsText())
console.log('Wrote docs/rooms.md.')

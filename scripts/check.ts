import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createProgram } from './program.ts'

const { readNothing } = createProgram(`Checks format, lint rules and types. Changes nothing: npm run format does.

  npm run check`)

readNothing()
const root = fileURLToPath(new URL('..', import.meta.url))
for (const [program, args] of [
  ['biome', ['ci', '.']],
  ['tsc', ['-p', '.']],
] as const) {
  const { status } = spawnSync(program, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) process.exit(status ?? 1)
}

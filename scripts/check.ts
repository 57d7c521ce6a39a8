import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createProgram } from './program.ts'

const { readNothing } =
  createProgram(`Checks format, lint rules, types and the rules of the architecture. Changes nothing: npm run format does.

  npm run check`)

readNothing()
const root = fileURLToPath(new URL('..', import.meta.url))
for (const [program, args] of [
  ['biome', ['ci', '.']],
  ['tsc', ['-p', '.']],
  ['depcruise', ['--output-type', 'err-long', 'src', 'testing', 'tests', 'bench', 'faults', 'scripts']],
] as const) {
  const { status } = spawnSync(program, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) process.exit(status ?? 1)
}

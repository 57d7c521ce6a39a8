import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BINARIES, ROOT } from './programs.ts'

export const DENO = join(BINARIES, 'deno')
export const DENO_TASKS: Record<string, { command: string }> = JSON.parse(
  readFileSync(join(ROOT, 'deno.json'), 'utf8'),
).tasks

/** Whether this run has Deno. In CI it always does, so that a missing one is a failure there. */
export function runsOnDeno(): boolean {
  const { status } = spawnSync(DENO, ['--version'])
  if (process.env.CI === 'true' || status === 0) return true
  const line = '='.repeat(100)
  console.warn(`\n${line}\nNOTHING IS TESTED ON DENO: ${DENO} does not run. Install it with: npm ci\n${line}\n`)
  return false
}

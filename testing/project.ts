import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { Variables } from './fixture.ts'
import { ROOT } from './programs.ts'

/** For programs in the project's folder: sets each variable of its `.env` to empty, which counts as absent. */
export function withoutOwnSettings(): Variables {
  const file = join(ROOT, '.env')
  const names = existsSync(file) ? Object.keys(parseEnv(readFileSync(file, 'utf8'))) : []
  return Object.fromEntries(names.map((name) => [name, '']))
}

/** Whether any process of this group runs. A program and its children are one group. */
export function isGroupAlive(pid: number): boolean {
  try {
    process.kill(-pid, 0)
    return true
  } catch {
    return false
  }
}

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { Variables } from './fixture.ts'
import { ROOT } from './programs.ts'

/** For programs that run in the project's folder: each variable that its own `.env` names, empty, and so absent. */
export function withoutOwnSettings(): Variables {
  const file = join(ROOT, '.env')
  const names = existsSync(file) ? Object.keys(parseEnv(readFileSync(file, 'utf8'))) : []
  return Object.fromEntries(names.map((name) => [name, '']))
}

/** Whether a process of this group is left. A program and all that it started are one. */
export function isGroupAlive(pid: number): boolean {
  try {
    process.kill(-pid, 0)
    return true
  } catch {
    return false
  }
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { HOW_TO_GET_A_SERVER, startDatabaseServer } from './database-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    mysql: { host: string; port: number; user: string; password: string } | null
    /** The folder in which the programs that tests start keep what they share. */
    caches: string
  }
}

/** One database server and one folder of caches for the whole run; each test file makes databases of its own in the server. */
export default async function setup(project: TestProject) {
  const caches = mkdtempSync(join(tmpdir(), 'b2b-orders-caches-'))
  project.provide('caches', caches)
  const stopServer = await provideDatabaseServer(project)
  return async () => {
    await stopServer?.()
    rmSync(caches, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function provideDatabaseServer(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const server = await startDatabaseServer()
  if (server === undefined) {
    if (process.env.CI === 'true') throw new Error(HOW_TO_GET_A_SERVER)
    const line = '='.repeat(100)
    console.warn(`\n${line}\nONLY SQLITE IS TESTED.\n${HOW_TO_GET_A_SERVER}\n${line}\n`)
    project.provide('mysql', null)
    return undefined
  }
  console.log(`Testing on SQLite and on ${server.version}`)
  const { host, port, user, password } = server
  project.provide('mysql', { host, port, user, password })
  return server.stop
}

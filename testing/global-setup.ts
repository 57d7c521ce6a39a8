import type { TestProject } from 'vitest/node'
import { HOW_TO_GET_A_SERVER, startDatabaseServer } from './database-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    mysql: { host: string; port: number; user: string; password: string } | null
  }
}

/** One database server for the whole run; each test file creates its own databases. */
export default async function setup(project: TestProject) {
  const server = await startDatabaseServer()
  if (server === undefined) {
    if (process.env.CI === 'true') throw new Error(HOW_TO_GET_A_SERVER)
    const line = '='.repeat(100)
    console.warn(`\n${line}\nONLY SQLITE IS TESTED.\n${HOW_TO_GET_A_SERVER}\n${line}\n`)
    project.provide('mysql', null)
    return
  }
  console.log(`Testing on SQLite and on ${server.version}`)
  const { host, port, user, password } = server
  project.provide('mysql', { host, port, user, password })
  return server.stop
}

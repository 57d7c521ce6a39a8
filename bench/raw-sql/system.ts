import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { endProcess, hasEnded } from '../../scripts/children.ts'
import type { DatabaseServer } from '../../testing/database-server.ts'
import { newDatabaseVariables } from '../../testing/fixture.ts'
import { CUSTOMER, FIRST_PRODUCT, openBenchDatabase, PRODUCTS } from '../fixture.ts'
import { cpuMsOf, type RunningSystem } from '../systems.ts'

/** A loop of SQL that makes its own load. */
export interface RawSql extends RunningSystem {
  name: RawSqlName
  generator: ChildProcess
}

export const RAW_SQL = ['bare, one transaction a step', 'bare, one transaction', 'bare batches'] as const

const FORMS = {
  'bare, one transaction a step': 'two-transactions',
  'bare, one transaction': 'one-transaction',
  'bare batches': 'batches',
} as const
export type RawSqlName = (typeof RAW_SQL)[number]

export async function startRawSql(name: RawSqlName, server: DatabaseServer): Promise<RawSql> {
  const variables = newDatabaseVariables(server, '')
  const database = await openBenchDatabase(variables, { writesEvents: false })
  const generator = fork(fileURLToPath(new URL('loop.ts', import.meta.url)), [FORMS[name]], {
    env: { PATH: process.env.PATH, ...variables },
    execArgv: [],
  })
  return {
    name,
    ours: false,
    generator,
    fixture: { token: '', customerId: CUSTOMER, firstProduct: FIRST_PRODUCT, products: PRODUCTS, confirmed: [] },
    pids: new Map(generator.pid === undefined ? [] : [['loop', generator.pid]]),
    databaseCpuMs: () => cpuMsOf(server.pid),
    ended: () => (hasEnded(generator) ? 'loop' : undefined),
    books: database.books,
    async stop() {
      await endProcess(generator)
      await database.close()
    },
  }
}

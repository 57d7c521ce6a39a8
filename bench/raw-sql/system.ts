import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { endProcess, hasEnded } from '../../scripts/children.ts'
import type { DatabaseServer } from '../../testing/database-server.ts'
import { newDatabaseVariables } from '../../testing/fixture.ts'
import { CUSTOMER, FIRST_PRODUCT, openShop, PRODUCTS } from '../fixture.ts'
import { type Contestant, cpuMsOf } from '../systems.ts'

/** Each makes its own load: there is no HTTP to make it through. */
export interface Bare extends Contestant {
  name: BareName
  generator: ChildProcess
}

export const BARE = ['bare, one transaction a step', 'bare, one transaction', 'bare batches'] as const

const FORMS = {
  'bare, one transaction a step': 'stepwise',
  'bare, one transaction': 'at-once',
  'bare batches': 'batches',
} as const
export type BareName = (typeof BARE)[number]

export async function startBare(name: BareName, server: DatabaseServer): Promise<Bare> {
  const variables = newDatabaseVariables(server, '')
  const shop = await openShop(variables)
  const generator = fork(fileURLToPath(new URL('loop.ts', import.meta.url)), [FORMS[name]], {
    env: { PATH: process.env.PATH, ...variables },
    execArgv: [],
  })
  return {
    name,
    ours: false,
    generator,
    ground: { token: '', customerId: CUSTOMER, firstProduct: FIRST_PRODUCT, products: PRODUCTS, confirmed: [] },
    pids: new Map(generator.pid === undefined ? [] : [['loop', generator.pid]]),
    databaseCpuMs: () => cpuMsOf(server.pid),
    ended: () => (hasEnded(generator) ? 'loop' : undefined),
    books: shop.books,
    async stop() {
      await endProcess(generator)
      await shop.close()
    },
  }
}

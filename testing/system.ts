import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Connection, createConnection } from 'mysql2/promise'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, inject, onTestFinished } from 'vitest'
import { seed } from '../src/compose/demo-data.ts'
import { type Env, parseEnv } from '../src/compose/env.ts'
import { composeSweep } from '../src/compose/jobs.ts'
import { SCOPES, type Scope } from '../src/compose/modules.ts'
import { composeCustomers, composeOrchestrator, composeOrders } from '../src/compose/services.ts'
import { signToken } from '../src/identity/service.ts'
import type { OrdersService } from '../src/orders/service.ts'
import type { Engine } from '../src/platform/database/dialect.ts'
import type { Database } from '../src/platform/database/types.ts'
import { type Serving, serve } from '../src/platform/http/server.ts'
import { type ApiClient, apiClient } from './api-client.ts'
import { createDatabase, dropDatabase, newDatabaseVariables } from './fixture.ts'

/** Runs a suite for each engine of this run. */
export function describeEachEngine(title: string, suite: (engine: Engine) => void): void {
  const engines: Engine[] = inject('mysql') === null ? ['sqlite'] : ['sqlite', 'mysql']
  describe.each(engines)(`${title} on %s`, suite)
}

/** The variables that point a process at a new database. */
export function freshDatabaseVariables(engine: Engine, folder: string): Record<string, string> {
  const server = inject('mysql')
  if (engine === 'mysql' && server === null) throw new Error('this run has no MySQL server')
  return newDatabaseVariables(engine === 'mysql' ? (server ?? undefined) : undefined, folder)
}

export interface TestDatabase {
  db: Database
  variables: Record<string, string>
  drop(): Promise<void>
}

/** A database without rows. */
export async function createTestDatabase(engine: Engine, { migrated = true } = {}): Promise<TestDatabase> {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
  const variables = freshDatabaseVariables(engine, folder)
  const { database } = parseEnv(variables)
  const db = await createDatabase(database, { migrated })
  const drop = async () => {
    await db.destroy()
    await dropDatabase(database)
    rmSync(folder, { recursive: true, force: true })
  }
  return { db, variables, drop }
}

/** A connection to the database of a system, beside its pool. It ends with the test. */
export async function openSession({ env }: Pick<TestSystem, 'env'>): Promise<Connection> {
  const { host = '', port, user, password, name } = env.database
  const session = await createConnection({ host, port, user, password, database: name })
  onTestFinished(() => session.destroy())
  return session
}

/** The three services on free ports, over a new database with the demo data. */
export interface TestSystem {
  customers: ApiClient
  orders: ApiClient
  orchestrator: ApiClient
  db: Database
  env: Env
  /** The sweeps of Orders, which have no route. */
  sweeps: Pick<OrdersService, 'releaseExpiredHolds' | 'purgeExpiredKeys'>
  /** Sends webhooks until nothing is due. */
  dispatch(signal?: AbortSignal): Promise<void>
  /** Does once what the sweeper does again and again. */
  sweep(): Promise<Record<string, number>>
  lifecycle: { draining: boolean }
  /** Every log line, as JSON text. */
  log: string[]
  token(options?: {
    scopes?: readonly Scope[]
    customerId?: number
    clientId?: string
    ttlSeconds?: number
  }): Promise<string>
}

/**
 * Starts a system before the surrounding suite and stops it afterwards. Use its members inside tests only.
 * @param variables override the defaults of the tests
 */
export function useSystem(engine: Engine, variables: Record<string, string> = {}): TestSystem {
  const system = {} as TestSystem
  let stop: () => Promise<void> = async () => {}
  beforeAll(async () => {
    const started = await startSystem(engine, variables)
    Object.assign(system, started.system)
    stop = started.stop
  })
  afterAll(() => stop())
  return system
}

export async function startSystem(engine: Engine, variables: Record<string, string> = {}) {
  const database = await createTestDatabase(engine)
  await seed(database.db)
  const { db } = database
  // All tests share one client address.
  const own = { NODE_ENV: 'test', ORCHESTRATOR_PUBLIC: 'true', LOGIN_ATTEMPTS_PER_MINUTE: '1000000' }
  const env = parseEnv({ ...database.variables, ...own, ...variables })
  const log: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) })
  const lifecycle = { draining: false }
  const customersApp = composeCustomers(env, db, logger, lifecycle).app
  const customersServing = await serve(customersApp, 0)
  const customersBase = env.customersBase ?? addressOf(customersServing)
  const { app: ordersApp, orders, dispatch } = composeOrders(env, db, customersBase, logger, lifecycle)
  const ordersServing = await serve(ordersApp, 0)
  const neighbours = { customers: customersBase, orders: env.ordersBase ?? addressOf(ordersServing) }
  const orchestratorServing = await serve(composeOrchestrator(env, neighbours, logger, lifecycle), 0)
  const servings = [orchestratorServing, ordersServing, customersServing]

  const token: TestSystem['token'] = async ({
    scopes = SCOPES,
    customerId,
    clientId = 'tests',
    ttlSeconds = 600,
  } = {}) => {
    const client = { clientId, scope: scopes.join(' '), customerId: customerId ?? null }
    return (await signToken({ ...env.jwt, ttlSeconds }, client)).access_token
  }
  const everything = await token()
  const system: TestSystem = {
    customers: apiClient(addressOf(customersServing), everything),
    orders: apiClient(addressOf(ordersServing), everything),
    orchestrator: apiClient(addressOf(orchestratorServing), everything),
    db,
    env,
    sweeps: orders,
    async dispatch(signal = new AbortController().signal) {
      await dispatch({ logger, signal })
    },
    sweep: composeSweep(env, db, orders).sweep,
    lifecycle,
    log,
    token,
  }
  const stop = async () => {
    await Promise.all(servings.map((serving) => serving.close()))
    await database.drop()
  }
  return { system, stop }
}

function addressOf(serving: Serving): string {
  return `http://127.0.0.1:${serving.port}`
}

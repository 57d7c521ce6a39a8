import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import type { Env } from '../src/compose/env.ts'
import { composeSweep } from '../src/compose/jobs.ts'
import { composeOrchestrator, composeOrders } from '../src/compose/services.ts'
import { serve } from '../src/platform/http/server.ts'
import { type ApiClient, apiClient } from './api-client.ts'
import { freePort } from './database-server.ts'
import type { TestSystem } from './system.ts'

export interface TestService {
  api: ApiClient
  /** Every log line, as JSON text. */
  log: string[]
}

/** An Orders with its jobs. */
export interface TestOrders extends TestService, Pick<TestSystem, 'dispatch' | 'sweep'> {}

/** Serves another Orders over the system's database, with a changed environment, until the test ends. */
export async function serveOrders(system: TestSystem, changes: Partial<Env>): Promise<TestOrders> {
  const env = { ...system.env, ...changes }
  const { log, logger, lifecycle } = common()
  const customersAt = env.customersBase ?? system.customers.base
  const { app, orders, dispatch } = composeOrders(env, system.db, customersAt, logger, lifecycle)
  const jobs = {
    async dispatch(signal = new AbortController().signal) {
      await dispatch({ logger, signal })
    },
    sweep: composeSweep(env, system.db, orders).sweep,
  }
  return { api: await serveUntilTestEnds(system, app), log, ...jobs }
}

/** Serves another orchestrator, with a changed environment, until the test ends. */
export async function serveOrchestrator(system: TestSystem, changes: Partial<Env>): Promise<TestService> {
  const env = { ...system.env, ...changes }
  const neighbours = {
    customers: env.customersBase ?? system.customers.base,
    orders: env.ordersBase ?? system.orders.base,
  }
  const { log, logger, lifecycle } = common()
  const app = composeOrchestrator(env, neighbours, logger, lifecycle)
  return { api: await serveUntilTestEnds(system, app), log }
}

/** A URL where nothing listens. */
export async function nowhere(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`
}

function common() {
  const log: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) })
  return { log, logger, lifecycle: { draining: false } }
}

async function serveUntilTestEnds(system: TestSystem, app: Parameters<typeof serve>[0]): Promise<ApiClient> {
  const serving = await serve(app, 0)
  onTestFinished(() => serving.close())
  return apiClient(`http://127.0.0.1:${serving.port}`, await system.token())
}

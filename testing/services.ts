import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import type { Env } from '../src/compose/env.ts'
import { composeOrchestrator, composeOrders } from '../src/compose/services.ts'
import { serve } from '../src/platform/http/server.ts'
import { type ApiClient, apiClient } from './api-client.ts'
import { freePort } from './database-server.ts'
import type { TestSystem } from './system.ts'

export interface TestService {
  api: ApiClient
  /** Every line that it logged, as JSON text. */
  log: string[]
}

/** One more Orders over the system's database, with an environment of the test's own, until the test ends. */
export async function serveOrders(system: TestSystem, changes: Partial<Env>): Promise<TestService> {
  const env = { ...system.env, ...changes }
  const { log, logger, lifecycle } = common()
  const { app } = composeOrders(env, system.db, env.customersBase ?? system.customers.base, logger, lifecycle)
  return { api: await serveUntilTestEnds(system, app), log }
}

/** One more orchestrator, with an environment of the test's own, until the test ends. */
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

/** An address where nobody listens. */
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

import { createTokenService } from '../auth/service.ts'
import { createCustomersApp } from '../customers/app.ts'
import { type CustomersClient, createCustomersClient, shareLookups } from '../customers/client.ts'
import { createCustomersService } from '../customers/service.ts'
import { createOrchestratorApp } from '../orchestrator/app.ts'
import { createOrchestratorService } from '../orchestrator/service.ts'
import { createOrdersApp } from '../orders/app.ts'
import { createOrdersClient, type OrdersClient } from '../orders/client.ts'
import { createOrdersService } from '../orders/service.ts'
import type { ServiceApp } from '../platform/app.ts'
import { createAuthenticator, type Principal } from '../platform/auth.ts'
import { callService, type Route } from '../platform/client.ts'
import { type Database, ping } from '../platform/database.ts'
import type { Env } from '../platform/env.ts'
import { Health } from '../platform/health.ts'
import type { Logger } from '../platform/logging.ts'
import { createProductsService } from '../products/service.ts'

export interface Lifecycle {
  draining: boolean
}

/** Where another service is: an address, or its app in this process. */
export type Neighbour = string | ServiceApp

const ANONYMOUS: Principal = { id: 'anonymous', scopes: new Set(['orders:write']), customerId: null }

export function composeCustomers(env: Env, db: Database, logger: Logger, lifecycle: Lifecycle): ServiceApp {
  return createCustomersApp({
    ...common(env, logger, lifecycle),
    authenticator: createAuthenticator(env),
    customers: createCustomersService(db, env),
    tokens: tokensOf(env, db),
    ready: () => ping(db),
  })
}

export function composeOrders(env: Env, db: Database, customersAt: Neighbour, logger: Logger, lifecycle: Lifecycle) {
  const route = routeTo(customersAt, env, 'customers')
  const customers = shareLookups(createCustomersClient(route), 2 * env.httpTimeoutMs)
  const orders = createOrdersService(db, customers, { ...env.orders, idempotencyTtlMinutes: env.idempotencyTtlMinutes })
  const app = createOrdersApp({
    ...common(env, logger, lifecycle),
    authenticator: createAuthenticator(env),
    orders,
    products: createProductsService(db, env),
    tokens: tokensOf(env, db),
    ready: async () => {
      await Promise.all([ping(db), checkHealth(route)])
    },
  })
  return { app, orders }
}

export function composeOrchestrator(
  env: Env,
  neighbours: { customers: Neighbour; orders: Neighbour },
  logger: Logger,
  lifecycle: Lifecycle,
): ServiceApp {
  const toCustomers = routeTo(neighbours.customers, env, 'customers')
  const toOrders = routeTo(neighbours.orders, env, 'orders')
  const customers: CustomersClient = createCustomersClient(toCustomers)
  const orders: OrdersClient = createOrdersClient(toOrders)
  return createOrchestratorApp({
    ...common(env, logger, lifecycle),
    authenticator: createAuthenticator({ ...env, ...(env.orchestrator.public && { anonymous: ANONYMOUS }) }),
    orchestrator: createOrchestratorService(customers, orders, env.orchestrator, logger),
    ready: async () => {
      await Promise.all([checkHealth(toCustomers), checkHealth(toOrders)])
    },
  })
}

function common(env: Env, logger: Logger, lifecycle: Lifecycle) {
  return { logger, lifecycle, rateLimitPerMinute: env.rateLimitPerMinute }
}

/** An identity provider issues the tokens where one is set up; else we do. The demo client is refused in production. */
function tokensOf(env: Env, db: Database) {
  if (env.jwt.jwksUrl !== undefined) return undefined
  return createTokenService(db, { ...env.jwt, refusedClients: env.production ? ['demo'] : [] })
}

function routeTo(neighbour: Neighbour, env: Env, name: string): Route {
  const inProcess = typeof neighbour !== 'string'
  return {
    base: inProcess ? `http://${name}.internal` : neighbour,
    fetch: inProcess ? (url, init) => neighbour.fetch(new Request(url, withoutSignal(init))) : fetch,
    token: env.serviceTokens[0] ?? '',
    timeoutMs: env.httpTimeoutMs,
    attempts: 4,
  }
}

/** An app would not look at it, and a request that carries one costs more; whoever called stops waiting all the same. */
function withoutSignal({ signal: _, ...init }: RequestInit): RequestInit {
  return init
}

/** @throws AppError when the service does not answer as it should */
async function checkHealth(route: Route): Promise<void> {
  const trace = { correlationId: crypto.randomUUID(), traceparent: undefined }
  await callService({ ...route, attempts: 1 }, { method: 'GET', path: '/health', trace, answer: Health })
}

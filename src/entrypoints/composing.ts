import { createTokenService } from '../auth/service.ts'
import { createCustomersApp } from '../customers/app.ts'
import { createCustomersClient, createLocalCustomersClient, shareLookups } from '../customers/client.ts'
import { type CustomersService, createCustomersService } from '../customers/service.ts'
import { createOrchestratorApp } from '../orchestrator/app.ts'
import { createOrchestratorService } from '../orchestrator/service.ts'
import { createOrdersApp } from '../orders/app.ts'
import { createLocalOrdersClient, createOrdersClient } from '../orders/client.ts'
import { createOrdersService, type OrdersService } from '../orders/service.ts'
import type { ServiceApp } from '../platform/app.ts'
import { createAuthenticator, type Principal } from '../platform/auth.ts'
import { callService, type Route } from '../platform/client.ts'
import { type Database, ping } from '../platform/database.ts'
import type { Env } from '../platform/env.ts'
import { Health } from '../platform/health.ts'
import { createHttpFetch } from '../platform/http.ts'
import type { Logger } from '../platform/logging.ts'
import { createProductsService } from '../products/service.ts'

export interface Lifecycle {
  draining: boolean
}

/** Where another service is: an address, or its verbs in this process. */
export type Neighbour<Service> = string | Service

const ANONYMOUS: Principal = { id: 'anonymous', scopes: new Set(['orders:write']), customerId: null }

export function composeCustomers(env: Env, db: Database, logger: Logger, lifecycle: Lifecycle) {
  const customers = createCustomersService(db, env)
  const app = createCustomersApp({
    ...common(env, logger, lifecycle),
    authenticator: createAuthenticator(env),
    customers,
    tokens: tokensOf(env, db),
    ready: () => ping(db),
  })
  return { app, customers }
}

export function composeOrders(
  env: Env,
  db: Database,
  customersAt: Neighbour<CustomersService>,
  logger: Logger,
  lifecycle: Lifecycle,
) {
  const customers =
    typeof customersAt === 'string'
      ? shareLookups(createCustomersClient(routeTo(customersAt, env)), 2 * env.httpTimeoutMs)
      : createLocalCustomersClient(customersAt)
  const orders = createOrdersService(db, customers, { ...env.orders, idempotencyTtlMinutes: env.idempotencyTtlMinutes })
  const app = createOrdersApp({
    ...common(env, logger, lifecycle),
    authenticator: createAuthenticator(env),
    orders,
    products: createProductsService(db, env),
    tokens: tokensOf(env, db),
    ready: async () => {
      await Promise.all([ping(db), checkHealth(customersAt, env)])
    },
  })
  return { app, orders }
}

export function composeOrchestrator(
  env: Env,
  neighbours: { customers: Neighbour<CustomersService>; orders: Neighbour<OrdersService> },
  logger: Logger,
  lifecycle: Lifecycle,
): ServiceApp {
  const customers =
    typeof neighbours.customers === 'string'
      ? shareLookups(createCustomersClient(routeTo(neighbours.customers, env)), 2 * env.httpTimeoutMs)
      : createLocalCustomersClient(neighbours.customers)
  const orders =
    typeof neighbours.orders === 'string'
      ? createOrdersClient(routeTo(neighbours.orders, env))
      : createLocalOrdersClient(neighbours.orders)
  return createOrchestratorApp({
    ...common(env, logger, lifecycle),
    authenticator: createAuthenticator({ ...env, ...(env.orchestrator.public && { anonymous: ANONYMOUS }) }),
    orchestrator: createOrchestratorService(customers, orders, env.orchestrator, logger),
    ready: async () => {
      await Promise.all([checkHealth(neighbours.customers, env), checkHealth(neighbours.orders, env)])
    },
  })
}

function common(env: Env, logger: Logger, lifecycle: Lifecycle) {
  return { logger, lifecycle, rateLimitPerMinute: env.rateLimitPerMinute, mostRequests: env.mostRequests }
}

/** An identity provider issues the tokens where one is set up; else we do. The demo client is refused in production. */
function tokensOf(env: Env, db: Database) {
  if (env.jwt.jwksUrl !== undefined) return undefined
  return createTokenService(db, { ...env.jwt, refusedClients: env.production ? ['demo'] : [] })
}

const httpFetch = createHttpFetch()

function routeTo(base: string, env: Env): Route {
  const send = base.startsWith('http:') ? httpFetch : fetch
  return { base, fetch: send, token: env.serviceTokens[0] ?? '', timeoutMs: env.httpTimeoutMs, attempts: 4 }
}

/** A service in this process is as healthy as we are. @throws AppError when one elsewhere does not answer as it should */
async function checkHealth(neighbour: Neighbour<unknown>, env: Env): Promise<void> {
  if (typeof neighbour !== 'string') return
  const trace = { correlationId: crypto.randomUUID(), traceparent: undefined }
  await callService(
    { ...routeTo(neighbour, env), attempts: 1 },
    { method: 'GET', path: '/health', trace, answer: Health },
  )
}

import { createCustomersApp } from '../customers/app.ts'
import {
  type CustomersClient,
  createCustomersClient,
  createLocalCustomersClient,
  singleFlight,
} from '../customers/client.ts'
import { type CustomersService, createCustomersService } from '../customers/service.ts'
import { createEventsService } from '../events/service.ts'
import { createAuthenticator, type FindClient } from '../identity/authenticator.ts'
import { createClientsClient } from '../identity/client.ts'
import { createTokenService } from '../identity/service.ts'
import { createOrchestratorApp } from '../orchestrator/app.ts'
import { createOrchestratorService } from '../orchestrator/service.ts'
import { createOrdersApp } from '../orders/app.ts'
import { createLocalOrdersClient, createOrdersClient } from '../orders/client.ts'
import { eraseOrderDetails } from '../orders/erase-details.ts'
import { SERVICE_SCOPES } from '../orders/scopes.ts'
import { createOrdersService, type OrdersService } from '../orders/service.ts'
import { watchDatabase } from '../platform/database/gauges.ts'
import type { Database } from '../platform/database/types.ts'
import { probeWrites } from '../platform/database/write-probe.ts'
import type { ServiceApp } from '../platform/http/app.ts'
import { ANONYMOUS_ID, type Principal } from '../platform/http/principal.ts'
import type { Check } from '../platform/http/readiness.ts'
import { createAwsClient } from '../platform/rpc/aws.ts'
import { pingService, type Upstream } from '../platform/rpc/client.ts'
import { createHttpFetch, createServiceFetch } from '../platform/rpc/http-fetch.ts'
import { createLambdaFetch, LAMBDA } from '../platform/rpc/lambda-fetch.ts'
import type { Logger } from '../platform/telemetry/logger.ts'
import { NO_TELEMETRY, type Telemetry } from '../platform/telemetry/telemetry.ts'
import { createProductsService } from '../products/service.ts'
import { createWebhooksService } from '../webhooks/service.ts'
import { createUrlCheck } from '../webhooks/urls.ts'
import type { Env } from './env.ts'
import { composeDispatcher, composeSweep, EVENT_DATA } from './jobs.ts'
import { DATABASE_GAUGES, SCOPES } from './modules.ts'
import { composeSupport } from './order-support.ts'
import { type ServiceName, signpostsOf } from './signposts.ts'

/** Stands for the name of a service in `PUBLIC_URL`. */
export const SERVICE_IN_URL = '{service}'

export interface Lifecycle {
  draining: boolean
  /** Whether the log has already warned of a proxy that `TRUSTED_PROXIES` does not count. */
  proxyWarned?: boolean
}

/** How another service is reached: at an address, or by its verbs in this process. */
export type ServiceLocation<Service> = string | Service

const ANONYMOUS: Principal = { id: ANONYMOUS_ID, scopes: new Set(['orders:write']), customerId: null }

export function composeCustomers(
  env: Env,
  db: Database,
  logger: Logger,
  lifecycle: Lifecycle,
  telemetry: Telemetry = NO_TELEMETRY,
) {
  const erasers = [(customerId: number) => eraseOrderDetails(db, customerId)]
  const customers = createCustomersService(db, env, erasers)
  const tokens = tokensOf(env, db)
  const app = createCustomersApp({
    ...common(env, 'customers', logger, lifecycle, telemetry),
    signposts: signpostsOf('customers', env),
    authenticator: authenticatorOf(env, tokens?.findStatus),
    customers,
    tokens,
    logins: env.logins,
    checks: { database: essential(() => probeWrites(db)) },
  })
  return { app, customers, findClient: tokens?.findStatus }
}

export function composeOrders(
  env: Env,
  db: Database,
  customersAt: ServiceLocation<CustomersService>,
  logger: Logger,
  lifecycle: Lifecycle,
  telemetry: Telemetry = NO_TELEMETRY,
) {
  const orders = composeOrdersService(env, db, customersAt, telemetry)
  const dispatcher = composeDispatcher(env, db, telemetry)
  watchDatabase(db, DATABASE_GAUGES, telemetry.metrics)
  const tokens = tokensOf(env, db)
  const app = createOrdersApp({
    ...common(env, 'orders', logger, lifecycle, telemetry),
    signposts: signpostsOf('orders', env),
    authenticator: authenticatorOf(env, tokens?.findStatus),
    orders,
    support: composeSupport(env, db),
    products: createProductsService(db, env),
    events: createEventsService(db, EVENT_DATA),
    webhooks: composeWebhooksService(env, db, dispatcher),
    tokens,
    logins: env.logins,
    // Customers is not essential: without it no order is placed, but orders are still read, confirmed, canceled and
    // replayed.
    checks: {
      database: essential(() => probeWrites(db)),
      customers: { essential: false, ask: () => pingUpstream('customers', customersAt, env, telemetry) },
    },
  })
  const { dispatch, jobs } = dispatcher
  return { app, orders, dispatch, jobs: [composeSweep(env, db, orders).job, ...jobs] }
}

/** The verbs of orders without the app. */
export function composeOrdersService(
  env: Env,
  db: Database,
  customersAt: ServiceLocation<CustomersService>,
  telemetry: Telemetry = NO_TELEMETRY,
) {
  const config = { ...env.orders, idempotencyTtlMinutes: env.idempotencyTtlMinutes }
  return createOrdersService(db, reachCustomers(customersAt, env, telemetry), config, telemetry)
}

function composeWebhooksService(env: Env, db: Database, { secrets, outbox }: ReturnType<typeof composeDispatcher>) {
  const { idempotencyTtlMinutes, webhooks } = env
  return createWebhooksService(db, { secrets, outbox, findUrlFault: createUrlCheck(webhooks), idempotencyTtlMinutes })
}

/** The orchestrator's upstreams. The orchestrator has no database, so it asks Customers for the status of a client. */
export interface OrchestratorUpstreams {
  customers: ServiceLocation<CustomersService>
  orders: ServiceLocation<OrdersService>
  /** Finds the status of a client, where Customers runs in this process. */
  findClient?: FindClient | undefined
}

export function composeOrchestrator(
  env: Env,
  upstreams: OrchestratorUpstreams,
  logger: Logger,
  lifecycle: Lifecycle,
  telemetry: Telemetry = NO_TELEMETRY,
): ServiceApp {
  const customers = reachCustomers(upstreams.customers, env, telemetry)
  const orders =
    typeof upstreams.orders === 'string'
      ? createOrdersClient(upstreamAt('orders', upstreams.orders, env, telemetry))
      : createLocalOrdersClient(upstreams.orders)
  const findClient =
    typeof upstreams.customers === 'string'
      ? createClientsClient(upstreamAt('customers', upstreams.customers, env, telemetry), env.httpTimeoutMs)
      : upstreams.findClient
  return createOrchestratorApp({
    ...common(env, 'orchestrator', logger, lifecycle, telemetry),
    signposts: signpostsOf('orchestrator', env),
    authenticator: authenticatorOf(env, findClient, env.orchestrator.public ? ANONYMOUS : undefined),
    orchestrator: createOrchestratorService(customers, orders, env.orchestrator),
    checks: {
      customers: essential(() => pingUpstream('customers', upstreams.customers, env, telemetry)),
      orders: essential(() => pingUpstream('orders', upstreams.orders, env, telemetry)),
    },
  })
}

function reachCustomers(customers: ServiceLocation<CustomersService>, env: Env, telemetry: Telemetry): CustomersClient {
  const client =
    typeof customers === 'string'
      ? createCustomersClient(upstreamAt('customers', customers, env, telemetry))
      : createLocalCustomersClient(customers)
  return singleFlight(client, 2 * env.httpTimeoutMs)
}

/** One count for all services in this process. */
const bodiesInFlight = { bytes: 0 }

function common(env: Env, service: ServiceName, logger: Logger, lifecycle: Lifecycle, telemetry: Telemetry) {
  const { production, rateLimitPerMinute, maxInFlight, logins, corsOrigins } = env
  const bodies = { inFlight: bodiesInFlight, maxBytesInFlight: env.maxBodyBytesInFlight }
  const { trustedProxies } = logins
  const publicUrl = env.publicUrl?.replaceAll(SERVICE_IN_URL, service).replace(/\/+$/, '')
  const ofAll = { production, rateLimitPerMinute, maxInFlight, bodies, trustedProxies, corsOrigins }
  return { ...ofAll, logger, lifecycle, telemetry, publicUrl, scopes: SCOPES }
}

function authenticatorOf(env: Env, findClient: FindClient | undefined, anonymous?: Principal) {
  const { jwt, serviceTokens, production } = env
  return createAuthenticator({
    jwt,
    serviceTokens,
    serviceScopes: SERVICE_SCOPES,
    findClient,
    takesUnknownClients: !production,
    ...(anonymous && { anonymous }),
  })
}

/** Undefined where an identity provider issues the tokens. Production refuses the demo client. */
function tokensOf(env: Env, db: Database) {
  if (env.jwt.jwksUrl !== undefined) return undefined
  return createTokenService(db, { ...env.jwt, refusedClients: env.production ? ['demo'] : [] })
}

const serviceFetch = createServiceFetch()
const lambdaFetch = createLambdaFetch(createAwsClient('lambda', process.env, createHttpFetch()))

function upstreamAt(name: ServiceName, base: string, env: Env, telemetry: Telemetry): Upstream {
  const send = base.startsWith(LAMBDA) ? lambdaFetch : serviceFetch
  const token = env.serviceTokens[0] ?? ''
  return { name, telemetry, base, fetch: send, token, timeoutMs: env.httpTimeoutMs, attempts: 4 }
}

function essential(ask: () => Promise<void>): Check {
  return { essential: true, ask }
}

/** A service in this process needs no ping. @throws CheckFailed */
async function pingUpstream(
  name: ServiceName,
  location: ServiceLocation<unknown>,
  env: Env,
  telemetry: Telemetry,
): Promise<void> {
  if (typeof location === 'string') await pingService(upstreamAt(name, location, env, telemetry))
}

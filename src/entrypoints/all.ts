import { type Env, EnvError } from '../compose/env.ts'
import { SCOPES } from '../compose/modules.ts'
import { audienceOf, describeDatabase, openPreparedDatabase, urlOf } from '../compose/process.ts'
import { runService } from '../compose/program.ts'
import { composeCustomers, composeOrchestrator, composeOrders, SERVICE_IN_URL } from '../compose/services.ts'
import { demoCurl } from '../compose/signposts.ts'
import { openTelemetry, serveWatched, stopOnSignal, telemetryOf } from '../compose/telemetry.ts'
import { signToken } from '../identity/service.ts'
import { startJobs } from '../platform/jobs/jobs.ts'
import { createLogger } from '../platform/telemetry/logger.ts'

const BANNER_TOKEN_SECONDS = 12 * 3600

/** A receiver of webhooks on this machine, such as `npm run webhooks:listen`, needs no setting. */
const DEV_DEFAULTS = { WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8,::1/128' }

const HELP = `Runs Customers, Orders and the orchestrator in one process. Takes no options.

  npm start

It listens on ports 3001, 3010 and 3000 of this machine (CUSTOMERS_PORT, ORDERS_PORT, ORCHESTRATOR_PORT, HOST). The data is in
.data/b2b.sqlite (DB_FILE), or on the MySQL or MariaDB server of DB_HOST. .env.example lists every variable.`

await runService(HELP, serveAll, DEV_DEFAULTS)

async function serveAll(env: Env): Promise<void> {
  if (env.publicUrl?.includes(SERVICE_IN_URL) === false) {
    throw new EnvError([`PUBLIC_URL: must have ${SERVICE_IN_URL} in it, where one process runs all three`])
  }
  const logger = await createLogger(env.logLevel)
  const lifecycle = { draining: false }
  const watched = await openTelemetry(env, logger, { open: !env.production })
  const { telemetry } = watched
  const db = await openPreparedDatabase(env, logger, telemetry)
  const loggerOf = (service: string) => logger.child({ service })
  const customers = composeCustomers(env, db, loggerOf('customers'), lifecycle, telemetryOf(watched, 'customers'))
  const upstreams = { customers: env.customersBase ?? customers.customers }
  const ofOrders = telemetryOf(watched, 'orders')
  const orders = composeOrders(env, db, upstreams.customers, loggerOf('orders'), lifecycle, ofOrders)
  const orchestrator = composeOrchestrator(
    env,
    { ...upstreams, orders: env.ordersBase ?? orders.orders, findClient: customers.findClient },
    loggerOf('orchestrator'),
    lifecycle,
    telemetryOf(watched, 'orchestrator'),
  )

  const servings = [
    await serveWatched(customers.app, env.ports.customers, env, loggerOf('customers'), watched),
    await serveWatched(orders.app, env.ports.orders, env, loggerOf('orders'), watched),
    await serveWatched(orchestrator, env.ports.orchestrator, env, loggerOf('orchestrator'), watched),
  ] as const
  const stopJobs = startJobs(orders.jobs, logger, telemetry)
  const metrics = await stopOnSignal({ env, logger, lifecycle, watched }, servings, async () => {
    await stopJobs()
    await db.destroy()
  })
  const [atCustomers, atOrders, atOrchestrator] = servings.map(({ port }) => urlOf(env, port))
  const atMetrics = metrics === undefined ? atOrchestrator : urlOf(env, metrics)
  if (env.production) logger.info({ event: 'listening', atCustomers, atOrders, atOrchestrator, metrics }, 'listening')
  else process.stderr.write(await banner(env, { atCustomers, atOrders, atOrchestrator, atMetrics }))
}

interface Addresses {
  atCustomers: string | undefined
  atOrders: string | undefined
  atOrchestrator: string | undefined
  atMetrics: string | undefined
}

async function banner(env: Env, { atCustomers, atOrders, atOrchestrator, atMetrics }: Addresses): Promise<string> {
  const lines = [
    '',
    `  Customers     ${atCustomers}   docs: ${atCustomers}/docs`,
    `  Orders        ${atOrders}   docs: ${atOrders}/docs`,
    `  Orchestrator  ${atOrchestrator}   docs: ${atOrchestrator}/docs`,
    `  Metrics       ${atMetrics}/metrics`,
    `  Database      ${describeDatabase(env.database)}`,
    `  Listening on  ${audienceOf(env)}`,
    '',
  ]
  const client = { clientId: 'demo', scope: SCOPES.join(' '), customerId: null }
  const token = await signToken({ ...env.jwt, ttlSeconds: BANNER_TOKEN_SECONDS }, client)
  lines.push(
    '  Place and confirm an order; run it twice, it is one order:',
    '',
    ...demoCurl(`${atOrchestrator}`).map((line) => `    ${line}`),
    '',
    '  A token for the other routes, good for 12 hours:',
    '',
    `    export TOKEN=${token.access_token}`,
    `    curl ${atOrders}/orders -H "authorization: Bearer $TOKEN"`,
    '',
  )
  return `${lines.join('\n')}\n`
}

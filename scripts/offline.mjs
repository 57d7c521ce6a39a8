// Runs the deployed bundles on this machine, below /dev, as API Gateway and Lambda would.
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { onParentExit, openPreparedDatabase, run } from '../src/compose/process.ts'
import { createLogger } from '../src/platform/telemetry/logger.ts'

const HELP = `Runs the orchestrator's function on http://localhost:3000/dev, against the APIs on ports 3001 and 3010.

  npm run offline [-- --all]

  --all  the functions of Customers and Orders too, below /dev/customers-api and /dev/orders-api, and the sweep and
         webhooks every minute; on the database of DB_HOST, or on the file DB_FILE (.data/b2b.sqlite)

PORT chooses another port than 3000, CUSTOMERS_API_BASE and ORDERS_API_BASE where the APIs are. Variables of the
environment win over those of .env.`

const LAMBDA_PORT = 3002

const args = process.argv.slice(2)
if (args.includes('--help') || args.includes('-h')) {
  console.log(HELP)
  process.exit(0)
}
const unknown = args.filter((arg) => arg !== '--all')
if (unknown.length > 0) {
  console.error(`Unknown option: ${unknown.join(' ')}\n\n${HELP}`)
  process.exit(1)
}

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
await run(async (env) => {
  const all = args.includes('--all')
  const port = await freePort(env.ports.own ?? env.ports.orchestrator)
  if (all) await prepareDatabase(env)
  // Functions invoke each other through this port. If it is in use, any other port will do.
  const lambdaPort = await freePort(port === LAMBDA_PORT ? 0 : LAMBDA_PORT).catch(() => freePort(0))
  setVariables(env, all, lambdaPort)
  const ports = ['--httpPort', String(port), '--lambdaPort', String(lambdaPort)]
  // Serverless runs in this process, so that no child process can be left behind.
  const serverless = new URL('../node_modules/serverless/bin/serverless.js', import.meta.url)
  process.argv = [
    process.argv0,
    fileURLToPath(serverless),
    'offline',
    'start',
    ...ports,
    '--localEnvironment',
    '--noSponsor',
  ]
  onParentExit(() => process.kill(process.pid, 'SIGTERM'))
  await import(serverless.href)
})

/** Returns the port, or for 0 a free one. Rejects when the port is in use. */
async function freePort(port) {
  const probe = createServer().listen(port, 'localhost')
  await once(probe, 'listening')
  const { port: found } = probe.address()
  probe.close()
  await once(probe, 'close')
  return found
}

/** Prepares the database like `npm start`: outside production it is migrated, and a new one gets the demo data. */
async function prepareDatabase(env) {
  const db = await openPreparedDatabase(env, (await createLogger(env.logLevel)).child({ service: 'offline' }))
  await db.destroy()
}

/** Sets the variables that a deployment takes from its account, and the defaults of development. Empty means unset. */
function setVariables(env, all, lambdaPort) {
  if (existsSync('.env')) process.loadEnvFile('.env')
  const [customers, orders] = all
    ? ['lambda://customers-api-dev', 'lambda://orders-api-dev']
    : [`http://localhost:${env.ports.customers}`, `http://localhost:${env.ports.orders}`]
  Object.assign(process.env, {
    NODE_ENV: process.env.NODE_ENV || 'development',
    ORCHESTRATOR_PUBLIC: String(env.orchestrator.public),
    SERVICE_TOKEN: env.serviceTokens.join(','),
    JWT_SECRET: env.jwt.secret,
    CUSTOMERS_API_BASE: env.customersBase ?? customers,
    ORDERS_API_BASE: env.ordersBase ?? orders,
    DB_HOST: env.database.host ?? '',
    DB_USER: env.database.user,
    DB_PASS: env.database.password,
    ...(all && invoking(lambdaPort)),
    // Without `--all`, the Orders process sweeps by itself, so the sweep function does not run.
    ...(!all && { OFFLINE_FUNCTIONS: 'orchestrator,docs' }),
  })
}

/** The variables with which a function invokes another. Any key will do here. */
function invoking(lambdaPort) {
  return {
    AWS_ENDPOINT_URL_LAMBDA: `http://localhost:${lambdaPort}`,
    AWS_ACCESS_KEY_ID: 'offline',
    AWS_SECRET_ACCESS_KEY: 'offline',
  }
}

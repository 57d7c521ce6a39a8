import { openPreparedDatabase, stopGracefully, urlOf } from '../compose/process.ts'
import { runService } from '../compose/program.ts'
import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrders } from '../compose/services.ts'
import { openTelemetry, serveMetrics, serveWatched } from '../compose/telemetry.ts'
import { startJobs } from '../platform/jobs/jobs.ts'
import { createLogger } from '../platform/telemetry/logger.ts'

const HELP = `Runs the Orders API alone. Takes no options.

  npm run start:orders

It listens on port 3010 of this machine (PORT, HOST) and calls the Customers API at CUSTOMERS_API_BASE. The data is in
.data/b2b.sqlite (DB_FILE), or on the MySQL or MariaDB server of DB_HOST. .env.example lists every variable.`

await runService(HELP, async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'orders' })
  const lifecycle = { draining: false }
  const watched = await openTelemetry(env)
  const { telemetry } = watched
  const upstreams = findServiceUrls(env, ['customers'])
  const db = await openPreparedDatabase(env, logger, telemetry)
  const { app, jobs } = composeOrders(env, db, upstreams.customers, logger, lifecycle, telemetry)
  const serving = await serveWatched(app, env.ports.own ?? env.ports.orders, env, logger, watched)
  const stopJobs = startJobs(jobs, logger, telemetry)
  const close = async () => {
    await stopJobs()
    await db.destroy()
  }
  const metrics = await serveMetrics(env, logger, watched)
  stopGracefully(lifecycle, [serving, ...metrics], close, logger)
  const { port } = serving
  const told = { host: env.serving.host, port, docs: `${urlOf(env, port)}/docs`, metrics: metrics[0]?.port }
  logger.info(told, 'listening')
})

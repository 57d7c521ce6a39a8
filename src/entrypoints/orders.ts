import { openPreparedDatabase } from '../compose/process.ts'
import { runService } from '../compose/program.ts'
import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrders } from '../compose/services.ts'
import { openTelemetry, runAlone, serveWatched, telemetryOf } from '../compose/telemetry.ts'
import { startJobs } from '../platform/jobs/jobs.ts'
import { createLogger } from '../platform/telemetry/logger.ts'

const HELP = `Runs the Orders API alone. Takes no options.

  npm run start:orders

It listens on port 3010 of this machine (PORT, HOST) and calls the Customers API at CUSTOMERS_API_BASE. The data is in
.data/b2b.sqlite (DB_FILE), or on the MySQL or MariaDB server of DB_HOST. .env.example lists every variable.`

await runService(HELP, async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'orders' })
  const lifecycle = { draining: false }
  const watched = await openTelemetry(env, logger)
  const telemetry = telemetryOf(watched, 'orders')
  const upstreams = findServiceUrls(env, ['customers'])
  const db = await openPreparedDatabase(env, logger, telemetry)
  const { app, jobs } = composeOrders(env, db, upstreams.customers, logger, lifecycle, telemetry)
  const serving = await serveWatched(app, env.ports.own ?? env.ports.orders, env, logger, watched)
  const stopJobs = startJobs(jobs, logger, telemetry)
  await runAlone({ env, logger, lifecycle, watched }, serving, async () => {
    await stopJobs()
    await db.destroy()
  })
})

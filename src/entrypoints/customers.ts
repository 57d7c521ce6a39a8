import { openPreparedDatabase, stopGracefully, urlOf } from '../compose/process.ts'
import { runService } from '../compose/program.ts'
import { composeCustomers } from '../compose/services.ts'
import { openTelemetry, serveMetrics, serveWatched } from '../compose/telemetry.ts'
import { createLogger } from '../platform/telemetry/logger.ts'

const HELP = `Runs the Customers API alone. Takes no options.

  npm run start:customers

It listens on port 3001 of this machine (PORT, HOST). The data is in .data/b2b.sqlite (DB_FILE), or on the MySQL or MariaDB
server of DB_HOST. .env.example lists every variable.`

await runService(HELP, async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'customers' })
  const lifecycle = { draining: false }
  const watched = await openTelemetry(env)
  const { telemetry } = watched
  const db = await openPreparedDatabase(env, logger, telemetry)
  const serving = await serveWatched(
    composeCustomers(env, db, logger, lifecycle, telemetry).app,
    env.ports.own ?? env.ports.customers,
    env,
    logger,
    watched,
  )
  const metrics = await serveMetrics(env, logger, watched)
  stopGracefully(lifecycle, [serving, ...metrics], () => db.destroy(), logger)
  const { port } = serving
  const told = { host: env.serving.host, port, docs: `${urlOf(env, port)}/docs`, metrics: metrics[0]?.port }
  logger.info(told, 'listening')
})

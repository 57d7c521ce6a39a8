import { openPreparedDatabase } from '../compose/process.ts'
import { runService } from '../compose/program.ts'
import { composeCustomers } from '../compose/services.ts'
import { openTelemetry, runAlone, serveWatched, telemetryOf } from '../compose/telemetry.ts'
import { createLogger } from '../platform/telemetry/logger.ts'

const HELP = `Runs the Customers API alone. Takes no options.

  npm run start:customers

It listens on port 3001 of this machine (PORT, HOST). The data is in .data/b2b.sqlite (DB_FILE), or on the MySQL or MariaDB
server of DB_HOST. .env.example lists every variable.`

await runService(HELP, async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'customers' })
  const lifecycle = { draining: false }
  const watched = await openTelemetry(env, logger)
  const telemetry = telemetryOf(watched, 'customers')
  const db = await openPreparedDatabase(env, logger, telemetry)
  const serving = await serveWatched(
    composeCustomers(env, db, logger, lifecycle, telemetry).app,
    env.ports.own ?? env.ports.customers,
    env,
    logger,
    watched,
  )
  await runAlone({ env, logger, lifecycle, watched }, serving, () => db.destroy())
})

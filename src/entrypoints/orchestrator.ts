import { runService } from '../compose/program.ts'
import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrchestrator } from '../compose/services.ts'
import { openTelemetry, runAlone, serveWatched, telemetryOf } from '../compose/telemetry.ts'
import { createLogger } from '../platform/telemetry/logger.ts'

const HELP = `Runs the orchestrator alone. Takes no options.

  npm run start:orchestrator

It listens on port 3000 of this machine (PORT, HOST) and calls the APIs at CUSTOMERS_API_BASE and ORDERS_API_BASE.
.env.example lists every variable.`

await runService(HELP, async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'orchestrator' })
  const lifecycle = { draining: false }
  const watched = await openTelemetry(env, logger)
  const telemetry = telemetryOf(watched, 'orchestrator')
  const app = composeOrchestrator(env, findServiceUrls(env, ['customers', 'orders']), logger, lifecycle, telemetry)
  const serving = await serveWatched(app, env.ports.own ?? env.ports.orchestrator, env, logger, watched)
  await runAlone({ env, logger, lifecycle, watched }, serving)
})

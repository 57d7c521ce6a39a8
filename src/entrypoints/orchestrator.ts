import { stopGracefully, urlOf } from '../compose/process.ts'
import { runService } from '../compose/program.ts'
import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrchestrator } from '../compose/services.ts'
import { openTelemetry, serveMetrics, serveWatched } from '../compose/telemetry.ts'
import { createLogger } from '../platform/telemetry/logger.ts'

const HELP = `Runs the orchestrator alone. Takes no options.

  npm run start:orchestrator

It listens on port 3000 of this machine (PORT, HOST) and calls the APIs at CUSTOMERS_API_BASE and ORDERS_API_BASE.
.env.example lists every variable.`

await runService(HELP, async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'orchestrator' })
  const lifecycle = { draining: false }
  const watched = await openTelemetry(env)
  const { telemetry } = watched
  const app = composeOrchestrator(env, findServiceUrls(env, ['customers', 'orders']), logger, lifecycle, telemetry)
  const serving = await serveWatched(app, env.ports.own ?? env.ports.orchestrator, env, logger, watched)
  const metrics = await serveMetrics(env, logger, watched)
  stopGracefully(lifecycle, [serving, ...metrics], async () => {}, logger)
  const { port } = serving
  const told = { host: env.serving.host, port, docs: `${urlOf(env, port)}/docs`, metrics: metrics[0]?.port }
  logger.info(told, 'listening')
})

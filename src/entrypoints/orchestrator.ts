import { createLogger } from '../platform/logging.ts'
import { serve } from '../platform/serving.ts'
import { composeOrchestrator } from './composing.ts'
import { findNeighbours } from './neighbours.ts'
import { stopGracefully, urlOf } from './running.ts'
import { runService } from './usage.ts'

const HELP = `Runs the orchestrator alone. Takes no options.

  npm run start:orchestrator

It listens on port 3000 of this machine (PORT, HOST) and calls the APIs at CUSTOMERS_API_BASE and ORDERS_API_BASE.
.env.example lists every variable.`

await runService(HELP, async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'orchestrator' })
  const lifecycle = { draining: false }
  const app = composeOrchestrator(env, findNeighbours(env, ['customers', 'orders']), logger, lifecycle)
  const serving = await serve(app, env.ports.own ?? env.ports.orchestrator, env.serving, logger)
  stopGracefully(lifecycle, [serving], async () => {}, logger)
  logger.info({ host: env.serving.host, port: serving.port, docs: `${urlOf(env, serving.port)}/docs` }, 'listening')
})

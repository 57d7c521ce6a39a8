import { createLogger } from '../platform/logging.ts'
import { serve } from '../platform/serving.ts'
import { composeOrchestrator } from './composing.ts'
import { findNeighbours } from './neighbours.ts'
import { run, stopGracefully } from './running.ts'

await run(async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'orchestrator' })
  const lifecycle = { draining: false }
  const app = composeOrchestrator(env, findNeighbours(env, ['customers', 'orders']), logger, lifecycle)
  const serving = await serve(app, env.ports.own ?? env.ports.orchestrator, env.serving, logger)
  stopGracefully(lifecycle, [serving], async () => {}, logger)
  logger.info({ port: serving.port, docs: `http://localhost:${serving.port}/docs` }, 'listening')
})

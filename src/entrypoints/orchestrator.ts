import { createLogger } from '../platform/logging.ts'
import { serve } from '../platform/serving.ts'
import { composeOrchestrator } from './composing.ts'
import { requireBase, run, stopGracefully } from './running.ts'

await run(async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'orchestrator' })
  const lifecycle = { draining: false }
  const neighbours = {
    customers: requireBase(env, 'CUSTOMERS_API_BASE'),
    orders: requireBase(env, 'ORDERS_API_BASE'),
  }
  const app = composeOrchestrator(env, neighbours, logger, lifecycle)
  const serving = await serve(app, env.ports.own ?? env.ports.orchestrator)
  stopGracefully(lifecycle, [serving], async () => {}, logger)
  logger.info({ port: serving.port, docs: `http://localhost:${serving.port}/docs` }, 'listening')
})

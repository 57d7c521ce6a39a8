import { startSweeper } from '../orders/sweeper.ts'
import { createLogger } from '../platform/logging.ts'
import { serve } from '../platform/serving.ts'
import { composeOrders } from './composing.ts'
import { findNeighbours } from './neighbours.ts'
import { openPreparedDatabase, run, stopGracefully, urlOf } from './running.ts'

await run(async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'orders' })
  const lifecycle = { draining: false }
  const neighbours = findNeighbours(env, ['customers'])
  const db = await openPreparedDatabase(env, logger)
  const { app, orders } = composeOrders(env, db, neighbours.customers, logger, lifecycle)
  const serving = await serve(app, env.ports.own ?? env.ports.orders, env.serving, logger)
  const stopSweeper = startSweeper(orders, env.orders.sweepSeconds, logger)
  const close = async () => {
    await stopSweeper()
    await db.destroy()
  }
  stopGracefully(lifecycle, [serving], close, logger)
  logger.info({ host: env.serving.host, port: serving.port, docs: `${urlOf(env, serving.port)}/docs` }, 'listening')
})

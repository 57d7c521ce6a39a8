import { createLogger } from '../platform/logging.ts'
import { serve } from '../platform/serving.ts'
import { composeCustomers } from './composing.ts'
import { openPreparedDatabase, run, stopGracefully, urlOf } from './running.ts'

await run(async (env) => {
  const logger = (await createLogger(env.logLevel)).child({ service: 'customers' })
  const lifecycle = { draining: false }
  const db = await openPreparedDatabase(env, logger)
  const serving = await serve(
    composeCustomers(env, db, logger, lifecycle).app,
    env.ports.own ?? env.ports.customers,
    env.serving,
    logger,
  )
  stopGracefully(lifecycle, [serving], () => db.destroy(), logger)
  logger.info({ host: env.serving.host, port: serving.port, docs: `${urlOf(env, serving.port)}/docs` }, 'listening')
})

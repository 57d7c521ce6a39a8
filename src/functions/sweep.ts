import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrders } from '../compose/services.ts'
import { openDatabase } from '../platform/database/open.ts'
import { onSchedule } from './lambda-handler.ts'

/** The sweep that the Orders process runs as a job. Here runs may overlap. */
export const handler = onSchedule('orders', async ({ env, logger }) => {
  const { customers } = findServiceUrls(env, [])
  const { sweep } = composeOrders(env, await openDatabase(env.database, { logger }), customers, logger, {
    draining: false,
  })
  return async () => {
    const swept = await sweep()
    logger.info(swept, 'swept')
    return swept
  }
})

import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrders } from '../compose/services.ts'
import { openDatabase } from '../platform/database/open.ts'
import { onSchedule } from './lambda-handler.ts'

/** What the timer of the orders process does elsewhere. Runs of it may overlap. */
export const handler = onSchedule('orders', async ({ env, logger }) => {
  const { customers } = findServiceUrls(env, [])
  const { orders } = composeOrders(env, await openDatabase(env.database, { logger }), customers, logger, {
    draining: false,
  })
  return async () => {
    const released = await orders.releaseExpiredHolds()
    const purged = await orders.purgeExpiredKeys()
    logger.info({ released, purged }, 'swept')
    return { released, purged }
  }
})

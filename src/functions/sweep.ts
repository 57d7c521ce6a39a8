import { composeOrders } from '../entrypoints/composing.ts'
import { findNeighbours } from '../entrypoints/neighbours.ts'
import { openDatabase } from '../platform/database.ts'
import { onSchedule } from './handling.ts'

/** What the timer of the orders process does elsewhere. Runs of it may overlap. */
export const handler = onSchedule('orders', async ({ env, logger }) => {
  const { customers } = findNeighbours(env, [])
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

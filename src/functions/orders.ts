import { composeOrders } from '../entrypoints/composing.ts'
import { findNeighbours } from '../entrypoints/neighbours.ts'
import { openDatabase } from '../platform/database.ts'
import { onRequests } from './handling.ts'

export const handler = onRequests('orders', ['/orders-api'], async ({ env, logger }) => {
  const { customers } = findNeighbours(env, ['customers'])
  return composeOrders(env, await openDatabase(env.database, { logger }), customers, logger, { draining: false }).app
})

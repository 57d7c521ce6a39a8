import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrders } from '../compose/services.ts'
import { openDatabase } from '../platform/database/open.ts'
import { onRequests } from './lambda-handler.ts'

export const handler = onRequests('orders', ['/orders-api'], async ({ env, logger }) => {
  const { customers } = findServiceUrls(env, ['customers'])
  return composeOrders(env, await openDatabase(env.database, { logger }), customers, logger, { draining: false }).app
})

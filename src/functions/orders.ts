import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrders } from '../compose/services.ts'
import { openDatabase } from '../platform/database/open.ts'
import { onRequests } from './lambda-handler.ts'

export const handler = onRequests('orders', ['/orders-api'], async ({ env, logger, telemetry }) => {
  const { customers } = findServiceUrls(env, ['customers'])
  const db = await openDatabase(env.database, { logger })
  return composeOrders(env, db, customers, logger, { draining: false }, telemetry).app
})

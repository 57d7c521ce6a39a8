import { composeCustomers } from '../compose/services.ts'
import { openDatabase } from '../platform/database/open.ts'
import { onRequests } from './lambda-handler.ts'

export const handler = onRequests(
  'customers',
  ['/customers-api'],
  async ({ env, logger, telemetry }) =>
    composeCustomers(env, await openDatabase(env.database, { logger }), logger, { draining: false }, telemetry).app,
)

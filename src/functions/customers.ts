import { composeCustomers } from '../entrypoints/composing.ts'
import { openDatabase } from '../platform/database.ts'
import { onRequests } from './handling.ts'

export const handler = onRequests(
  'customers',
  ['/customers-api'],
  async ({ env, logger }) =>
    composeCustomers(env, await openDatabase(env.database, { logger }), logger, { draining: false }).app,
)

import { orderConfigOf, orderVariables } from './config.ts'
import { ORDER_ERRORS } from './errors.ts'
import { ORDER_GAUGES } from './metrics.ts'
import { ORDER_SCOPES } from './scopes.ts'
import { ORDER_TABLES } from './tables.ts'

export const orders = {
  name: 'orders',
  scopes: ORDER_SCOPES,
  errors: ORDER_ERRORS,
  tables: ORDER_TABLES,
  gauges: ORDER_GAUGES,
  variables: orderVariables,
  configOf: orderConfigOf,
} as const

import { PRODUCT_ERRORS } from './errors.ts'
import { PRODUCT_GAUGES } from './metrics.ts'
import { PRODUCT_SCOPES } from './scopes.ts'
import { PRODUCT_TABLES } from './tables.ts'

export const products = {
  name: 'products',
  scopes: PRODUCT_SCOPES,
  errors: PRODUCT_ERRORS,
  tables: PRODUCT_TABLES,
  gauges: PRODUCT_GAUGES,
} as const

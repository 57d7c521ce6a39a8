import { CUSTOMER_ERRORS } from './errors.ts'
import { CUSTOMER_SCOPES } from './scopes.ts'
import { CUSTOMER_TABLES } from './tables.ts'

export const customers = {
  name: 'customers',
  scopes: CUSTOMER_SCOPES,
  errors: CUSTOMER_ERRORS,
  tables: CUSTOMER_TABLES,
} as const

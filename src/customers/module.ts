import { CUSTOMER_ERRORS } from './errors.ts'
import { CUSTOMER_SCOPES } from './scopes.ts'

export const customers = { name: 'customers', scopes: CUSTOMER_SCOPES, errors: CUSTOMER_ERRORS } as const

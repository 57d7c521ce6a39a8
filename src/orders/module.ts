import { ORDER_ERRORS } from './errors.ts'
import { ORDER_SCOPES } from './scopes.ts'

export const orders = { name: 'orders', scopes: ORDER_SCOPES, errors: ORDER_ERRORS } as const

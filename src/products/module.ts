import { PRODUCT_ERRORS } from './errors.ts'
import { PRODUCT_SCOPES } from './scopes.ts'

export const products = { name: 'products', scopes: PRODUCT_SCOPES, errors: PRODUCT_ERRORS } as const

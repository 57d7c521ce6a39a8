import { IDENTITY_ERRORS } from './errors.ts'

export const identity = { name: 'identity', scopes: [], errors: IDENTITY_ERRORS } as const

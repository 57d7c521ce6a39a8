import { identityConfigOf, identityVariables } from './config.ts'
import { IDENTITY_ERRORS } from './errors.ts'
import { IDENTITY_TABLES } from './tables.ts'

export const identity = {
  name: 'identity',
  scopes: [],
  errors: IDENTITY_ERRORS,
  tables: IDENTITY_TABLES,
  variables: identityVariables,
  configOf: identityConfigOf,
} as const

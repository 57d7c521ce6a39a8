import { orchestratorConfigOf, orchestratorVariables } from './config.ts'

export const orchestrator = {
  name: 'orchestrator',
  scopes: [],
  errors: {},
  tables: [],
  variables: orchestratorVariables,
  configOf: orchestratorConfigOf,
} as const

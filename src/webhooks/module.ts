import { webhookConfigOf, webhookFaults, webhookVariables } from './config.ts'
import { WEBHOOK_ERRORS } from './errors.ts'
import { WEBHOOK_GAUGES } from './metrics.ts'
import { WEBHOOK_SCOPES } from './scopes.ts'
import { WEBHOOK_TABLES } from './tables.ts'

export const webhooks = {
  name: 'webhooks',
  scopes: WEBHOOK_SCOPES,
  errors: WEBHOOK_ERRORS,
  tables: WEBHOOK_TABLES,
  gauges: WEBHOOK_GAUGES,
  variables: webhookVariables,
  configOf: webhookConfigOf,
  faultsOf: webhookFaults,
} as const

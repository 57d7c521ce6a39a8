import { eventConfigOf, eventVariables } from './config.ts'
import { EVENT_ERRORS } from './errors.ts'
import { EVENT_GAUGES } from './metrics.ts'
import { EVENT_SCOPES } from './scopes.ts'

export const events = {
  name: 'events',
  scopes: EVENT_SCOPES,
  errors: EVENT_ERRORS,
  // The platform has the tables: every domain writes events.
  tables: [],
  gauges: EVENT_GAUGES,
  variables: eventVariables,
  configOf: eventConfigOf,
} as const

import { eventConfigOf, eventVariables } from './config.ts'
import { EVENT_ERRORS } from './errors.ts'
import { EVENT_SCOPES } from './scopes.ts'

export const events = {
  name: 'events',
  scopes: EVENT_SCOPES,
  errors: EVENT_ERRORS,
  // The platform has the tables: every domain writes events.
  tables: [],
  variables: eventVariables,
  configOf: eventConfigOf,
} as const

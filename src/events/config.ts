import { type ParsedVariables, whole } from '../platform/core/variables.ts'

export const eventVariables = {
  EVENTS_RETENTION_DAYS: whole(30, 36_500).optional(),
}

export interface EventConfig {
  /** How long events are kept, in days; undefined: for ever. Deliveries of webhooks need their events for 30 days. */
  retentionDays: number | undefined
}

export function eventConfigOf(vars: ParsedVariables<typeof eventVariables>): EventConfig {
  return { retentionDays: vars.EVENTS_RETENTION_DAYS }
}

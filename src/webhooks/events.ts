import type { EventOrigin, NewEvent } from '../platform/events/record.ts'
import type { DisabledReason } from './tables.ts'

/** What Webhooks tells others. */
export const WEBHOOK_EVENTS = ['webhook_endpoint.disabled'] as const

interface Versioned {
  id: number
  version: number
}

export function endpointDisabled(endpoint: Versioned, reason: DisabledReason, origin: EventOrigin): NewEvent {
  const { id, version } = endpoint
  return {
    type: 'webhook_endpoint.disabled',
    resource: { type: 'webhook_endpoint', id, version },
    customerId: null,
    origin,
    reason,
    data: JSON.stringify({ webhook_endpoint: endpoint, reason }),
  }
}

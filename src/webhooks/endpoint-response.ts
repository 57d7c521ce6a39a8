import type { z } from 'zod'
import { eventId } from '../events/event-response.ts'
import { toRfc3339, toRfc3339OrNull } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import type {
  WebhookAttempt as AttemptSchema,
  WebhookDeliveryDetail as DeliveryDetailSchema,
  WebhookDelivery as DeliverySchema,
  WebhookEndpoint as EndpointSchema,
} from './contract.ts'
import type { AttemptRow, DeliveryRow, EndpointRow } from './store.ts'

export type Endpoint = z.output<typeof EndpointSchema>
export type Delivery = z.output<typeof DeliverySchema>
export type DeliveryDetail = z.output<typeof DeliveryDetailSchema>
export type Attempt = z.output<typeof AttemptSchema>

/** An endpoint as callers see it, without its secret. */
export function presentEndpoint(row: EndpointRow): Endpoint {
  const { id, url, description, customer_id, disabled_reason, version } = row
  return {
    id,
    url,
    description,
    event_types: unsafeCast<string[]>(JSON.parse(row.event_types)),
    customer_id,
    status: row.status === 'enabled' ? 'enabled' : 'disabled',
    disabled_reason,
    paused_until: toRfc3339OrNull(row.paused_until),
    last_success_at: toRfc3339OrNull(row.last_success_at),
    old_secret_until: toRfc3339OrNull(row.old_secret_until),
    created_at: toRfc3339(row.created_at),
    updated_at: toRfc3339(row.updated_at),
    version,
  }
}

export function presentDelivery(row: DeliveryRow): Delivery {
  const { id, endpoint_id, event_type, resource_type, resource_id, position, status, tries } = row
  return {
    id,
    endpoint_id,
    event_id: eventId(row.event_id),
    event_type,
    resource: { type: resource_type, id: resource_id },
    position,
    status,
    tries,
    next_attempt_at: toRfc3339OrNull(row.next_attempt_at),
    created_at: toRfc3339(row.created_at),
    finished_at: toRfc3339OrNull(row.finished_at),
  }
}

export function presentDeliveryDetail(row: DeliveryRow, attempts: readonly AttemptRow[]): DeliveryDetail {
  return { ...presentDelivery(row), attempts: attempts.map(presentAttempt) }
}

function presentAttempt({ attempted_at, status, duration_ms, error, excerpt }: AttemptRow): Attempt {
  return { attempted_at: toRfc3339(attempted_at), status, duration_ms, error, response: excerpt }
}

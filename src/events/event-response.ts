import type { z } from 'zod'
import { toRfc3339 } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import type { Database } from '../platform/database/types.ts'
import type { EventFilter, EventRow } from '../platform/events/feed.ts'
import type { Principal } from '../platform/http/principal.ts'
import type { ActorType, Event as EventSchema } from './contract.ts'

export type Event = z.output<typeof EventSchema>

/** The one whose view of events it is: a customer's, or nobody's in particular. */
export type Viewer = Pick<Principal, 'customerId'>

/** The types of resources whose events a bound client may see: those of its own customer, and those of everybody. */
const OWNED = ['order']
const SHARED = ['product']

/** The events that somebody may see. */
export function visibleTo({ customerId }: Viewer): EventFilter {
  return customerId === null ? {} : { boundTo: customerId, owned: OWNED, shared: SHARED }
}

/** What events of one type of resource tell, by the events' ids: a domain may keep less than it tells. */
export type ReadData = (db: Database, events: readonly EventRow[]) => Promise<ReadonlyMap<number, object>>

/** By the type of the resource. What other events tell is kept as it is told. */
export type DataReaders = Readonly<Partial<Record<string, ReadData>>>

/** Events as callers see them, in the feed and in webhooks. A bound client does not see who changed a product. */
export async function presentEvents(
  db: Database,
  events: readonly EventRow[],
  viewer: Viewer,
  readers: DataReaders,
): Promise<Event[]> {
  const told = new Map<number, unknown>()
  for (const [type, some] of Map.groupBy(events, ({ resource_type }) => resource_type)) {
    for (const [id, data] of (await readers[type]?.(db, some)) ?? []) told.set(id, data)
  }
  return events.map((event) => presentEvent(event, told.get(event.id) ?? JSON.parse(event.data), viewer))
}

function presentEvent(event: EventRow, data: unknown, { customerId }: Viewer): Event {
  const { id, type, occurred_at, position, resource_type, resource_id, resource_version } = event
  const isHidden = customerId !== null && event.customer_id !== customerId
  const actor = actorOf(event.actor)
  return {
    id: eventId(id),
    type,
    timestamp: toRfc3339(occurred_at),
    position,
    resource: { type: resource_type, id: resource_id, version: resource_version },
    actor: isHidden ? { ...actor, id: null } : actor,
    correlation_id: isHidden ? null : event.correlation_id,
    data: unsafeCast<Event['data']>(data),
  }
}

/** An event's id as callers see it. */
export function eventId(id: number): string {
  return `evt_${id}`
}

/** `client:demo` → a client; `system:holds` → the system; a service and an anonymous caller have no prefix. */
function actorOf(actor: string): { type: ActorType; id: string } {
  const [, type, id = ''] = /^(client|system):(.*)$/s.exec(actor) ?? []
  if (type === 'client' || type === 'system') return { type, id }
  return { type: actor === 'service' ? 'service' : 'client', id: actor }
}

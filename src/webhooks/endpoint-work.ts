import { visibleTo } from '../events/event-response.ts'
import { typesOf } from '../events/types.ts'
import { addMs, type DbTime, laterOf } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { readClock } from '../platform/database/clock.ts'
import { transact } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { type EventRow, readFeed } from '../platform/events/feed.ts'
import { recordEvents, systemOrigin } from '../platform/events/record.ts'
import { type AttemptResult, consequenceOf, isGivenUp } from './delivery-rules.ts'
import {
  countInFlight,
  endLease,
  findDue,
  findFirst,
  findLeased,
  findPendingResources,
  insertAttempt,
  insertDeliveries,
  type LeasedDelivery,
  leaseDeliveries,
  type NewDelivery,
  type Resource,
  scheduleDeliveries,
} from './delivery-store.ts'
import { presentEndpoint } from './endpoint-response.ts'
import { endpointDisabled } from './events.ts'
import { disabledFor, type EndpointRow, lockEndpoint, noteOnEndpoint, updateEndpoint } from './store.ts'
import type { DisabledReason } from './tables.ts'

/** How many deliveries may be on their way to one endpoint, from all machines. */
export const MAX_IN_FLIGHT = 4
const MAX_EVENTS = 100
/** Longer than an attempt may take: a dispatcher that was killed keeps its deliveries no longer. */
const LEASE_MS = 30_000

const ORIGIN = systemOrigin('webhooks')

/** An attempt that has ended. Without a result it was given up, and the delivery is given back. */
export interface Ended {
  delivery: LeasedDelivery
  lease: string
  result: (AttemptResult & { durationMs: number; excerpt: string }) | undefined
}

export interface Work {
  endpoint: EndpointRow
  /** What the caller must send now. */
  leased: LeasedDelivery[]
  lease: string
  /** Whether the cursor moved. */
  moved: boolean
  /** Whether the feed has more for the endpoint. */
  isBehind: boolean
  /** Why the endpoint was disabled by what ended. */
  disabled: DisabledReason | undefined
}

/**
 * One step of sending events to an endpoint, in one transaction: notes what came of attempts, makes deliveries of the next
 * events of the feed and moves the cursor, and leases deliveries that are due. The endpoint's row is locked, so any number of
 * machines may do this. After a lost commit it runs again and finds what it did.
 * @param most how many deliveries the caller can send now
 * @returns undefined when the endpoint is deleted
 */
export function workOnEndpoint(
  db: Database,
  endpointId: number,
  ended: readonly Ended[],
  most: number,
  { disableAfterHours }: { disableAfterHours: number },
): Promise<Work | undefined> {
  const lease = crypto.randomUUID()
  let isRerun = false
  return transact(db, async (trx) => {
    const endpoint = await lockEndpoint(trx, endpointId)
    if (endpoint === undefined) return undefined
    const now = await readClock(trx)
    const held = isRerun ? await findLeased(trx, endpointId, lease, now) : []
    isRerun = true
    const { disabled, pausedUntil } = await settle(trx, endpoint, ended, now, disableAfterHours)
    const rests = disabled !== undefined || endpoint.status !== 'enabled' || (pausedUntil ?? '') > now
    const made = rests ? NOTHING_MADE : await makeDeliveries(trx, endpoint, now)
    const leased = rests || held.length > 0 ? held : await leaseDue(trx, endpointId, lease, most, now)
    return { endpoint, leased, lease, ...made, disabled }
  })
}

const NOTHING_MADE = { moved: false, isBehind: false }

interface Settled {
  disabled: DisabledReason | undefined
  pausedUntil: DbTime | null
}

/** Notes what came of attempts. */
async function settle(
  trx: Database,
  endpoint: EndpointRow,
  ended: readonly Ended[],
  now: DbTime,
  disableAfterHours: number,
): Promise<Settled> {
  let [succeededAt, pausedUntil] = [endpoint.last_success_at, endpoint.paused_until]
  let isExhausted = false
  let isGone = false
  for (const one of ended) {
    const consequence = await settleOne(trx, endpoint.id, one, now)
    if (consequence === undefined) continue
    if (consequence.delivery.status === 'succeeded') succeededAt = now
    isExhausted ||= consequence.isExhausted
    if (consequence.pausedUntil) pausedUntil = laterOf(pausedUntil ?? '', consequence.pausedUntil)
    isGone ||= consequence.isGone
  }
  if (succeededAt !== endpoint.last_success_at || pausedUntil !== endpoint.paused_until) {
    await noteOnEndpoint(trx, endpoint.id, { last_success_at: succeededAt, paused_until: pausedUntil })
  }
  const since = laterOf(succeededAt ?? '', endpoint.enabled_at)
  const isFailing = isExhausted && isGivenUp(since, now, disableAfterHours)
  const reason = isGone ? 'gone' : isFailing ? 'failing' : undefined
  const disabled = endpoint.status === 'enabled' ? reason : undefined
  if (disabled) await disable(trx, endpoint, disabled, now)
  return { disabled, pausedUntil }
}

/** @returns undefined when another dispatcher has the delivery by now, or when it was given back */
async function settleOne(trx: Database, endpointId: number, { delivery, lease, result }: Ended, now: DbTime) {
  if (result === undefined) {
    await endLease(trx, delivery.id, lease, {})
    return undefined
  }
  const consequence = consequenceOf(result, delivery.tries, now, Math.random())
  const resource = await endLease(trx, delivery.id, lease, consequence.delivery)
  if (resource === undefined) return undefined
  const { status, error, durationMs, excerpt } = result
  const attempted_at = addMs(now, -durationMs)
  await insertAttempt(trx, { delivery_id: delivery.id, attempted_at, status, duration_ms: durationMs, error, excerpt })
  const first = await findFirst(trx, endpointId, resource)
  if (first && first.id !== delivery.id) {
    // An earlier one was asked for again while this one was on its way.
    if (consequence.delivery.status === 'pending') await scheduleDeliveries(trx, [delivery.id], null)
    if (first.next_attempt_at === null) await scheduleDeliveries(trx, [first.id], now)
  }
  return consequence
}

async function disable(trx: Database, endpoint: EndpointRow, reason: DisabledReason, now: DbTime): Promise<void> {
  await updateEndpoint(trx, endpoint.id, disabledFor(reason), now)
  const disabled = { ...endpoint, ...disabledFor(reason), updated_at: now, version: endpoint.version + 1 }
  await recordEvents(trx, [endpointDisabled(presentEndpoint(disabled), reason, ORIGIN)], now)
}

/** Makes deliveries of the events after the endpoint's cursor, and moves it. */
async function makeDeliveries(
  trx: Database,
  endpoint: EndpointRow,
  now: DbTime,
): Promise<Pick<Work, 'moved' | 'isBehind'>> {
  const { id, cursor, customer_id: customerId } = endpoint
  const types = typesOf(unsafeCast<string[]>(JSON.parse(endpoint.event_types)))
  const page = await readFeed(trx, { ...visibleTo({ customerId }), types, after: cursor, limit: MAX_EVENTS })
  if (page.end === cursor) return NOTHING_MADE
  const pending = await findPendingResources(trx, id, page.events)
  await insertDeliveries(trx, deliveriesOf(id, page.events, pending, now))
  await noteOnEndpoint(trx, id, { cursor: page.end })
  return { moved: true, isBehind: page.end < page.last }
}

/** A delivery waits for an earlier one of its resource. */
function deliveriesOf(
  endpoint_id: number,
  events: readonly EventRow[],
  pending: readonly Resource[],
  now: DbTime,
): NewDelivery[] {
  const nameOf = ({ resource_type, resource_id }: Resource) => `${resource_type} ${resource_id}`
  const waiting = new Set(pending.map(nameOf))
  return events.map(({ id: event_id, type: event_type, position, resource_type, resource_id }) => {
    const name = nameOf({ resource_type, resource_id })
    const next_attempt_at = waiting.has(name) ? null : now
    waiting.add(name)
    const event = { event_id, event_type, position, resource_type, resource_id }
    return { endpoint_id, ...event, status: 'pending', next_attempt_at, created_at: now }
  })
}

async function leaseDue(
  trx: Database,
  endpointId: number,
  lease: string,
  most: number,
  now: DbTime,
): Promise<LeasedDelivery[]> {
  if (most <= 0) return []
  const free = Math.min(most, MAX_IN_FLIGHT - (await countInFlight(trx, endpointId, now)))
  const due = free <= 0 ? [] : await findDue(trx, endpointId, now, free)
  const ids = due.map(({ id }) => id)
  if (ids.length > 0) await leaseDeliveries(trx, ids, lease, addMs(now, LEASE_MS))
  return due
}

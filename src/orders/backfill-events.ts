import type { DbTime } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { findRecorded, type Recorded } from '../platform/events/feed.ts'
import { numberEvents } from '../platform/events/positions.ts'
import { recordEvents } from '../platform/events/record.ts'
import { noteBackfill, readFeedSpan } from '../platform/events/retention.ts'
import { type MissedChange, orderBackfilled } from './events.ts'
import { presentOrder } from './order-response.ts'
import { findLines, findOrdersAfter, lockOrders, type OrderRow } from './store.ts'

/** Few orders for each transaction, so that its locks are short. */
const PAGE_SIZE = 200

export interface BackfillOptions {
  /** Also orders that were placed before the feed began: each gets one event that shows it as it is now. */
  all: boolean
  /** The id of the order after which it goes on. */
  after: number
}

export interface Backfilled {
  /** How many orders were looked at. */
  orders: number
  /** How many events were added. */
  events: number
}

/**
 * Adds the events of changes that an older version made, which writes none. Services may run meanwhile, and so may the same
 * work on other machines: an order is locked while its events are added, and none is added twice.
 * @param onProgress gets what was done so far, and the id of the last order that was looked at
 * @throws RowsLocked
 */
export async function backfillEvents(
  db: Database,
  { all, after }: BackfillOptions,
  onProgress: (done: Backfilled, lastId: number) => void,
): Promise<Backfilled> {
  const begin = await readClock(db)
  const { since } = await readFeedSpan(db)
  const terms = { all, since }
  const done = { orders: 0, events: 0 }
  for (let lastId: number | undefined = after; lastId !== undefined; ) {
    const page = await findOrdersAfter(db, lastId, PAGE_SIZE)
    done.orders += page.length
    done.events += await backfillPage(db, page, terms)
    lastId = page.at(-1)?.id
    if (lastId !== undefined) onProgress(done, lastId)
  }
  await noteBackfill(db, begin)
  return done
}

interface Terms extends Pick<BackfillOptions, 'all'> {
  /** Orders that were placed since then have events from their first version on. */
  since: DbTime
}

async function backfillPage(db: Database, page: readonly Versioned[], terms: Terms): Promise<number> {
  const ids = page.map(({ id }) => id)
  const recorded = await recordedOf(db, ids)
  const lacking = page.filter((order) => missingVersions(order, recorded.get(order.id) ?? [], terms).length > 0)
  if (lacking.length === 0) return 0
  const added = await addMissing(
    db,
    lacking.map(({ id }) => id),
    terms,
  )
  while (!(await numberEvents(db))) {}
  return added
}

function addMissing(db: Database, ids: readonly number[], terms: Terms): Promise<number> {
  return transactAlone(db, async (trx) => {
    const rows = await lockOrders(trx, ids)
    const recorded = await recordedOf(trx, ids)
    const lines = await findLines(trx, rows)
    const events = rows.flatMap((row) => {
      const order = presentOrder(row, lines.get(row.id) ?? [])
      return missedChanges(row, recorded.get(row.id) ?? [], terms).map((change) => orderBackfilled(order, change))
    })
    await recordEvents(trx, events, await readClock(trx))
    return events.length
  })
}

async function recordedOf(db: Database, ids: readonly number[]): Promise<Map<number, Recorded[]>> {
  return Map.groupBy(await findRecorded(db, 'order', ids), ({ resource_id }) => resource_id)
}

type Versioned = Pick<OrderRow, 'id' | 'created_at' | 'version'>
type Known = Pick<Recorded, 'resource_version' | 'type'>

/** The versions of an order that lack an event, ascending. */
function missingVersions(order: Versioned, recorded: readonly Known[], terms: Terms): number[] {
  const versions = new Set(recorded.map(({ resource_version }) => resource_version))
  const from = firstVersion(order, recorded, terms)
  return Array.from({ length: order.version - from + 1 }, (_, i) => from + i).filter(
    (version) => !versions.has(version),
  )
}

/**
 * The version from which on an order has events. An older order has them since its first one; of all older orders, one more
 * shows what it was before, or what it is now.
 */
function firstVersion({ created_at, version }: Versioned, recorded: readonly Known[], { all, since }: Terms): number {
  if (created_at >= since) return 1
  const first = Math.min(...recorded.map(({ resource_version }) => resource_version), version + 1)
  return all && !hasType(recorded, 'order.placed') ? Math.max(1, first - 1) : first
}

/**
 * The changes of an order that lack an event. The times of the row tell which of them placed, confirmed and canceled it; all
 * others changed its details.
 */
export function missedChanges(order: OrderRow, recorded: readonly Known[], terms: Terms): MissedChange[] {
  const missing = missingVersions(order, recorded, terms)
  const changes = new Map<number, MissedChange>(missing.map((version) => [version, { version, type: 'order.updated' }]))
  const tell = (version: number | undefined, type: MissedChange['type'], occurredAt: DbTime | null) => {
    if (version === undefined || occurredAt === null || hasType(recorded, type)) return
    changes.set(version, { version, type, occurredAt })
  }
  const isFirst = (version: number | undefined) => version === firstVersion(order, recorded, terms)
  const [first] = missing
  const rest = isFirst(first) ? missing.slice(1) : missing
  const wasHeld = order.confirmed_at !== order.created_at
  tell(rest[0], 'order.confirmed', wasHeld ? order.confirmed_at : null)
  tell(rest.at(-1), 'order.canceled', order.canceled_at)
  if (isFirst(first)) tell(first, 'order.placed', order.created_at)
  return [...changes.values()]
}

function hasType(recorded: readonly Known[], type: string): boolean {
  return recorded.some((event) => event.type === type)
}

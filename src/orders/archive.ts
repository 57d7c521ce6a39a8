import { addMinutes, type DbTime } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { readClock } from '../platform/database/clock.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { rewriteEvents } from '../platform/events/rewrite.ts'
import { recordArchivedOrders } from '../products/stock.ts'
import { type StoredOrderData, withoutDetails } from './events.ts'
import { presentLines, presentOrder } from './order-response.ts'
import { quantities } from './placement-rules.ts'
import {
  countFinalOrders,
  deleteOrders,
  type FinalStatus,
  findFinalOrders,
  findKeyedOrders,
  findOrders,
  findOrdersKeyedUntil,
  lockOrders,
  type OrderLines,
  type OrderOrigin,
  type OrderRow,
} from './store.ts'

/** Few orders for each transaction, so that its locks are short. */
const BATCH = 200

const FINAL: readonly FinalStatus[] = ['CONFIRMED', 'CANCELED']

export type ArchiveCounts = Record<FinalStatus, number>

/** Counts the orders that were placed, and then confirmed or canceled, before a time. */
export async function countArchivable(db: Database, before: DbTime): Promise<ArchiveCounts> {
  const counts = { CONFIRMED: 0, CANCELED: 0 }
  for (const status of FINAL) counts[status] = await countFinalOrders(db, { status, before })
  return counts
}

export interface Archived extends ArchiveCounts {
  /** Orders that stay in the database, because a key refers to them or because they changed meanwhile. */
  kept: number
}

/**
 * Moves final orders out of the database. Each batch is saved before it is deleted, so no order is lost; after an
 * interrupted run, the next one may save an order again. The ledger keeps the quantities of confirmed orders.
 * @param save stores lines of JSON before it resolves; each is an order as callers see it, with its origin
 */
export async function archiveOrders(
  db: Database,
  { before, idempotencyTtlMinutes }: { before: DbTime; idempotencyTtlMinutes: number },
  save: (lines: readonly string[]) => Promise<void>,
): Promise<Archived> {
  const archived = { CONFIRMED: 0, CANCELED: 0, kept: 0 }
  const keyedUntil = addMinutes(await readClock(db), idempotencyTtlMinutes)
  const keyed = await findKeyedOrders(db, before)
  for (const status of FINAL) {
    for (let after: OrderRow | undefined; ; ) {
      const rows = await findFinalOrders(db, { status, before }, after, BATCH)
      const free = rows.filter(({ id }) => !keyed.has(id))
      const deleted = await archiveBatch(db, free, keyedUntil, save)
      archived[status] += deleted
      archived.kept += rows.length - deleted
      after = rows.at(-1)
      if (rows.length < BATCH) break
    }
  }
  return archived
}

async function archiveBatch(
  db: Database,
  rows: readonly (OrderRow & OrderOrigin)[],
  keyedUntil: DbTime,
  save: (lines: readonly string[]) => Promise<void>,
): Promise<number> {
  if (rows.length === 0) return 0
  const { lines } = await findOrders(
    db,
    rows.map(({ id }) => id),
  )
  await save(rows.map((row) => JSON.stringify({ ...presentOrder(row, lines.get(row.id) ?? []), ...originOf(row) })))
  return transactAlone(db, (trx) => removeOrders(trx, rows, lines, keyedUntil))
}

function originOf({ placed_by, correlation_id, key_hash }: OrderOrigin): OrderOrigin {
  return { placed_by, correlation_id, key_hash }
}

/** Deletes the saved orders that have not changed since, and that no key refers to. */
async function removeOrders(
  trx: Database,
  saved: readonly OrderRow[],
  lines: OrderLines,
  keyedUntil: DbTime,
): Promise<number> {
  const ids = saved.map(({ id }) => id)
  const locked = new Map((await lockOrders(trx, ids)).map((row) => [row.id, row]))
  const keyed = await findOrdersKeyedUntil(trx, ids, keyedUntil)
  const removed = saved.filter(({ id, status }) => locked.get(id)?.status === status && !keyed.has(id))
  const confirmed = removed.filter(({ status }) => status === 'CONFIRMED')
  await recordArchivedOrders(trx, quantities(confirmed.flatMap(({ id }) => lines.get(id) ?? [])), await readClock(trx))
  const removedIds = removed.map(({ id }) => id)
  // Events stay. They read their lines from their orders, so they get their own now. Nobody finds these events by their
  // customer any more, so an erasure could not: their details go.
  await rewriteEvents(trx, 'order', removedIds, (data) => withLines(withoutDetails(data), lines))
  await deleteOrders(trx, removedIds)
  return removed.length
}

function withLines(data: string, lines: OrderLines): string {
  const { order, ...rest } = unsafeCast<StoredOrderData>(JSON.parse(data))
  return JSON.stringify({ order: { ...order, items: presentLines(lines.get(order.id ?? 0) ?? []) }, ...rest })
}

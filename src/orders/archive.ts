import { addMinutes, type DbTime } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { recordArchivedOrders } from '../products/stock.ts'
import { presentOrder } from './order-response.ts'
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

/** Orders of one transaction: few, so that nobody waits long for what it locks. */
const BATCH = 200

const FINAL: readonly FinalStatus[] = ['CONFIRMED', 'CANCELED']

export type ArchiveCounts = Record<FinalStatus, number>

/** How many orders were placed, and then confirmed or canceled, before a time. */
export async function countArchivable(db: Database, before: DbTime): Promise<ArchiveCounts> {
  const counts = { CONFIRMED: 0, CANCELED: 0 }
  for (const status of FINAL) counts[status] = await countFinalOrders(db, { status, before })
  return counts
}

export interface Archived extends ArchiveCounts {
  /** Orders that stay because a key still stands for them, or because they changed meanwhile. */
  kept: number
}

/**
 * Takes final orders out of the database. Each batch is handed over before it is deleted, so no order is ever lost; where a
 * run was cut off, an order may be handed over again by the next one. What confirmed orders took stays in the ledger.
 * @param save keeps orders, each a line of JSON as callers see it and with its origin, before it resolves
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

/** Deletes those of the orders that are still as they were saved, and that no key names. */
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
  await deleteOrders(
    trx,
    removed.map(({ id }) => id),
  )
  return removed.length
}

import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { readClock } from '../platform/database/clock.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { recordEvents, systemOrigin } from '../platform/events/record.ts'
import { rewriteEvents } from '../platform/events/rewrite.ts'
import { rewriteResponsesWhere } from '../platform/idempotency/rewrite.ts'
import { ERASED, orderErased, withoutDetails } from './events.ts'
import { type Order, presentOrder } from './order-response.ts'
import {
  erasePersonalDetails,
  findLines,
  findOrdersOf,
  hasPersonalDetails,
  lockOrders,
  storedDetailsOf,
} from './store.ts'

/** Few orders for each transaction, so that its locks are short. */
const PAGE_SIZE = 200

const CAUSE = systemOrigin('erasure')

/**
 * Erases the ship-to, the notes and the metadata of a customer's orders, also in stored responses and in events: they may
 * be about a person. Whoever asks for the erasure may ask again. An order that is placed at this moment may keep them.
 * @throws RowsLocked
 */
export async function eraseOrderDetails(db: Database, customerId: number): Promise<void> {
  let last: Awaited<ReturnType<typeof findOrdersOf>>[number] | undefined
  for (let isFull = true; isFull; ) {
    const found = await findOrdersOf(db, customerId, last, PAGE_SIZE)
    if (found.length > 0) await eraseAll(db, found)
    last = found.at(-1)
    isFull = found.length === PAGE_SIZE
  }
  await rewriteResponsesWhere(db, storedDetailsOf(customerId), erasedBody)
}

async function eraseAll(db: Database, orders: readonly { id: number }[]): Promise<void> {
  const ids = orders.map(({ id }) => id)
  await transactAlone(db, async (trx) => {
    const rows = (await lockOrders(trx, ids)).filter(hasPersonalDetails)
    // Also of the orders that have no details now: their events may have those of before.
    await rewriteEvents(trx, 'order', ids, withoutDetails)
    if (rows.length === 0) return
    const lines = await findLines(trx, rows)
    await erasePersonalDetails(
      trx,
      rows.map(({ id }) => id),
    )
    const erased = rows.map((row) =>
      presentOrder({ ...row, ...ERASED, version: row.version + 1 }, lines.get(row.id) ?? []),
    )
    await recordEvents(
      trx,
      erased.map((order) => orderErased(order, CAUSE)),
      await readClock(trx),
    )
  })
}

function erasedBody(body: string): string {
  return JSON.stringify({ ...unsafeCast<Order>(JSON.parse(body)), ...ERASED })
}

import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { rewriteResponsesWhere } from '../platform/idempotency/rewrite.ts'
import type { Order } from './order-response.ts'
import { erasePersonalDetails, findPersonalDetails, lockOrders, storedDetailsOf } from './store.ts'

/** Few orders for each transaction, so that its locks are short. */
const PAGE_SIZE = 200

/**
 * Erases the ship-to, the notes and the metadata of a customer's orders, also in stored responses: they may be about a
 * person. Whoever asks for the erasure may ask again. An order that is placed at this moment may keep them.
 * @throws RowsLocked
 */
export async function eraseOrderDetails(db: Database, customerId: number): Promise<void> {
  let last: Awaited<ReturnType<typeof findPersonalDetails>>[number] | undefined
  for (let isFull = true; isFull; ) {
    const found = await findPersonalDetails(db, customerId, last, PAGE_SIZE)
    if (found.length > 0) await eraseAll(db, found)
    last = found.at(-1)
    isFull = found.length === PAGE_SIZE
  }
  await rewriteResponsesWhere(db, storedDetailsOf(customerId), erasedBody)
}

async function eraseAll(db: Database, orders: readonly { id: number }[]): Promise<void> {
  const ids = orders.map(({ id }) => id)
  await transactAlone(db, async (trx) => {
    await lockOrders(trx, ids)
    await erasePersonalDetails(trx, ids)
  })
}

function erasedBody(body: string): string {
  return JSON.stringify({ ...unsafeCast<Order>(JSON.parse(body)), ship_to: null, notes: null, metadata: null })
}

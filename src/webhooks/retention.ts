import { addDays, type DbTime } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { deleteDeliveries, findOldDeliveries, lockOldDeliveries } from './delivery-store.ts'
import { forgetDeletedEndpoints } from './store.ts'

const RETENTION_DAYS = 30
/** Few rows for each transaction, so that its locks are short. */
const PAGE_SIZE = 500
/** The next sweep goes on, so that the ends of holds wait only so long for this one. */
const MAX_PAGES = 20

/**
 * Deletes deliveries that ended 30 days ago, and deleted endpoints with theirs. Any number of machines may do it.
 * @returns their number; nothing where there are none
 */
export async function sweepDeliveries(db: Database): Promise<{ deliveries?: number }> {
  const before = addDays(await readClock(db), -RETENTION_DAYS)
  let deliveries = 0
  for (let page = 0; page < MAX_PAGES; page++) {
    const found = await findOldDeliveries(db, before, PAGE_SIZE)
    if (found.length === 0) break
    deliveries += await deleteOld(db, found, before)
  }
  await forgetDeletedEndpoints(db)
  return deliveries === 0 ? {} : { deliveries }
}

function deleteOld(db: Database, found: readonly number[], before: DbTime): Promise<number> {
  return transactAlone(db, async (trx) => {
    const ids = await lockOldDeliveries(trx, found, before)
    await deleteDeliveries(trx, ids)
    return ids.length
  })
}

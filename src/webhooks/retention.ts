import { addDays } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { deleteDeliveries, findOldDeliveries } from './delivery-store.ts'

const RETENTION_DAYS = 30
/** Few rows for each transaction, so that its locks are short. */
const PAGE_SIZE = 500

/**
 * Deletes deliveries that ended 30 days ago, and those of deleted endpoints. Any number of machines may do it.
 * @returns their number; nothing where there are none
 */
export async function sweepDeliveries(db: Database): Promise<{ deliveries?: number }> {
  const before = addDays(await readClock(db), -RETENTION_DAYS)
  let deliveries = 0
  for (;;) {
    const ids = await findOldDeliveries(db, before, PAGE_SIZE)
    if (ids.length === 0) return deliveries === 0 ? {} : { deliveries }
    await transactAlone(db, (trx) => deleteDeliveries(trx, ids))
    deliveries += ids.length
  }
}

import { AppError } from '../platform/core/errors.ts'
import { dayIn } from '../platform/core/time.ts'
import type { Database } from '../platform/database/types.ts'
import { originOf, recordEvents } from '../platform/events/record.ts'
import type { Caller } from '../platform/http/app.ts'
import { type Preconditions, requireVersion } from '../platform/http/etag.ts'
import { mayActFor } from '../platform/http/principal.ts'
import { claimOf } from '../platform/idempotency/claim.ts'
import { runIdempotent } from '../platform/idempotency/run.ts'
import type { StoredResponse } from '../platform/idempotency/store.ts'
import { UPDATE_ORDER } from './commands.ts'
import { type ChangedDetails, changedColumnsOf } from './detail-columns.ts'
import { orderUpdated } from './events.ts'
import { type Order, presentOrder } from './order-response.ts'
import { atTime, orderCanceled, orderNotFound } from './order-states.ts'
import { dayPassed } from './placement-rules.ts'
import { findOrders, lockOrders, updateDetails } from './store.ts'

export interface OrderUpdate {
  orderId: number
  change: ChangedDetails
  key: string | undefined
  preconditions: Preconditions
}

/**
 * Changes the details of an order that is not canceled. An order whose hold has ended counts as canceled.
 * @throws AppError `not_found`, `order_canceled`, `precondition_failed`, `validation_failed`, `idempotency_key_reused`
 */
export function updateOrder(
  db: Database,
  caller: Caller,
  { orderId, change, key, preconditions }: OrderUpdate,
  { idempotencyTtlMinutes, timeZone }: { idempotencyTtlMinutes: number; timeZone: string },
): Promise<StoredResponse> {
  const { principal } = caller
  const claim = claimOf(UPDATE_ORDER, principal, key, orderId, change)
  return runIdempotent(db, claim, idempotencyTtlMinutes, caller.trace, async (trx, now): Promise<Order> => {
    const [row] = await lockOrders(trx, [orderId])
    if (row === undefined || !mayActFor(principal, row.customer_id)) throw orderNotFound(orderId)
    requireVersion(preconditions, row, 'order')
    if (atTime(row, now).status === 'CANCELED') throw orderCanceled(orderId)
    const passed = dayPassed(change.requested_delivery_date || undefined, dayIn(timeZone, now))
    if (passed instanceof AppError) throw passed
    const columns = changedColumnsOf(change)
    await updateDetails(trx, orderId, columns)
    const { lines } = await findOrders(trx, [orderId])
    const items = lines.get(orderId) ?? []
    const order = presentOrder({ ...row, ...columns, version: row.version + 1 }, items)
    await recordEvents(trx, [orderUpdated(presentOrder(row, items), order, originOf(caller))], now)
    return order
  })
}

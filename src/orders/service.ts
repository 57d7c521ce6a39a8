import type { z } from 'zod'
import type { CustomersClient } from '../customers/client.ts'
import type { Caller } from '../platform/app.ts'
import { callerIdOf, type Principal } from '../platform/auth.ts'
import { createBatcher, createGatherer, createLockMemory } from '../platform/batcher.ts'
import type { Database } from '../platform/database.ts'
import { RowsLocked } from '../platform/database-errors.ts'
import { AppError } from '../platform/errors.ts'
import {
  type Answer,
  type Claim,
  claimId,
  claimOf,
  openWith,
  purgeExpiredKeys,
  replayOf,
} from '../platform/idempotency.ts'
import { cutPage, type Page, readCursor } from '../platform/pages.ts'
import type { OrderStatus } from '../platform/tables.ts'
import { fromRfc3339, toRfc3339 } from '../platform/time.ts'
import { CANCEL_ORDER, type ChangeCommand, CONFIRM_ORDER } from './changing.ts'
import { rowNamesOf, type WriteCommand, weightOf } from './commands.ts'
import { type NewOrder, OrderPlace, type OrderQuery } from './contract.ts'
import { customerNotFound, PLACE_ORDER, type PlaceCommand } from './placing.ts'
import { type Order, type OrderSummary, presentOrder, presentSummary } from './presenting.ts'
import { findExpiredHolds, findOrders, type Hold, listOrders, type OrderLine, type OrderRow } from './store.ts'
import { RELEASES, writeOrders } from './writing.ts'

/** A run holds its locks for all its commands, so it is kept short; the queue is what a busy second brings. */
const BATCH = { maxCommands: 256, maxWeight: 500, maxQueued: 5_000 }
/** Of the time that a command may wait for locks, the share that it waits in a run, with all others of that run. */
const PATIENCE_SHARE = 1 / 3
const MOST_READ_TOGETHER = 100
const SWEEP = 500

export interface OrdersConfig {
  /** How long the stock of an unconfirmed order is held, unless the caller says otherwise. */
  holdMinutes: number
  /** How long a client that is bound to a customer may have stock held. */
  maxHoldMinutes: number
  /** How many unconfirmed orders the customer of such a client may have. */
  maxOpenHolds: number
  cancelWindowMinutes: number
  idempotencyTtlMinutes: number
  /** How long a command may wait for rows that another transaction has locked, in ms. */
  lockWaitMs: number
}

export type OrdersService = ReturnType<typeof createOrdersService>

/** What can be done with orders. Writes of one moment share a transaction; each caller still gets its own answer. */
export function createOrdersService(db: Database, customers: CustomersClient, config: OrdersConfig) {
  // Two, for they seldom want the same rows: while the database does the one, the other is decided.
  const batching = {
    ...BATCH,
    rowsOf: rowNamesOf,
    shareOf,
    weightOf,
    locks: createLockMemory(),
    lockWaitMs: config.lockWaitMs,
  }
  const writing = { ...config, lockPatienceMs: Math.ceil(config.lockWaitMs * PATIENCE_SHARE) }
  const place = createBatcher<PlaceCommand, Answer>(
    (commands, mode) => writeOrders(db, commands, writing, mode),
    batching,
  )
  const change = createBatcher<ChangeCommand, Answer>(
    (commands, mode) => writeOrders(db, commands, writing, mode),
    batching,
  )

  /** Those that are asked for at the same moment are read together. */
  const read = createGatherer<number, { row: OrderRow; lines: readonly OrderLine[] }>(async (ids) => {
    const { orders, lines } = await findOrders(db, [...new Set(ids)])
    return ids.map((id) => {
      const row = orders.get(id)
      return row ? { row, lines: lines.get(id) ?? [] } : orderNotFound(id)
    })
  }, MOST_READ_TOGETHER)

  return {
    /**
     * @throws AppError `customer_not_found`, `product_not_found`, `too_many_holds`, `insufficient_stock`,
     *   `amount_too_large`, `idempotency_key_reused`, and those of the customers client
     */
    async placeOrder(caller: Caller, input: z.output<typeof NewOrder>, key: string | undefined): Promise<Answer> {
      const { customer_id, items, hold_minutes } = input
      const { principal, trace } = caller
      if (principal.customerId !== null && principal.customerId !== customer_id) {
        throw new AppError('not_found', `There is no customer ${customer_id}.`)
      }
      const claim = claimOf(PLACE_ORDER, principal, key, customer_id, items, hold_minutes ?? null)
      try {
        refuseLongHold(principal, hold_minutes)
        const customer = await customers.getCustomer(customer_id, trace)
        if (customer === undefined) throw customerNotFound(customer_id)
      } catch (error) {
        // An order that was placed already stays placed, whatever became of its customer or of Customers since.
        return await firstAnswer(claim, error)
      }
      const isBound = principal.customerId !== null
      const usualMinutes = isBound ? Math.min(config.holdMinutes, config.maxHoldMinutes) : config.holdMinutes
      return place({
        kind: 'place',
        claim,
        customerId: customer_id,
        items,
        holdMinutes: hold_minutes ?? usualMinutes,
        maxOpenHolds: isBound ? config.maxOpenHolds : null,
        share: callerIdOf(principal),
      })
    },

    /** @throws AppError `not_found` */
    async getOrder({ principal }: Caller, id: number): Promise<Order> {
      const { row, lines } = await read(id)
      if (principal.customerId !== null && principal.customerId !== row.customer_id) throw orderNotFound(id)
      return presentOrder(row, lines)
    },

    /** Newest first. @throws AppError `validation_failed` for a cursor of another list */
    async listOrders({ principal }: Caller, query: z.output<typeof OrderQuery>): Promise<Page<OrderSummary>> {
      const { status, customer_id, from, to, cursor, limit } = query
      const [createdAt, id] = readCursor('orders', cursor, OrderPlace) ?? []
      const rows = await listOrders(db, {
        status,
        customerIds: [customer_id, principal.customerId].filter((id) => typeof id === 'number'),
        from: from && fromRfc3339(from),
        to: to && fromRfc3339(to),
        after: createdAt && id ? { createdAt: fromRfc3339(createdAt), id } : undefined,
        limit: limit + 1,
      })
      const page = cutPage('orders', rows, limit, (row) => [toRfc3339(row.created_at), row.id])
      return { ...page, data: page.data.map(presentSummary) }
    },

    /** @throws AppError `not_found`, `order_canceled`, `idempotency_key_reused` */
    confirmOrder({ principal }: Caller, orderId: number, key: string): Promise<Answer> {
      const claim = claimOf(CONFIRM_ORDER, principal, key, orderId)
      return change({ kind: 'confirm', orderId, boundTo: principal.customerId, claim, share: callerIdOf(principal) })
    },

    /**
     * @param ifStatus cancel only from this state; the order is answered as it is either way
     * @throws AppError `not_found`, `cancel_window_passed`, `idempotency_key_reused`
     */
    cancelOrder(
      { principal }: Caller,
      orderId: number,
      ifStatus: OrderStatus | undefined,
      key: string | undefined,
    ): Promise<Answer> {
      const claim = key === undefined ? undefined : claimOf(CANCEL_ORDER, principal, key, orderId, ifStatus ?? null)
      return change({
        kind: 'cancel',
        orderId,
        boundTo: principal.customerId,
        claim,
        ifStatus,
        share: callerIdOf(principal),
      })
    },

    /**
     * Cancels the orders whose hold has ended, so that their stock can be sold again. Any number of machines may do
     * it at once. One whose rows another transaction has locked is passed over: the next sweep comes to it again.
     * @returns how many holds were released
     */
    async releaseExpiredHolds(): Promise<number> {
      let released = 0
      let last: Hold | undefined
      for (;;) {
        const holds = await findExpiredHolds(db, last, SWEEP)
        const outcomes = await Promise.allSettled(holds.map(({ id }) => release(id)))
        released += outcomes.filter(isReleased).length
        last = holds.at(-1)
        if (holds.length < SWEEP) return released
      }
    },

    /** Removes idempotency records past their time. @returns how many */
    async purgeExpiredKeys(): Promise<number> {
      let purged = 0
      for (;;) {
        const some = await purgeExpiredKeys(db, SWEEP)
        purged += some
        if (some < SWEEP) return purged
      }
    },
  }

  function release(orderId: number): Promise<Answer> {
    return change({ kind: 'expire', orderId, boundTo: null, share: RELEASES })
  }

  /** @throws AppError `validation_failed` */
  function refuseLongHold({ customerId }: Principal, holdMinutes: number | undefined): void {
    if (customerId === null || holdMinutes === undefined || holdMinutes <= config.maxHoldMinutes) return
    const message = `A client that is bound to a customer may hold stock for ${config.maxHoldMinutes} minutes at most`
    throw new AppError('validation_failed', 'The body has an error.', { errors: [{ path: 'hold_minutes', message }] })
  }

  async function firstAnswer(claim: Claim, otherwise: unknown): Promise<Answer> {
    const { answers } = await openWith(db, [claim])
    const stored = answers.get(claimId(claim))
    const replay = stored && replayOf(claim, stored)
    if (replay === undefined) throw otherwise
    if (replay instanceof AppError) throw replay
    return replay
  }
}

/** @throws what made a release fail, unless it was a lock */
function isReleased(outcome: PromiseSettledResult<Answer>): boolean {
  if (outcome.status === 'rejected' && !(outcome.reason instanceof RowsLocked)) throw outcome.reason
  return outcome.status === 'fulfilled'
}

function shareOf({ share }: WriteCommand): string {
  return share
}

function orderNotFound(id: number): AppError {
  return new AppError('not_found', `There is no order ${id}.`)
}

import type { z } from 'zod'
import type { CustomersClient } from '../customers/client.ts'
import { createBatcher } from '../platform/batching/batcher.ts'
import { createLoader } from '../platform/batching/loader.ts'
import { createLockMemory } from '../platform/batching/lock-memory.ts'
import { sha256 } from '../platform/core/crypto.ts'
import { AppError, isRefusal, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { createSharedReads } from '../platform/core/single-flight.ts'
import { foldCase } from '../platform/core/text.ts'
import { fromRfc3339, toRfc3339 } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { RowsLocked } from '../platform/database/errors.ts'
import type { Database } from '../platform/database/types.ts'
import { originOf } from '../platform/events/record.ts'
import type { Caller } from '../platform/http/app.ts'
import { cutPage, type Page, readCursor } from '../platform/http/pagination.ts'
import { callerIdOf, mayActFor, type Principal } from '../platform/http/principal.ts'
import { type Claim, claimOf } from '../platform/idempotency/claim.ts'
import { purgeExpiredKeys } from '../platform/idempotency/purge.ts'
import { replayOrThrow } from '../platform/idempotency/run.ts'
import type { StoredResponse } from '../platform/idempotency/store.ts'
import type { Telemetry } from '../platform/telemetry/telemetry.ts'
import { changeOrders } from './change-orders.ts'
import {
  CANCEL_ORDER,
  type ChangeCommand,
  CONFIRM_ORDER,
  type OrderCommand,
  PLACE_ORDER,
  type PlaceCommand,
  releaseHold,
  rowNamesOf,
  weightOf,
} from './commands.ts'
import type { OrderConfig } from './config.ts'
import { type NewOrder, OrderCursor, type OrderPreview, type OrderQuery, type ValidatedOrder } from './contract.ts'
import { countPlacement, createOrderCount } from './metrics.ts'
import { type Order, type OrderSummary, presentBrief, presentOrder, presentSummary } from './order-response.ts'
import { orderNotFound } from './order-states.ts'
import { placeOrders } from './place-orders.ts'
import { customerNotFound, type OrderRequest } from './placement-rules.ts'
import { previewOrder } from './preview-order.ts'
import {
  findExpiredHolds,
  findLines,
  findOrders,
  type Hold,
  listOrders,
  type OrderFilter,
  type OrderLine,
  type OrderOrigin,
  type OrderRow,
} from './store.ts'
import { type OrderUpdate, updateOrder } from './update-order.ts'

/** A run locks rows for all its commands, so a batch must stay small. The queue holds the commands of a busy second. */
const BATCH = { maxCommands: 256, maxWeight: 500, maxQueued: 5_000 }
/** The share of a command's lock wait that one run may use. All commands of a run wait together, so it is small. */
const RUN_LOCK_WAIT_SHARE = 1 / 3
const MAX_READS_AT_ONCE = 100
const SWEEP_PAGE_SIZE = 500

export interface OrdersServiceConfig extends Omit<OrderConfig, 'sweepSeconds'> {
  idempotencyTtlMinutes: number
  /** How long a command may wait for rows that another transaction has locked, in ms. */
  lockWaitMs: number
}

export type OrdersService = ReturnType<typeof createOrdersService>

/**
 * The verbs of orders. Writes that arrive at the same moment share a transaction, but each caller gets its own
 * response.
 */
export function createOrdersService(
  db: Database,
  customers: CustomersClient,
  config: OrdersServiceConfig,
  telemetry: Telemetry,
) {
  const countOrder = createOrderCount(telemetry)
  // Placing and changing have one batcher each, because they seldom need the same rows. While the database runs one
  // batch, the process decides the other.
  const batching = {
    ...BATCH,
    telemetry,
    rowsOf: rowNamesOf,
    shareOf,
    weightOf,
    locks: createLockMemory(),
    lockWaitMs: config.lockWaitMs,
  }
  const runLockWaitMs = Math.ceil(config.lockWaitMs * RUN_LOCK_WAIT_SHARE)
  const writeConfig = { ...config, runLockWaitMs, countOrder }
  const place = createBatcher<PlaceCommand, StoredResponse>(
    (commands, mode) => placeOrders(db, commands, writeConfig, mode),
    { ...batching, name: 'place' },
  )
  const change = createBatcher<ChangeCommand, StoredResponse>(
    (commands, mode) => changeOrders(db, commands, writeConfig, mode),
    { ...batching, name: 'change' },
  )

  /** Orders that are requested at the same moment are read together. */
  const read = createLoader<number, { row: OrderRow; lines: readonly OrderLine[] }>(async (ids) => {
    const { orders, lines } = await findOrders(db, [...new Set(ids)])
    return ids.map((id) => {
      const row = orders.get(id)
      return row ? { row, lines: lines.get(id) ?? [] } : orderNotFound(id)
    })
  }, MAX_READS_AT_ONCE)

  const readList = createSharedReads((filter: OrderFilter) => listOrders(db, filter))

  return {
    /**
     * @throws AppError the refusals of `placeOrders`, and the errors of the customers client
     */
    placeOrder(caller: Caller, input: PlaceInput, key: string | undefined): Promise<StoredResponse> {
      return countPlacement(countOrder, placeOrder(caller, input, key), input.confirm === true)
    },

    /** Tells what placing an order would cost, and what stands against it. @throws AppError `not_found` */
    previewOrder({ principal, trace }: Caller, input: PlaceInput): Promise<Preview> {
      if (!mayActFor(principal, input.customer_id)) throw customerUnknown(input.customer_id)
      const request = { ...requestOf(input), ...termsOf(principal, input) }
      return previewOrder(db, request, trace.correlationId, config)
    },

    /** @throws AppError `not_found`, `order_canceled`, `precondition_failed`, `validation_failed`, `idempotency_key_reused` */
    updateOrder(caller: Caller, update: OrderUpdate): Promise<StoredResponse> {
      return updateOrder(db, caller, update, config)
    },

    /**
     * Places and confirms an order for a customer that the caller has validated. Without a customer, only a replay
     * succeeds.
     * @throws AppError the same errors as `placeOrder`
     */
    placeValidatedOrder(caller: Caller, input: ValidatedInput, key: string): Promise<StoredResponse> {
      return countPlacement(countOrder, placeValidatedOrder(caller, input, key), true)
    },

    /** @throws AppError `not_found` */
    async getOrder({ principal }: Caller, id: number): Promise<Order> {
      const { row, lines } = await read(id)
      if (!mayActFor(principal, row.customer_id)) throw orderNotFound(id)
      return presentOrder(row, lines)
    },

    /** Newest first. @throws AppError `validation_failed` for a cursor of another list */
    async listOrders({ principal }: Caller, query: z.output<typeof OrderQuery>): Promise<Page<OrderSummary>> {
      const { status, customer_id, po_number, expand, from, to, cursor, limit } = query
      const [createdAt, id] = readCursor('orders', cursor, OrderCursor) ?? []
      const rows = await readList({
        status,
        customerIds: [customer_id, principal.customerId].filter((id) => typeof id === 'number'),
        poKey: po_number && foldCase(po_number),
        from: from && fromRfc3339(from),
        to: to && fromRfc3339(to),
        after: createdAt && id ? { createdAt: fromRfc3339(createdAt), id } : undefined,
        limit: limit + 1,
      })
      const page = cutPage('orders', rows, limit, (row) => [toRfc3339(row.created_at), row.id])
      const lines = expand && (await findLines(db, page.data))
      return { ...page, data: page.data.map((row) => presentSummary(row, lines?.get(row.id))) }
    },

    /** @throws AppError `not_found`, `order_canceled`, `idempotency_key_reused` */
    confirmOrder,

    /** @throws AppError `not_found`, `cancel_window_passed`, `idempotency_key_reused` */
    cancelOrder(caller: Caller, orderId: number, key: string | undefined): Promise<StoredResponse> {
      // The null stands for the empty body. Without it, hashes that earlier versions stored would not match.
      const claim = key === undefined ? undefined : claimOf(CANCEL_ORDER, caller.principal, key, orderId, null)
      return change({ ...changeBy(caller, orderId), kind: 'cancel', claim })
    },

    /**
     * Cancels orders whose hold has ended, so that their stock can be sold again. Any number of machines may do it at
     * the same time. Orders whose rows another transaction has locked are left to the next sweep.
     * @returns the number of released holds
     */
    async releaseExpiredHolds(): Promise<number> {
      let released = 0
      let last: Hold | undefined
      for (;;) {
        const holds = await findExpiredHolds(db, last, SWEEP_PAGE_SIZE)
        const outcomes = await Promise.allSettled(holds.map(({ id }) => change(releaseHold(id))))
        released += outcomes.filter(isReleased).length
        last = holds.at(-1)
        if (holds.length < SWEEP_PAGE_SIZE) return released
      }
    },

    /** Deletes expired idempotency keys. @returns their number */
    async purgeExpiredKeys(): Promise<number> {
      let purged = 0
      for (;;) {
        const some = await purgeExpiredKeys(db, SWEEP_PAGE_SIZE)
        purged += some
        if (some < SWEEP_PAGE_SIZE) return purged
      }
    },
  }

  async function placeOrder(caller: Caller, input: PlaceInput, key: string | undefined): Promise<StoredResponse> {
    const { principal, trace } = caller
    if (!mayActFor(principal, input.customer_id)) throw customerUnknown(input.customer_id)
    const claim = claimOf(PLACE_ORDER, principal, key, ...hashedOf(input))
    try {
      const customer = await customers.getCustomer(input.customer_id, trace)
      if (customer === undefined) throw customerNotFound(input.customer_id)
    } catch (error) {
      // A replay must succeed, even if the customer is deleted by now or Customers does not respond.
      return await replayOrThrow(db, claim, error)
    }
    return place({ ...commandFor(caller, input, claim, key), ...termsOf(principal, input) })
  }

  async function placeValidatedOrder(caller: Caller, input: ValidatedInput, key: string): Promise<StoredResponse> {
    const { customer, ...order } = input
    const claim = claimOf(PLACE_ORDER, caller.principal, key, order)
    if (customer === null) return replayOrThrow(db, claim, customerNotFound(order.customer_id))
    const command = { ...commandFor(caller, order, claim, key), customer, ...CONFIRMED_TERMS }
    return place(command).catch((refusal) => finishTwoSteps(caller, { ...input, customer }, key, refusal))
  }

  function confirmOrder(caller: Caller, orderId: number, key: string): Promise<StoredResponse> {
    const claim = claimOf(CONFIRM_ORDER, caller.principal, key, orderId)
    return change({ ...changeBy(caller, orderId), kind: 'confirm', claim })
  }

  function termsOf({ customerId }: Principal, { hold_minutes, confirm }: PlaceInput): Terms {
    if (confirm) return CONFIRMED_TERMS
    const { holdMinutes, maxHoldMinutes, maxOpenHolds } = config
    if (customerId === null) return { ...CONFIRMED_TERMS, holdMinutes: hold_minutes ?? holdMinutes }
    return { holdMinutes: hold_minutes ?? Math.min(holdMinutes, maxHoldMinutes), maxHoldMinutes, maxOpenHolds }
  }

  /**
   * Earlier versions of the orchestrator placed an order with this key and confirmed it with another one. Replays of
   * such a pair succeed while both keys are kept.
   */
  async function finishTwoSteps(
    caller: Caller,
    input: ValidatedInput,
    key: string,
    refusal: unknown,
  ): Promise<StoredResponse> {
    if (!isRefusal(refusal, PLATFORM_ERRORS.idempotency_key_reused)) throw refusal
    const { customer_id, items, customer } = input
    const placed = await replayOrThrow(db, claimOf(PLACE_ORDER, caller.principal, key, customer_id, items, 15), refusal)
    const confirmed = await confirmOrder(caller, placed.targetId, key.replace('create:', 'confirm:'))
    const order = unsafeCast<Order>(JSON.parse(confirmed.body))
    // These callers gave no PO number.
    const body = JSON.stringify({ customer, order: presentBrief({ ...order, po_number: null }) })
    return { ...confirmed, status: PLACE_ORDER.status, body, replayed: true }
  }
}

type PlaceInput = z.output<typeof NewOrder>
type Preview = z.output<typeof OrderPreview>
type ValidatedInput = z.output<typeof ValidatedOrder>

type Terms = Pick<OrderRequest, 'holdMinutes' | 'maxHoldMinutes' | 'maxOpenHolds'>

/** The terms of an order that is confirmed at once. */
const CONFIRMED_TERMS: Terms = { holdMinutes: null, maxHoldMinutes: null, maxOpenHolds: null }

/**
 * The part of a request that is hashed: the whole body. The first three members keep their order, so that hashes of
 * earlier versions still match.
 */
function hashedOf({ customer_id, items, hold_minutes, ...more }: PlaceInput): unknown[] {
  const request = [customer_id, items, hold_minutes ?? null]
  return Object.values(more).every((value) => value === undefined) ? request : [...request, more]
}

type PlacedBody = Omit<PlaceInput, 'hold_minutes' | 'confirm'>

function requestOf({ customer_id, items, ...details }: PlacedBody) {
  return { customerId: customer_id, items, details }
}

function commandFor(caller: Caller, input: PlacedBody, claim: Claim, key: string | undefined) {
  return {
    kind: 'place',
    claim,
    ...requestOf(input),
    customer: undefined,
    origin: orderOrigin(caller, key),
    share: callerIdOf(caller.principal),
    cause: originOf(caller),
  } as const
}

function changeBy(caller: Caller, orderId: number) {
  const { principal } = caller
  return { orderId, boundTo: principal.customerId, share: callerIdOf(principal), cause: originOf(caller) }
}

function customerUnknown(id: number): AppError {
  return new AppError(PLATFORM_ERRORS.not_found, `There is no customer ${id}.`)
}

function orderOrigin({ principal, trace }: Caller, key: string | undefined): OrderOrigin {
  const key_hash = key === undefined ? null : sha256(key)
  return { placed_by: callerIdOf(principal), correlation_id: trace.correlationId, key_hash }
}

/** @throws the error of a failed release, unless its rows were locked */
function isReleased(outcome: PromiseSettledResult<StoredResponse>): boolean {
  if (outcome.status === 'rejected' && !(outcome.reason instanceof RowsLocked)) throw outcome.reason
  return outcome.status === 'fulfilled'
}

function shareOf({ share }: OrderCommand): string {
  return share
}

import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { addMinutes, type DbTime, laterOf } from '../platform/core/time.ts'
import { mayActFor } from '../platform/http/principal.ts'
import { ORDER_ERRORS } from './errors.ts'
import type { OrderStatus } from './tables.ts'

/** The fields of an order that the state rules read and change. */
export interface OrderState {
  readonly id: number
  readonly status: OrderStatus
  readonly created_at: DbTime
  readonly confirmed_at: DbTime | null
  readonly canceled_at: DbTime | null
  readonly expires_at: DbTime | null
  readonly version: number
}

export type Transition = 'confirm' | 'cancel' | 'expire'

export interface TransitionTerms {
  now: DbTime
  cancelWindowMinutes: number
}

/** Whether an unconfirmed order's hold has ended, even if the sweeper has not released it yet. */
export function isHoldEnded({ status, expires_at }: Pick<OrderState, 'status' | 'expires_at'>, now: DbTime): boolean {
  return status === 'CREATED' && expires_at !== null && expires_at <= now
}

/** The order at a time. An order whose hold has ended counts as canceled. */
export function atTime<T extends OrderState>(order: T, now: DbTime): T {
  return isHoldEnded(order, now) ? cancel(order, now) : order
}

/**
 * The order after a transition, or the refusal. The only transitions are `CREATED → CONFIRMED → CANCELED` and
 * `CREATED → CANCELED`. An order that is in the wanted state already stays unchanged.
 */
export function transit<T extends OrderState>(order: T, transition: Transition, terms: TransitionTerms): T | AppError {
  const { now, cancelWindowMinutes } = terms
  const current = atTime(order, now)
  switch (transition) {
    case 'expire':
      return current
    case 'confirm':
      if (current.status === 'CANCELED') return orderCanceled(current.id)
      return current.status === 'CREATED' ? confirm(current, now) : current
    case 'cancel':
      if (current.status === 'CANCELED') return current
      if (isPastWindow(current, terms)) return windowPassed(current.id, cancelWindowMinutes)
      return cancel(current, now)
  }
}

function isPastWindow({ status, confirmed_at }: OrderState, { now, cancelWindowMinutes }: TransitionTerms): boolean {
  return status === 'CONFIRMED' && confirmed_at !== null && now > addMinutes(confirmed_at, cancelWindowMinutes)
}

function confirm<T extends OrderState>(order: T, now: DbTime): T {
  const confirmed_at = laterOf(now, order.created_at)
  return { ...order, status: 'CONFIRMED', confirmed_at, expires_at: null, version: order.version + 1 }
}

function cancel<T extends OrderState>(order: T, now: DbTime): T {
  const canceled_at = laterOf(now, order.confirmed_at ?? order.created_at)
  return { ...order, status: 'CANCELED', canceled_at, version: order.version + 1 }
}

export function orderCanceled(id: number): AppError {
  return new AppError(ORDER_ERRORS.order_canceled, `Order ${id} is canceled. Place a new one.`)
}

function windowPassed(id: number, minutes: number): AppError {
  return new AppError(ORDER_ERRORS.cancel_window_passed, `Order ${id} was confirmed more than ${minutes} minutes ago.`)
}

/** A change of one order, requested by a caller or by the sweeper. */
export interface ChangeRequest {
  kind: Transition
  orderId: number
  /** The customer that the caller is bound to: orders of other customers do not exist for it. */
  boundTo: number | null
}

/** One change of an order's state. */
export interface StateChange<T, R> {
  before: T
  order: T
  /** The request that made the change; undefined when the order's hold had ended. */
  request: R | undefined
}

export interface DecidedChanges<T, R> {
  /** For each request the changed order, or the refusal. */
  decisions: (T | AppError)[]
  /** Every transition, in order. An order that is confirmed and then canceled has two. */
  transitions: StateChange<T, R>[]
}

/**
 * Decides changes one after another. Each change sees the results of the earlier ones, so exactly one of two
 * conflicting changes succeeds. A refused change may still find that a hold has ended.
 */
export function decideChanges<T extends OrderState & { readonly customer_id: number }, R extends ChangeRequest>(
  requests: readonly R[],
  orders: ReadonlyMap<number, T>,
  terms: TransitionTerms,
): DecidedChanges<T, R> {
  const current = new Map(orders)
  const transitions: StateChange<T, R>[] = []
  const apply = (order: T, request?: R) => {
    const before = current.get(order.id)
    if (before && order.status !== before.status) transitions.push({ before, order, request })
    current.set(order.id, order)
  }
  const decisions = requests.map((request) => {
    const { kind, orderId, boundTo } = request
    const order = current.get(orderId)
    if (order === undefined || !mayActFor({ customerId: boundTo }, order.customer_id)) return orderNotFound(orderId)
    apply(atTime(order, terms.now))
    const decision = transit(order, kind, terms)
    if (!(decision instanceof AppError)) apply(decision, request)
    return decision
  })
  return { decisions, transitions }
}

export function orderNotFound(id: number): AppError {
  return new AppError(PLATFORM_ERRORS.not_found, `There is no order ${id}.`)
}

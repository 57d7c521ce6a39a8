import { AppError } from '../platform/errors.ts'
import { type Answer, type Answers, type Claim, claimId, type Operation, replayOf } from '../platform/idempotency.ts'
import type { OrderStatus } from '../platform/tables.ts'
import { addMinutes, type DbTime } from '../platform/time.ts'
import { presentOrder } from './presenting.ts'
import type { OrderRow, Orders } from './store.ts'

export const CONFIRM_ORDER: Operation = { name: 'orders.confirm', status: 200, targetType: 'order' }
export const CANCEL_ORDER: Operation = { name: 'orders.cancel', status: 200, targetType: 'order' }

interface OrderCommand {
  orderId: number
  /** The customer that the caller is bound to: an order of another customer does not exist for it. */
  boundTo: number | null
  /** For whom it is: batches take the shares in turn. */
  share: string
}

export type ConfirmCommand = OrderCommand & { kind: 'confirm'; claim: Claim }
/** A cancel is done once by its nature; a key makes it answer the same bytes again. */
export type CancelCommand = OrderCommand & {
  kind: 'cancel'
  claim: Claim | undefined
  ifStatus: OrderStatus | undefined
}
export type ExpireCommand = OrderCommand & { kind: 'expire' }
export type ChangeCommand = ConfirmCommand | CancelCommand | ExpireCommand

export interface Changed {
  results: (Answer | AppError)[]
  confirmed: Set<number>
  canceled: Set<number>
  /** The first answers of keys. */
  records: { claim: Claim; answer: Answer }[]
  refused: Claim[]
}

/**
 * Decides about commands in the order given, each against what those before it made of the order, so of two that exclude
 * each other exactly one wins. The orders are changed.
 */
export function decideChanges(
  commands: readonly ChangeCommand[],
  { orders, lines }: Orders,
  answers: Answers,
  { now, cancelWindowMinutes }: { now: DbTime; cancelWindowMinutes: number },
): Changed {
  const changed: Changed = { results: [], confirmed: new Set(), canceled: new Set(), records: [], refused: [] }
  const given = new Map(answers)
  for (const command of commands) {
    const claim = command.kind === 'expire' ? undefined : command.claim
    const stored = claim && given.get(claimId(claim))
    if (claim && stored) {
      changed.results.push(replayOf(claim, stored))
      continue
    }
    const order = decide(command, orders.get(command.orderId), changed, now, cancelWindowMinutes)
    if (order instanceof AppError) {
      if (claim) changed.refused.push(claim)
      changed.results.push(order)
      continue
    }
    // Written now, for what comes later in the batch must not change what this command was answered.
    const body = JSON.stringify(presentOrder(order, lines.get(order.id) ?? []))
    const answer = { targetId: order.id, status: CONFIRM_ORDER.status, body, replayed: false }
    changed.results.push(answer)
    if (claim) {
      changed.records.push({ claim, answer })
      given.set(claimId(claim), { requestHash: claim.requestHash, answer })
    }
  }
  return changed
}

/** Whether the hold of an order that nobody confirmed has ended, swept or not. */
export function isHoldEnded({ status, expires_at }: OrderRow, now: DbTime): boolean {
  return status === 'CREATED' && expires_at !== null && expires_at <= now
}

/** The order as the command leaves it, or why the command is refused. */
function decide(
  command: ChangeCommand,
  order: OrderRow | undefined,
  changed: Changed,
  now: DbTime,
  cancelWindowMinutes: number,
): OrderRow | AppError {
  if (order === undefined || (command.boundTo !== null && command.boundTo !== order.customer_id)) {
    return new AppError('not_found', `There is no order ${command.orderId}.`)
  }
  const holdEnded = isHoldEnded(order, now)
  switch (command.kind) {
    case 'confirm':
      if (holdEnded) cancel(order, changed, now)
      if (order.status === 'CREATED') confirm(order, changed, now)
      return order.status === 'CANCELED' ? orderCanceled(order.id) : order
    case 'cancel':
      if (command.ifStatus !== undefined && command.ifStatus !== order.status) return order
      if (order.confirmed_at !== null && order.status === 'CONFIRMED') {
        if (now > addMinutes(order.confirmed_at, cancelWindowMinutes))
          return windowPassed(order.id, cancelWindowMinutes)
      }
      if (order.status !== 'CANCELED') cancel(order, changed, now)
      return order
    case 'expire':
      if (holdEnded) cancel(order, changed, now)
      return order
  }
}

function confirm(order: OrderRow, changed: Changed, now: DbTime): void {
  Object.assign(order, { status: 'CONFIRMED', confirmed_at: now, expires_at: null })
  changed.confirmed.add(order.id)
}

function cancel(order: OrderRow, changed: Changed, now: DbTime): void {
  Object.assign(order, { status: 'CANCELED', canceled_at: now })
  changed.canceled.add(order.id)
}

function orderCanceled(id: number): AppError {
  return new AppError('order_canceled', `Order ${id} is canceled. Place a new one.`)
}

function windowPassed(id: number, minutes: number): AppError {
  return new AppError('cancel_window_passed', `Order ${id} was confirmed more than ${minutes} minutes ago.`)
}

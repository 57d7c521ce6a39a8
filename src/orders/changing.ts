import { type Database, RunAgain, transact } from '../platform/database.ts'
import { AppError } from '../platform/errors.ts'
import {
  type Answer,
  type Claim,
  claimId,
  type Opening,
  type Operation,
  openWith,
  replayOf,
  saveAnswers,
  yieldToTwins,
} from '../platform/idempotency.ts'
import type { OrderStatus } from '../platform/tables.ts'
import { addMinutes, type DbTime } from '../platform/time.ts'
import { moveStock } from '../products/client.ts'
import { presentOrder } from './presenting.ts'
import { lockOrders, moveOrders, type OrderLines, type OrderRow } from './store.ts'

export const CONFIRM_ORDER: Operation = { name: 'orders.confirm', status: 200, targetType: 'order' }

interface OrderCommand {
  orderId: number
  /** The customer that the caller is bound to: an order of another customer does not exist for it. */
  boundTo: number | null
}

export type ChangeCommand =
  | (OrderCommand & { kind: 'confirm'; claim: Claim })
  | (OrderCommand & { kind: 'cancel'; ifStatus: OrderStatus | undefined })
  | (OrderCommand & { kind: 'expire' })

/** What a batch has decided so far: the orders as they will be, and which of them move. */
interface Progress {
  orders: Map<number, OrderRow>
  confirmed: Set<number>
  canceled: Set<number>
}

/**
 * Confirms, cancels and expires many orders in one transaction, with their stock and their idempotency records.
 * Commands are decided in the order given, each against what those before it made of the order, so of two that exclude
 * each other exactly one wins.
 * @returns for each command the order as an answer, or its refusal: `not_found`, `order_canceled`,
 *   `cancel_window_passed`, `idempotency_key_reused`
 */
export function changeOrders(
  db: Database,
  commands: readonly ChangeCommand[],
  config: { idempotencyTtlMinutes: number; cancelWindowMinutes: number },
): Promise<(Answer | AppError)[]> {
  return transact(db, { repeatable: true }, async (trx) => {
    const claims = commands.flatMap((command) => (command.kind === 'confirm' ? [command.claim] : []))
    const { now, answers } = await openWith(trx, CONFIRM_ORDER, claims)
    const fresh = commands.filter((command) => command.kind !== 'confirm' || !answers.has(claimId(command.claim)))
    const { orders, lines } = await lockOrders(trx, [...new Set(fresh.map((command) => command.orderId))])
    const progress: Progress = { orders, confirmed: new Set(), canceled: new Set() }

    const records: { claim: Claim; answer: Answer }[] = []
    const refused: Claim[] = []
    const results = commands.map((command) => {
      const stored = storedAnswer(command, answers)
      if (stored) return stored
      const order = decide(command, progress, now, config.cancelWindowMinutes)
      if (order instanceof AppError) {
        if (command.kind === 'confirm') refused.push(command.claim)
        return order
      }
      const body = JSON.stringify(presentOrder(order, lines.get(order.id) ?? []))
      const answer = { targetId: order.id, status: CONFIRM_ORDER.status, body, replayed: false }
      if (command.kind === 'confirm') {
        records.push({ claim: command.claim, answer })
        answers.set(claimId(command.claim), { requestHash: command.claim.requestHash, answer })
      }
      return answer
    })

    await yieldToTwins(trx, CONFIRM_ORDER, refused)
    await move(trx, [...progress.confirmed], ['CREATED'], 'CONFIRMED', now)
    await move(trx, [...progress.canceled], ['CREATED', 'CONFIRMED'], 'CANCELED', now)
    await moveStock(trx, returnedStock(progress.canceled, lines), now)
    await saveAnswers(trx, CONFIRM_ORDER, records, { now, ttlMinutes: config.idempotencyTtlMinutes })
    return results
  })
}

function storedAnswer(command: ChangeCommand, answers: Opening['answers']): Answer | AppError | undefined {
  if (command.kind !== 'confirm') return undefined
  const stored = answers.get(claimId(command.claim))
  return stored && replayOf(command.claim, stored)
}

/** The order as the command leaves it, or why the command is refused. */
function decide(
  command: ChangeCommand,
  progress: Progress,
  now: DbTime,
  cancelWindowMinutes: number,
): OrderRow | AppError {
  const order = progress.orders.get(command.orderId)
  if (order === undefined || (command.boundTo !== null && command.boundTo !== order.customer_id)) {
    return new AppError('not_found', `There is no order ${command.orderId}.`)
  }
  const holdEnded = order.status === 'CREATED' && order.expires_at !== null && order.expires_at <= now
  switch (command.kind) {
    case 'confirm':
      if (holdEnded) cancel(order, progress, now)
      if (order.status === 'CREATED') confirm(order, progress, now)
      // A copy, for what comes later in the batch must not change what this command was answered.
      return order.status === 'CANCELED' ? orderCanceled(order.id) : { ...order }
    case 'cancel':
      if (command.ifStatus !== undefined && command.ifStatus !== order.status) return { ...order }
      if (order.confirmed_at !== null && order.status === 'CONFIRMED') {
        if (now > addMinutes(order.confirmed_at, cancelWindowMinutes))
          return windowPassed(order.id, cancelWindowMinutes)
      }
      if (order.status !== 'CANCELED') cancel(order, progress, now)
      return { ...order }
    case 'expire':
      if (holdEnded) cancel(order, progress, now)
      return { ...order }
  }
}

function confirm(order: OrderRow, progress: Progress, now: DbTime): void {
  Object.assign(order, { status: 'CONFIRMED', confirmed_at: now, expires_at: null })
  progress.confirmed.add(order.id)
}

function cancel(order: OrderRow, progress: Progress, now: DbTime): void {
  Object.assign(order, { status: 'CANCELED', canceled_at: now })
  progress.canceled.add(order.id)
}

function orderCanceled(id: number): AppError {
  return new AppError('order_canceled', `Order ${id} is canceled. Place a new one.`)
}

function windowPassed(id: number, minutes: number): AppError {
  return new AppError('cancel_window_passed', `Order ${id} was confirmed more than ${minutes} minutes ago.`)
}

async function move(
  trx: Database,
  ids: number[],
  from: OrderStatus[],
  to: 'CONFIRMED' | 'CANCELED',
  now: DbTime,
): Promise<void> {
  // The rows are locked, so all of them move. Were it ever otherwise, starting again is right, and going on is not.
  if ((await moveOrders(trx, ids, from, to, now)) !== ids.length) throw new RunAgain()
}

function returnedStock(canceled: ReadonlySet<number>, lines: OrderLines): Map<number, number> {
  const returned = new Map<number, number>()
  for (const { product_id, qty } of [...canceled].flatMap((id) => lines.get(id) ?? [])) {
    returned.set(product_id, (returned.get(product_id) ?? 0) + qty)
  }
  return returned
}

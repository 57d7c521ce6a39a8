import type { RunMode } from '../platform/batching/batcher.ts'
import { pipeline, withLockWait } from '../platform/database/pipeline.ts'
import { RestartTransaction } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { type NewEvent, recordEvents } from '../platform/events/record.ts'
import { restartIfAlreadyAnswered } from '../platform/idempotency/run.ts'
import { type Preamble, preambleOf, preambleQuery } from '../platform/idempotency/store.ts'
import { restock } from '../products/stock.ts'
import { type ChangeCommand, CONFIRM_ORDER, claimsOf, HOLD_ENDED } from './commands.ts'
import { orderCanceled, orderConfirmed } from './events.ts'
import { claimsIn, type Outcome, outcomesOf, sortByDecision, sortByKey, storeOutcomes } from './keyed-commands.ts'
import { transactCommands } from './locked-commands.ts'
import type { CountOrder, OrderOutcome } from './metrics.ts'
import { presentOrder } from './order-response.ts'
import { decideChanges, type StateChange } from './order-states.ts'
import { quantities } from './placement-rules.ts'
import {
  linesQuery,
  lockOrdersQuery,
  type OrderLines,
  type OrderRow,
  type Orders,
  ordersOf,
  updateOrderStates,
} from './store.ts'

export interface WriteConfig {
  idempotencyTtlMinutes: number
  cancelWindowMinutes: number
  /** How long one run waits for rows that another transaction has locked, in ms. */
  runLockWaitMs: number
  countOrder: CountOrder
}

/**
 * Confirms, cancels and expires orders in one transaction: states, returned stock, events and stored responses commit together.
 * @returns for each command its response or its refusal (`not_found`, `order_canceled`, `cancel_window_passed`,
 *   `idempotency_key_reused`); or `SetAside`, in a run that does not wait for locks
 * @throws RowsLocked
 */
export async function changeOrders(
  db: Database,
  commands: readonly ChangeCommand[],
  config: WriteConfig,
  mode: RunMode,
): Promise<Outcome[]> {
  let made: readonly Transition[] = []
  const outcomes = await transactCommands(db, commands, mode, async (trx, open) => {
    const { preamble, orders, lines } = await readAndLock(trx, open, config)
    const keyed = sortByKey(open, preamble.responses)
    const { decisions, transitions } = decideChanges(keyed.firsts, orders, { ...config, now: preamble.now })
    const { accepted, refused } = sortByDecision(keyed.firsts, decisions)
    made = transitions
    await restartIfAlreadyAnswered(trx, claimsIn(refused))

    await restock(trx, returnedBy(transitions, lines), preamble.now)
    await recordEvents(
      trx,
      transitions.map((transition) => eventOf(transition, lines)),
      preamble.now,
    )
    await updateStates(
      trx,
      transitions.map(({ order }) => order),
    )
    const responses = new Map([...accepted].map(([command, order]) => [command, responseOf(order, lines)]))
    await storeOutcomes(trx, responses, preamble, config.idempotencyTtlMinutes)
    return outcomesOf(keyed, refused, responses)
  })
  for (const transition of made) config.countOrder(outcomeOf(transition))
  return outcomes
}

/** Reads and locks everything that the decisions need, in one round trip. */
async function readAndLock(
  trx: Database,
  commands: readonly ChangeCommand[],
  { runLockWaitMs }: WriteConfig,
): Promise<{ preamble: Preamble } & Orders> {
  const claims = commands.flatMap(claimsOf)
  const ids = [...new Set(commands.map(({ orderId }) => orderId))]
  const [clock, orders, lines] = await pipeline(
    trx,
    preambleQuery(trx, claims),
    withLockWait(trx, lockOrdersQuery(trx, ids), runLockWaitMs),
    linesQuery(trx, ids),
  )
  return { preamble: await preambleOf(trx, claims, clock), ...ordersOf(ids, orders, lines) }
}

type Transition = StateChange<OrderRow, ChangeCommand>

/** The quantities that canceled orders return to the stock. */
function returnedBy(transitions: readonly Transition[], lines: OrderLines): Map<number, number> {
  const canceled = transitions.filter(({ order }) => order.status === 'CANCELED')
  return quantities(canceled.flatMap(({ order }) => lines.get(order.id) ?? []))
}

function outcomeOf({ order, request }: Transition): OrderOutcome {
  if (order.status === 'CONFIRMED') return 'confirmed'
  return request === undefined ? 'expired' : 'canceled'
}

function eventOf({ before, order, request }: Transition, lines: OrderLines): NewEvent {
  const items = lines.get(order.id) ?? []
  const [old, now] = [presentOrder(before, items), presentOrder(order, items)]
  if (order.status === 'CONFIRMED') return orderConfirmed(old, now, request?.cause ?? HOLD_ENDED)
  if (request) return orderCanceled(old, now, request.cause, 'requested')
  return orderCanceled(old, now, HOLD_ENDED, 'hold_expired')
}

/**
 * The rows are locked, so every transition must succeed. If one fails, the decisions must be made again.
 * @throws RestartTransaction
 */
async function updateStates(trx: Database, transitions: readonly OrderRow[]): Promise<void> {
  if ((await updateOrderStates(trx, transitions)) !== transitions.length) throw new RestartTransaction()
}

function responseOf(order: OrderRow, lines: OrderLines) {
  const body = JSON.stringify(presentOrder(order, lines.get(order.id) ?? []))
  return { targetId: order.id, status: CONFIRM_ORDER.status, body, replayed: false }
}

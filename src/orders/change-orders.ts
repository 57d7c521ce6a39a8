import type { RunMode } from '../platform/batching/batcher.ts'
import { type Database, RunAgain } from '../platform/database/database.ts'
import { limited, together } from '../platform/database/pipeline.ts'
import { type Opening, openingOf, openingQuery, yieldToTwins } from '../platform/idempotency/idempotency.ts'
import { moveStock } from '../products/client.ts'
import { type ChangeCommand, CONFIRM_ORDER, claimsOf } from './commands.ts'
import { claimsIn, type Outcome, outcomesOf, sortByDecision, sortByKey, storeAnswers } from './keyed-commands.ts'
import { transactCommands } from './locked-commands.ts'
import { presentOrder } from './order-response.ts'
import { decideChanges } from './order-states.ts'
import { quantities } from './placement-rules.ts'
import {
  findingLines,
  lockingOrders,
  moveOrders,
  type OrderLines,
  type OrderRow,
  type Orders,
  ordersOf,
} from './store.ts'

export interface WriteConfig {
  idempotencyTtlMinutes: number
  cancelWindowMinutes: number
  /** How long a transaction waits for rows that another one has locked, in ms. */
  lockPatienceMs: number
}

/**
 * Confirms, cancels and expires orders in one transaction: their states, the stock that comes back and the records of their
 * keys commit together.
 * @returns for each command its answer, or its refusal: `not_found`, `order_canceled`, `cancel_window_passed`,
 *   `idempotency_key_reused`; or `SetAside`, where it does not wait for locks
 * @throws RowsLocked
 */
export function changeOrders(
  db: Database,
  commands: readonly ChangeCommand[],
  config: WriteConfig,
  mode: RunMode,
): Promise<Outcome[]> {
  return transactCommands(db, commands, mode, async (trx, open) => {
    const { opening, orders, lines } = await readAndLock(trx, open, config)
    const keyed = sortByKey(open, opening.answers)
    const { decisions, moves } = decideChanges(keyed.firsts, orders, { ...config, now: opening.now })
    const { accepted, refused } = sortByDecision(keyed.firsts, decisions)
    await yieldToTwins(trx, claimsIn(refused))

    await moveStock(trx, returnedBy(moves, lines), opening.now)
    await moveAll(trx, moves)
    const answers = new Map([...accepted].map(([command, order]) => [command, answerOf(order, lines)]))
    await storeAnswers(trx, answers, opening, config.idempotencyTtlMinutes)
    return outcomesOf(keyed, refused, answers)
  })
}

/** All that the decisions need, in one round trip. */
async function readAndLock(
  trx: Database,
  commands: readonly ChangeCommand[],
  { lockPatienceMs }: WriteConfig,
): Promise<{ opening: Opening } & Orders> {
  const claims = commands.flatMap(claimsOf)
  const ids = [...new Set(commands.map(({ orderId }) => orderId))]
  const [clock, orders, lines] = await together(
    trx,
    openingQuery(trx, claims),
    limited(trx, lockingOrders(trx, ids), lockPatienceMs),
    findingLines(trx, ids),
  )
  return { opening: await openingOf(trx, claims, clock), ...ordersOf(ids, orders, lines) }
}

/** The stock that canceled orders give back. */
function returnedBy(moves: readonly OrderRow[], lines: OrderLines): Map<number, number> {
  const canceled = moves.filter(({ status }) => status === 'CANCELED')
  return quantities(canceled.flatMap(({ id }) => lines.get(id) ?? []))
}

/** The rows are locked, so all of them move. If one did not, only a fresh start could be right. @throws RunAgain */
async function moveAll(trx: Database, moves: readonly OrderRow[]): Promise<void> {
  if ((await moveOrders(trx, moves)) !== moves.length) throw new RunAgain()
}

function answerOf(order: OrderRow, lines: OrderLines) {
  const body = JSON.stringify(presentOrder(order, lines.get(order.id) ?? []))
  return { targetId: order.id, status: CONFIRM_ORDER.status, body, replayed: false }
}

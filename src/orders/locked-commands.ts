import type { Database } from '../platform/database.ts'
import type { AppError } from '../platform/errors.ts'
import { type Answer, type Answers, claimId, findLockedClaims, openWith, replayOf } from '../platform/idempotency.ts'
import { findLockedIds } from '../platform/row-locks.ts'
import type { DbTime } from '../platform/time.ts'
import { isHoldEnded } from './changing.ts'
import { claimsOf, namesOf, type Rows, rowsOf, type WriteCommand } from './commands.ts'
import { findOrders, type Orders } from './store.ts'

export interface WithoutLocks {
  /** What was answered before: a replay needs no row. */
  replays: Map<WriteCommand, Answer | AppError>
  /** Each with the names of the rows that it needs and others hold. */
  locked: Map<WriteCommand, string[]>
}

/** Finds the commands that can't be done now, or need not be. The rows of all others it locks, without waiting. */
export async function lockWithoutWaiting(trx: Database, commands: readonly WriteCommand[]): Promise<WithoutLocks> {
  const { now, answers } = await openWith(trx, commands.flatMap(claimsOf))
  const replays = replaysOf(commands, answers)
  const open = commands.filter((command) => !replays.has(command))
  const orders = await findOrders(
    trx,
    open.flatMap((command) => (command.kind === 'place' ? [] : [command.orderId])),
  )
  const needed = new Map(open.map((command) => [command, neededRows(command, orders, now)]))
  const names = new Set(namesOf(await findLocked(trx, [...needed.values()])))
  const locked = new Map<WriteCommand, string[]>()
  for (const [command, rows] of needed) {
    const lacking = namesOf(rows).filter((name) => names.has(name))
    if (lacking.length > 0) locked.set(command, lacking)
  }
  return { replays, locked }
}

function replaysOf(commands: readonly WriteCommand[], answers: Answers): Map<WriteCommand, Answer | AppError> {
  const replays = new Map<WriteCommand, Answer | AppError>()
  for (const command of commands) {
    for (const claim of claimsOf(command)) {
      const stored = answers.get(claimId(claim))
      if (stored) replays.set(command, replayOf(claim, stored))
    }
  }
  return replays
}

/** The rows that the command names, and the products whose pieces come back. */
function neededRows(command: WriteCommand, { orders, lines }: Orders, now: DbTime): Rows {
  const own = rowsOf(command)
  const order = command.kind === 'place' ? undefined : orders.get(command.orderId)
  if (order === undefined || (command.kind === 'confirm' && !isHoldEnded(order, now))) return own
  return { ...own, products: (lines.get(order.id) ?? []).map((line) => line.product_id) }
}

async function findLocked(trx: Database, needed: readonly Rows[]): Promise<Rows> {
  const find = (table: 'orders' | 'products' | 'customers') =>
    findLockedIds(
      trx,
      table,
      needed.flatMap((rows) => rows[table]),
    )
  return {
    orders: await find('orders'),
    products: await find('products'),
    customers: await find('customers'),
    claims: await findLockedClaims(
      trx,
      needed.flatMap((rows) => rows.claims),
    ),
  }
}

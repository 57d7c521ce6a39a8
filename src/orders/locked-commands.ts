import { type RunMode, SetAside } from '../platform/batching/batcher.ts'
import type { AppError } from '../platform/core/errors.ts'
import type { DbTime } from '../platform/core/time.ts'
import { findLockedIds } from '../platform/database/row-locks.ts'
import { RestartTransaction, transact } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { claimId } from '../platform/idempotency/claim.ts'
import {
  findLockedClaims,
  readPreamble,
  replayOf,
  type StoredResponse,
  type StoredResponses,
} from '../platform/idempotency/store.ts'
import { claimsOf, namesOf, type OrderCommand, type Rows, rowsOf } from './commands.ts'
import type { Outcome } from './keyed-commands.ts'
import { isHoldEnded } from './order-states.ts'
import { findLockedPoNumbers, findOrders, type Orders } from './store.ts'

/**
 * The order in which every transaction locks tables, each by ascending ids: transactions then wait instead of
 * deadlocking. Customers come after products, because the foreign key of a new order locks its customer when the order
 * is written. Keys are locked in their own order.
 */
export const LOCK_ORDER = ['orders', 'products', 'customers', 'idempotency_keys'] as const

/**
 * Runs commands in one transaction. A run that does not wait for locks first sets aside the commands whose rows another
 * transaction has locked; `work` gets the others.
 * @param work returns an outcome for each command that it gets
 * @throws RowsLocked
 */
export function transactCommands<C extends OrderCommand>(
  db: Database,
  commands: readonly C[],
  { waitsForLocks, span }: RunMode,
  work: (trx: Database, commands: readonly C[]) => Promise<ReadonlyMap<C, Outcome>>,
): Promise<Outcome[]> {
  const settled = new Map<C, Outcome>()
  const run = async (trx: Database) => {
    const isOpen = (command: C) => !settled.has(command)
    if (!waitsForLocks) await setLockedAside(trx, commands.filter(isOpen), settled)
    const outcomes = await work(trx, commands.filter(isOpen))
    return commands.map((command) => {
      const outcome = settled.get(command) ?? outcomes.get(command)
      if (outcome === undefined) throw new Error('a command has no outcome')
      return outcome
    })
  }
  return transact(db, run, span)
}

/** @throws RestartTransaction when rows are locked: a server may roll back a transaction in which it refuses a lock */
async function setLockedAside<C extends OrderCommand>(
  trx: Database,
  commands: readonly C[],
  settled: Map<C, Outcome>,
): Promise<void> {
  const { replays, locked } = await lockWithoutWaiting(trx, commands)
  for (const [command, replay] of replays) settled.set(command, replay)
  for (const [command, rows] of locked) settled.set(command, new SetAside(rows))
  if (locked.size > 0) throw new RestartTransaction()
}

interface WithoutLocks<C> {
  /** Commands with a stored response: a replay needs no row. */
  replays: Map<C, StoredResponse | AppError>
  /** Commands whose rows other transactions have locked, with the names of those rows. */
  locked: Map<C, string[]>
}

/**
 * Finds the commands that are replays, and those whose rows are locked. Locks the rows of all others, without waiting.
 */
async function lockWithoutWaiting<C extends OrderCommand>(
  trx: Database,
  commands: readonly C[],
): Promise<WithoutLocks<C>> {
  const { now, responses } = await readPreamble(trx, commands.flatMap(claimsOf))
  const replays = replaysOf(commands, responses)
  const open = commands.filter((command) => !replays.has(command))
  const orders = await findOrders(
    trx,
    open.flatMap((command) => (command.kind === 'place' ? [] : [command.orderId])),
  )
  const needed = new Map(open.map((command) => [command, neededRows(command, orders, now)]))
  const names = new Set(namesOf(await findLocked(trx, [...needed.values()])))
  const locked = new Map<C, string[]>()
  for (const [command, rows] of needed) {
    const lacking = namesOf(rows).filter((name) => names.has(name))
    if (lacking.length > 0) locked.set(command, lacking)
  }
  return { replays, locked }
}

function replaysOf<C extends OrderCommand>(
  commands: readonly C[],
  responses: StoredResponses,
): Map<C, StoredResponse | AppError> {
  const replays = new Map<C, StoredResponse | AppError>()
  for (const command of commands) {
    for (const claim of claimsOf(command)) {
      const stored = responses.get(claimId(claim))
      if (stored) replays.set(command, replayOf(claim, stored))
    }
  }
  return replays
}

/** The rows that the command names, and the products whose stock the command may return. */
function neededRows(command: OrderCommand, { orders, lines }: Orders, now: DbTime): Rows {
  const own = rowsOf(command)
  const order = command.kind === 'place' ? undefined : orders.get(command.orderId)
  if (order === undefined || (command.kind === 'confirm' && !isHoldEnded(order, now))) return own
  return { ...own, products: (lines.get(order.id) ?? []).map((line) => line.product_id) }
}

/** Follows `LOCK_ORDER`. */
async function findLocked(trx: Database, needed: readonly Rows[]): Promise<Rows> {
  const find = (table: 'orders' | 'products' | 'customers') =>
    findLockedIds(
      trx,
      table,
      needed.flatMap((rows) => rows[table]),
    )
  return {
    orders: await find('orders'),
    // A PO number is locked by the order that has it, or is getting it.
    poNumbers: await findLockedPoNumbers(
      trx,
      needed.flatMap((rows) => rows.poNumbers),
    ),
    products: await find('products'),
    customers: await find('customers'),
    claims: await findLockedClaims(
      trx,
      needed.flatMap((rows) => rows.claims),
    ),
  }
}

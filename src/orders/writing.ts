import { type Database, RunAgain, transact } from '../platform/database.ts'
import type { AppError } from '../platform/errors.ts'
import { together } from '../platform/grouping.ts'
import {
  type Answer,
  type Claim,
  type Opening,
  openingOf,
  openingQuery,
  saveAnswers,
  yieldToTwins,
} from '../platform/idempotency.ts'
import { addMinutes, type DbTime } from '../platform/time.ts'
import { lockingShelves, moveStock, type Shelf } from '../products/client.ts'
import { type ChangeCommand, type Changed, decideChanges } from './changing.ts'
import { decidePlacements, PLACE_ORDER, type PlaceCommand, type PlaceDecision, type Placement } from './placing.ts'
import { presentOrder } from './presenting.ts'
import { findingLines, insertLines, lockingOrders, moveAndInsertOrders, type OrderLines, ordersOf } from './store.ts'

export type WriteCommand = PlaceCommand | ChangeCommand

export interface WriteConfig {
  idempotencyTtlMinutes: number
  cancelWindowMinutes: number
}

/** Pieces of each product. */
type Pieces = ReadonlyMap<number, number>

/**
 * All that is asked of orders at one moment, in one transaction: placed, confirmed, canceled and expired orders, their
 * stock and their idempotency records commit together. Rows are locked in one order everywhere, orders before products
 * and each by id; what is canceled is back on the shelves before anything is taken.
 * @returns for each command its answer, or its refusal: `insufficient_stock`, `product_not_found`, `amount_too_large`,
 *   `not_found`, `order_canceled`, `cancel_window_passed`, `idempotency_key_reused`
 */
export function writeOrders(
  db: Database,
  commands: readonly WriteCommand[],
  config: WriteConfig,
): Promise<(Answer | AppError)[]> {
  return transact(db, { repeatable: true }, async (trx) => {
    const { opening, locked, shelves } = await readAndLock(trx, commands)
    const { now, answers } = opening
    const changed = decideChanges(commands.filter(isChange), locked, answers, { ...config, now })
    const returned = returnedPieces(changed.canceled, locked.lines)
    await lockMore(trx, shelves, [...productsOf(commands), ...returned.keys()])
    putBack(returned, shelves)
    const placed = decidePlacements(commands.filter(isPlace), shelves, answers)
    await yieldToTwins(trx, [...changed.refused, ...placed.refused])

    await moveStock(trx, differences(returned, placed.placements), now)
    const made = await writeChanges(trx, changed, placed.placements, opening)
    const records = placed.placements.map(({ command }, i) => ({ claim: command.claim, answer: answerAt(made, i) }))
    await saveAnswers(trx, [...changed.records, ...records], { now, ttlMinutes: config.idempotencyTtlMinutes })

    const changes = changed.results.values()
    const placements = placed.decisions.values()
    return commands.map((command) => (isPlace(command) ? outcomeOf(next(placements), made) : next(changes)))
  })
}

/**
 * All that the decisions need, in one round trip. What was answered before is locked too, for nothing: that is seldom,
 * and to look first would take everybody a round trip more.
 */
async function readAndLock(trx: Database, commands: readonly WriteCommand[]) {
  const claims = commands.flatMap(claimsOf)
  const orderIds = distinct(commands.filter(isChange).map((command) => command.orderId))
  // Products are locked in one order and at one time: where some may come back, when it is known which.
  const wanted = commands.some(returnsPieces) ? [] : distinct(productsOf(commands))
  const [clock, orders, lines, shelves] = await together(
    trx,
    openingQuery(trx, claims),
    lockingOrders(trx, orderIds),
    findingLines(trx, orderIds),
    lockingShelves(trx, wanted),
  )
  return {
    opening: await openingOf(trx, claims, clock),
    locked: ordersOf(orderIds, orders, lines),
    shelves: new Map(shelves.map((shelf) => [shelf.id, shelf])),
  }
}

async function lockMore(trx: Database, shelves: Map<number, Shelf>, productIds: readonly number[]): Promise<void> {
  const missing = distinct(productIds).filter((id) => !shelves.has(id))
  const [more] = await together(trx, lockingShelves(trx, missing))
  for (const shelf of more) shelves.set(shelf.id, shelf)
}

function productsOf(commands: readonly WriteCommand[]): number[] {
  return commands.filter(isPlace).flatMap(({ items }) => items.map((item) => item.product_id))
}

function returnsPieces({ kind }: WriteCommand): boolean {
  return kind === 'cancel' || kind === 'expire'
}

function isPlace(command: WriteCommand): command is PlaceCommand {
  return command.kind === 'place'
}

function isChange(command: WriteCommand): command is ChangeCommand {
  return command.kind !== 'place'
}

function claimsOf(command: WriteCommand): Claim[] {
  return 'claim' in command ? [command.claim] : []
}

function distinct(ids: readonly number[]): number[] {
  return [...new Set(ids)]
}

function returnedPieces(canceled: ReadonlySet<number>, lines: OrderLines): Pieces {
  const returned = new Map<number, number>()
  for (const { product_id, qty } of [...canceled].flatMap((id) => lines.get(id) ?? [])) add(returned, product_id, qty)
  return returned
}

function putBack(returned: Pieces, shelves: Map<number, Shelf>): void {
  for (const [id, qty] of returned) {
    const shelf = shelves.get(id)
    if (shelf) shelf.stock += qty
  }
}

/** What the stock of each product changes by. */
function differences(returned: Pieces, placements: readonly Placement[]): Pieces {
  const pieces = new Map(returned)
  for (const { lines } of placements) for (const { product_id, qty } of lines) add(pieces, product_id, -qty)
  return pieces
}

function add(pieces: Map<number, number>, productId: number, qty: number): void {
  pieces.set(productId, (pieces.get(productId) ?? 0) + qty)
}

/** @returns the answers of the placements, in their order */
async function writeChanges(
  trx: Database,
  { confirmed, canceled }: Changed,
  placements: readonly Placement[],
  opening: Opening,
): Promise<Answer[]> {
  const rows = rowsOf(placements, opening.now)
  const moves = { confirmed: [...confirmed], canceled: [...canceled] }
  const { moved, ids } = await moveAndInsertOrders(trx, moves, rows, opening)
  // The rows are locked, so all of them move. Were it ever otherwise, starting again is right, and going on is not.
  if (moved !== confirmed.size + canceled.size) throw new RunAgain()
  const orders = rows.map((row, i) => ({ ...row, id: ids[i] ?? 0 }))
  await insertLines(
    trx,
    orders.flatMap(({ id, lines }) => lines.map((line) => ({ ...line, order_id: id }))),
  )
  return orders.map((order) => {
    const body = JSON.stringify(presentOrder(order, order.lines))
    return { targetId: order.id, status: PLACE_ORDER.status, body, replayed: false }
  })
}

function rowsOf(placements: readonly Placement[], now: DbTime) {
  const holds = distinct(placements.map(({ command }) => command.holdMinutes))
  const ends = new Map(holds.map((minutes) => [minutes, addMinutes(now, minutes)]))
  return placements.map(({ command, lines, totalCents }) => ({
    customer_id: command.customerId,
    status: 'CREATED' as const,
    total_cents: totalCents,
    created_at: now,
    confirmed_at: null,
    canceled_at: null,
    expires_at: ends.get(command.holdMinutes) ?? null,
    lines,
  }))
}

function outcomeOf(decision: PlaceDecision, made: readonly Answer[]): Answer | AppError {
  return 'place' in decision ? { ...answerAt(made, decision.place), replayed: decision.replayed } : decision
}

function answerAt(made: readonly Answer[], place: number): Answer {
  const answer = made[place]
  if (answer === undefined) throw new Error('a placed order has no answer')
  return answer
}

function next<T>(outcomes: Iterator<T>): T {
  const { value, done } = outcomes.next()
  if (done) throw new Error('a command has no outcome')
  return value
}

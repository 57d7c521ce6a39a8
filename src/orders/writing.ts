import { type Database, RunAgain, transact } from '../platform/database.ts'
import type { AppError } from '../platform/errors.ts'
import {
  type Answer,
  type Claim,
  claimId,
  type Opening,
  openWith,
  saveAnswers,
  yieldToTwins,
} from '../platform/idempotency.ts'
import type { OrderStatus } from '../platform/tables.ts'
import { addMinutes, type DbTime } from '../platform/time.ts'
import { lockShelves, moveStock, type Shelf } from '../products/client.ts'
import { type ChangeCommand, decideChanges } from './changing.ts'
import { decidePlacements, PLACE_ORDER, type PlaceCommand, type PlaceDecision, type Placement } from './placing.ts'
import { presentOrder } from './presenting.ts'
import { insertOrders, lockOrders, moveOrders, type OrderLines } from './store.ts'

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
    const opening = await openWith(trx, commands.flatMap(claimsOf))
    const { now, answers } = opening
    const fresh = commands.filter((command) => !claimsOf(command).some((claim) => answers.has(claimId(claim))))

    const locked = await lockOrders(trx, distinct(fresh.filter(isChange).map((command) => command.orderId)))
    const changed = decideChanges(commands.filter(isChange), locked, answers, { ...config, now })
    const returned = returnedPieces(changed.canceled, locked.lines)

    const wanted = fresh.filter(isPlace).flatMap(({ items }) => items.map((item) => item.product_id))
    const shelves = await lockShelves(trx, distinct([...wanted, ...returned.keys()]))
    putBack(returned, shelves)
    const placed = decidePlacements(commands.filter(isPlace), shelves, answers)

    await yieldToTwins(trx, [...changed.refused, ...placed.refused])
    await moveStock(trx, differences(returned, placed.placements), now)
    await move(trx, [...changed.confirmed], ['CREATED'], 'CONFIRMED', now)
    await move(trx, [...changed.canceled], ['CREATED', 'CONFIRMED'], 'CANCELED', now)
    const made = await writePlacements(trx, placed.placements, opening)
    const records = placed.placements.map(({ command }, i) => ({ claim: command.claim, answer: answerAt(made, i) }))
    await saveAnswers(trx, [...changed.records, ...records], { now, ttlMinutes: config.idempotencyTtlMinutes })

    const changes = changed.results.values()
    const placements = placed.decisions.values()
    return commands.map((command) => (isPlace(command) ? outcomeOf(next(placements), made) : next(changes)))
  })
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

/** @returns the answers of the placements, in their order */
async function writePlacements(
  trx: Database,
  placements: readonly Placement[],
  { now, idStep }: Opening,
): Promise<Answer[]> {
  if (placements.length === 0) return []
  const ends = new Map(
    distinct(placements.map(({ command }) => command.holdMinutes)).map((m) => [m, addMinutes(now, m)]),
  )
  const rows = placements.map(({ command, lines, totalCents }) => ({
    customer_id: command.customerId,
    status: 'CREATED' as const,
    total_cents: totalCents,
    created_at: now,
    confirmed_at: null,
    canceled_at: null,
    expires_at: ends.get(command.holdMinutes) ?? null,
    lines,
  }))
  const ids = await insertOrders(trx, rows, idStep)
  return rows.map((row, i) => {
    const id = ids[i] ?? 0
    const body = JSON.stringify(presentOrder({ ...row, id }, row.lines))
    return { targetId: id, status: PLACE_ORDER.status, body, replayed: false }
  })
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

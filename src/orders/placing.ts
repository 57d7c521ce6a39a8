import { type Database, transact } from '../platform/database.ts'
import { AppError } from '../platform/errors.ts'
import {
  type Answer,
  type Claim,
  claimId,
  keyReused,
  type Operation,
  openWith,
  replayOf,
  saveAnswers,
  yieldToTwins,
} from '../platform/idempotency.ts'
import { addMinutes, type DbTime } from '../platform/time.ts'
import { lockShelves, moveStock, type Shelf } from '../products/client.ts'
import { presentOrder } from './presenting.ts'
import { insertOrders, type OrderLine } from './store.ts'

export const PLACE_ORDER: Operation = { name: 'orders.place', status: 201, targetType: 'order' }

export interface PlaceCommand {
  claim: Claim
  customerId: number
  items: readonly { product_id: number; qty: number }[]
  holdMinutes: number
}

interface Placement {
  command: PlaceCommand
  lines: OrderLine[]
  totalCents: number
}

/** What becomes of one command: a refusal, an answer that was stored before, or the order at a place among the new ones. */
type Decision = AppError | Answer | { place: number; replayed: boolean }

/**
 * Places many orders in one transaction: their stock, their lines, and their idempotency records commit together.
 * Commands are decided in the order given, each against what those before it left on the shelves; a refused one takes
 * nothing and leaves the others alone.
 * @returns for each command its order as an answer, or its refusal: `insufficient_stock`, `product_not_found`,
 *   `amount_too_large`, `idempotency_key_reused`
 */
export function placeOrders(
  db: Database,
  commands: readonly PlaceCommand[],
  config: { idempotencyTtlMinutes: number },
): Promise<(Answer | AppError)[]> {
  return transact(db, { repeatable: true }, async (trx) => {
    const { now, idStep, answers } = await openWith(
      trx,
      PLACE_ORDER,
      commands.map((command) => command.claim),
    )
    const fresh = commands.filter((command) => !answers.has(claimId(command.claim)))
    const shelves = await lockShelves(trx, [...new Set(fresh.flatMap((command) => productsOf(command)))])

    const placed: Placement[] = []
    const refused: Claim[] = []
    const places = new Map<string, number>()
    const decisions = commands.map((command): Decision => {
      const id = claimId(command.claim)
      const stored = answers.get(id)
      if (stored) return replayOf(command.claim, stored)
      const place = places.get(id)
      if (place !== undefined) return isTwin(placed[place], command) ? { place, replayed: true } : keyReused()
      const placement = takeFromShelves(command, shelves)
      if (placement instanceof AppError) {
        refused.push(command.claim)
        return placement
      }
      places.set(id, placed.length)
      placed.push(placement)
      return { place: placed.length - 1, replayed: false }
    })
    await yieldToTwins(trx, PLACE_ORDER, refused)

    const made = await writePlacements(trx, placed, { now, idStep })
    const records = placed.flatMap(({ command }, i) => (made[i] ? [{ claim: command.claim, answer: made[i] }] : []))
    await saveAnswers(trx, PLACE_ORDER, records, { now, ttlMinutes: config.idempotencyTtlMinutes })
    return decisions.map((decision) => {
      if (!('place' in decision)) return decision
      const answer = made[decision.place]
      if (answer === undefined) throw new Error('a placed order has no answer')
      return { ...answer, replayed: decision.replayed }
    })
  })
}

function productsOf({ items }: PlaceCommand): number[] {
  return items.map((item) => item.product_id)
}

function isTwin(first: Placement | undefined, command: PlaceCommand): boolean {
  return first?.command.claim.requestHash === command.claim.requestHash
}

/** Prices an order and takes its pieces off the shelves in memory, or says why it can't be and takes nothing. */
function takeFromShelves(command: PlaceCommand, shelves: Map<number, Shelf>): Placement | AppError {
  const wanted = new Map<number, number>()
  const lines: OrderLine[] = []
  const missing = new Set<number>()
  let totalCents = 0
  for (const { product_id, qty } of command.items) {
    const shelf = shelves.get(product_id)
    if (shelf === undefined) {
      missing.add(product_id)
      continue
    }
    const subtotal = shelf.price_cents * qty
    totalCents += subtotal
    wanted.set(product_id, (wanted.get(product_id) ?? 0) + qty)
    lines.push({ product_id, qty, unit_price_cents: shelf.price_cents, subtotal_cents: subtotal })
  }
  if (missing.size > 0) {
    const product_ids = [...missing]
    return new AppError('product_not_found', `There is no product ${product_ids.join(', ')}.`, { product_ids })
  }
  const short = [...wanted].flatMap(([product_id, requested]) => {
    const available = shelves.get(product_id)?.stock ?? 0
    return requested > available ? [{ product_id, requested, available }] : []
  })
  if (short.length > 0) return new AppError('insufficient_stock', 'There are not enough pieces.', { lines: short })
  // Every step of the sum is at or below the total, so a total within the bound was summed without rounding.
  if (totalCents > Number.MAX_SAFE_INTEGER) {
    return new AppError('amount_too_large', 'The total would pass 9007199254740991 cents.')
  }
  for (const [product_id, qty] of wanted) {
    const shelf = shelves.get(product_id)
    if (shelf) shelf.stock -= qty
  }
  return { command, lines, totalCents }
}

/** @returns the answers of the placements, in their order */
async function writePlacements(
  trx: Database,
  placed: readonly Placement[],
  { now, idStep }: { now: DbTime; idStep: number },
): Promise<Answer[]> {
  if (placed.length === 0) return []
  const taken = new Map<number, number>()
  for (const { product_id, qty } of placed.flatMap((placement) => placement.lines)) {
    taken.set(product_id, (taken.get(product_id) ?? 0) - qty)
  }
  await moveStock(trx, taken, now)
  const holds = new Set(placed.map(({ command }) => command.holdMinutes))
  const ends = new Map([...holds].map((minutes) => [minutes, addMinutes(now, minutes)]))
  const rows = placed.map(({ command, lines, totalCents }) => ({
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
  return ids.flatMap((id, i) => {
    const row = rows[i]
    if (row === undefined) return []
    const body = JSON.stringify(presentOrder({ ...row, id }, row.lines))
    return [{ targetId: id, status: PLACE_ORDER.status, body, replayed: false }]
  })
}

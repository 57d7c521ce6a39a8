import { AppError } from '../platform/errors.ts'
import {
  type Answer,
  type Answers,
  type Claim,
  claimId,
  keyReused,
  type Operation,
  replayOf,
} from '../platform/idempotency.ts'
import type { Shelf } from '../products/client.ts'
import type { OrderLine } from './store.ts'

export const PLACE_ORDER: Operation = { name: 'orders.place', status: 201, targetType: 'order' }

export interface PlaceCommand {
  kind: 'place'
  claim: Claim
  customerId: number
  items: readonly { product_id: number; qty: number }[]
  holdMinutes: number
  /** How many unconfirmed orders its customer may have; null is any number. */
  maxOpenHolds: number | null
  /** For whom it is: batches take the shares in turn. */
  share: string
}

/** What orders take from. Placements change it. */
export interface Supply {
  shelves: Map<number, Shelf>
  /** The customers that there are. */
  customers: ReadonlySet<number>
  /** The unconfirmed orders of each customer that may not have any number of them. */
  openHolds: Map<number, number>
}

export interface Placement {
  command: PlaceCommand
  lines: OrderLine[]
  totalCents: number
}

/** What becomes of one command: a refusal, an answer that was stored before, or the order at a place among the new ones. */
export type PlaceDecision = AppError | Answer | { place: number; replayed: boolean }

export interface Placed {
  decisions: PlaceDecision[]
  /** The new orders. */
  placements: Placement[]
  refused: Claim[]
  /** Products of which a refused order wanted more than there is. */
  shortProducts: number[]
}

/**
 * Decides about commands in the order given, each against what those before it left on the shelves; a refused one takes
 * nothing and leaves the others alone. The supply is changed.
 */
export function decidePlacements(commands: readonly PlaceCommand[], supply: Supply, answers: Answers): Placed {
  const placements: Placement[] = []
  const refused: Claim[] = []
  const shortProducts: number[] = []
  const places = new Map<string, number>()
  const decisions = commands.map((command): PlaceDecision => {
    const id = claimId(command.claim)
    const stored = answers.get(id)
    if (stored) return replayOf(command.claim, stored)
    const place = places.get(id)
    if (place !== undefined) return isTwin(placements[place], command) ? { place, replayed: true } : keyReused()
    const placement = takeFromShelves(command, supply)
    if (!('lines' in placement)) {
      refused.push(command.claim)
      shortProducts.push(...placement.shortProducts)
      return placement.refusal
    }
    places.set(id, placements.length)
    placements.push(placement)
    return { place: placements.length - 1, replayed: false }
  })
  return { decisions, placements, refused, shortProducts }
}

function isTwin(first: Placement | undefined, command: PlaceCommand): boolean {
  return first?.command.claim.requestHash === command.claim.requestHash
}

interface Refused {
  refusal: AppError
  shortProducts: number[]
}

function refuse(refusal: AppError, shortProducts: number[] = []): Refused {
  return { refusal, shortProducts }
}

/** Prices an order and takes its pieces off the shelves in memory, or says why it can't be and takes nothing. */
function takeFromShelves(command: PlaceCommand, { shelves, customers, openHolds }: Supply): Placement | Refused {
  if (!customers.has(command.customerId)) return refuse(customerNotFound(command.customerId))
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
    return refuse(new AppError('product_not_found', `There is no product ${product_ids.join(', ')}.`, { product_ids }))
  }
  const holds = openHolds.get(command.customerId) ?? 0
  if (command.maxOpenHolds !== null && holds >= command.maxOpenHolds) return refuse(tooManyHolds(command.maxOpenHolds))
  const short = [...wanted].flatMap(([product_id, requested]) => {
    const available = shelves.get(product_id)?.stock ?? 0
    return requested > available ? [{ product_id, requested, available }] : []
  })
  if (short.length > 0) {
    const shortProducts = short.map(({ product_id }) => product_id)
    return refuse(new AppError('insufficient_stock', 'There are not enough pieces.', { lines: short }), shortProducts)
  }
  // Every step of the sum is at or below the total, so a total within the bound was summed without rounding.
  if (totalCents > Number.MAX_SAFE_INTEGER) {
    return refuse(new AppError('amount_too_large', 'The total would pass 9007199254740991 cents.'))
  }
  for (const [product_id, qty] of wanted) {
    const shelf = shelves.get(product_id)
    if (shelf) shelf.stock -= qty
  }
  openHolds.set(command.customerId, holds + 1)
  return { command, lines, totalCents }
}

export function customerNotFound(id: number): AppError {
  return new AppError('customer_not_found', `There is no customer ${id}.`)
}

function tooManyHolds(most: number): AppError {
  const detail = `The customer has ${most} unconfirmed orders already. Confirm or cancel some of them first.`
  return new AppError('too_many_holds', detail, { max_open_holds: most })
}

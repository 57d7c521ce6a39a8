import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import type { PoPolicy } from '../customers/tables.ts'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { foldCase } from '../platform/core/text.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'
import { isRightQuantity, nearestQuantities, type QuantityRule } from '../products/quantity-rule.ts'
import type { OrderDetails } from './details.ts'
import { ORDER_ERRORS } from './errors.ts'
import type { OrderLine } from './store.ts'

export interface OrderRequest {
  customerId: number
  items: readonly { product_id: number; qty: number }[]
  details: OrderDetails
  /** How long the order's stock is held, in minutes; null for an order that is confirmed at once. */
  holdMinutes: number | null
  /** The longest hold that the caller may ask for, in minutes; null for any. */
  maxHoldMinutes: number | null
  /** How many unconfirmed orders the order's customer may have; null for any number. */
  maxOpenHolds: number | null
}

/** A product as orders see it. */
export interface OrderableProduct extends QuantityRule {
  readonly sku: string
  readonly name: string
  readonly price_cents: number
  readonly stock: number
  /** 1, or 0 for a product that can't be ordered. */
  readonly active: number
}

/** The facts that orders are decided against. */
export interface Facts {
  products: ReadonlyMap<number, OrderableProduct>
  /** The customers that exist. */
  customers: ReadonlyMap<number, { readonly po_policy: PoPolicy }>
  /** The number of unconfirmed orders, for each customer whose holds are limited. */
  openHolds: ReadonlyMap<number, number>
  /** The ids of the orders that have a PO number now, by {@link poNameOf}. */
  poHolders: ReadonlyMap<string, number>
  /** The day at which orders are placed, in the installation's time zone: `YYYY-MM-DD`. */
  today: string
  /** The installation's currency. */
  currency: string
}

export interface Placement {
  lines: OrderLine[]
  totalCents: number
  poSlot: number | null
}

/** Refuses an order whose PO number an earlier order of the same batch gets: that order has no id yet. */
export class TakenInBatch<R extends OrderRequest> {
  readonly winner: R

  constructor(winner: R) {
    this.winner = winner
  }
}

type Refusal<R extends OrderRequest> = AppError | TakenInBatch<R>

export type Decision<R extends OrderRequest> = Placement | Refusal<R>

/** What the earlier orders of a batch leave. */
interface Remaining<R extends OrderRequest> {
  stockOf(productId: number): number
  openHoldsOf(customerId: number): number
  winnerOf(poName: string): R | undefined
}

/**
 * Decides orders one after another, each against the stock that the earlier ones left. A refused order takes no stock.
 * @returns for each request its lines and total in cents, or its refusal: the first of {@link problemsOf}
 */
export function decidePlacements<R extends OrderRequest>(requests: readonly R[], facts: Facts): Decision<R>[] {
  const [stock, openHolds] = [new Map<number, number>(), new Map(facts.openHolds)]
  const winners = new Map<string, R>()
  const remaining: Remaining<R> = {
    stockOf: (id) => stock.get(id) ?? facts.products.get(id)?.stock ?? 0,
    openHoldsOf: (id) => openHolds.get(id) ?? 0,
    winnerOf: (poName) => winners.get(poName),
  }
  return requests.map((request) => {
    const [refusal] = problemsOf(request, facts, remaining)
    if (refusal) return refusal
    const placement = placementOf(request, facts)
    for (const { product_id, qty } of request.items) stock.set(product_id, remaining.stockOf(product_id) - qty)
    if (request.holdMinutes !== null) {
      openHolds.set(request.customerId, remaining.openHoldsOf(request.customerId) + 1)
    }
    const poName = poNameOf(request)
    if (poName !== undefined && placement.poSlot === 0) winners.set(poName, request)
    return placement
  })
}

/** What would be placed, and all that stands against it, in the order in which placing would meet it. */
export interface Preview {
  lines: OrderLine[]
  totalCents: number
  problems: AppError[]
}

/** The lines are those of products that exist. */
export function previewPlacement(request: OrderRequest, facts: Facts): Preview {
  const untouched: Remaining<OrderRequest> = {
    stockOf: (id) => facts.products.get(id)?.stock ?? 0,
    openHoldsOf: (id) => facts.openHolds.get(id) ?? 0,
    winnerOf: () => undefined,
  }
  const problems = [...problemsOf(request, facts, untouched)].filter((refusal) => refusal instanceof AppError)
  const known = request.items.filter(({ product_id }) => facts.products.has(product_id))
  return { ...placementOf({ ...request, items: known }, facts), problems }
}

/**
 * What stands against an order, in the order in which placing meets it: `customer_not_found`, `validation_failed`,
 * `currency_mismatch`, `po_number_required`, `product_not_found`, `product_inactive`, `quantity_not_allowed`,
 * `too_many_holds`, `po_number_taken`, `insufficient_stock`, `amount_too_large`. Placing needs only the first.
 */
function* problemsOf<R extends OrderRequest>(request: R, facts: Facts, remaining: Remaining<R>): Generator<Refusal<R>> {
  const { customerId, items, maxOpenHolds } = request
  const customer = facts.customers.get(customerId)
  if (customer === undefined) yield customerNotFound(customerId)
  yield* problemsOfTerms(request, facts)
  if (customer?.po_policy === 'required' && request.details.po_number === undefined) yield poNumberRequired(customerId)
  yield* problemsOfProducts(request, facts)
  if (maxOpenHolds !== null && remaining.openHoldsOf(customerId) >= maxOpenHolds) yield tooManyHolds(maxOpenHolds)
  yield* problemsOfPoNumber(request, facts, remaining)
  const short = [...quantities(items)].flatMap(([product_id, requested]) => {
    const available = remaining.stockOf(product_id)
    return facts.products.has(product_id) && requested > available ? [{ product_id, requested, available }] : []
  })
  if (short.length > 0) yield insufficientStock(short)
  if (totalOf(items, facts) > Number.MAX_SAFE_INTEGER) yield amountTooLarge()
}

function* problemsOfTerms({ details, holdMinutes, maxHoldMinutes }: OrderRequest, facts: Facts): Generator<AppError> {
  if (maxHoldMinutes !== null && holdMinutes !== null && holdMinutes > maxHoldMinutes) {
    yield fieldRefused(
      'hold_minutes',
      `A client that is bound to a customer may hold stock for ${maxHoldMinutes} minutes at most`,
    )
  }
  const late = dayPassed(details.requested_delivery_date, facts.today)
  if (late) yield late
  if (details.currency !== undefined && details.currency !== facts.currency) yield currencyMismatch(facts.currency)
}

function* problemsOfProducts({ items }: OrderRequest, { products }: Facts): Generator<AppError> {
  const ids = [...new Set(items.map(({ product_id }) => product_id))]
  const missing = ids.filter((id) => !products.has(id))
  if (missing.length > 0) yield productNotFound(missing)
  const inactive = ids.filter((id) => products.get(id)?.active === 0)
  if (inactive.length > 0) yield productInactive(inactive)
  const wrong = [...quantities(items)].flatMap(([product_id, requested]) => {
    const product = products.get(product_id)
    if (product === undefined || isRightQuantity(product, requested)) return []
    const { min_qty, qty_step, max_qty } = product
    return [{ product_id, requested, min_qty, qty_step, max_qty, nearest: nearestQuantities(product, requested) }]
  })
  if (wrong.length > 0) yield quantityNotAllowed(wrong)
}

function* problemsOfPoNumber<R extends OrderRequest>(
  request: R,
  facts: Facts,
  remaining: Remaining<R>,
): Generator<Refusal<R>> {
  const poName = poNameOf(request)
  if (poName === undefined || facts.customers.get(request.customerId)?.po_policy === 'free') return
  const holder = facts.poHolders.get(poName)
  if (holder !== undefined) yield poNumberTaken(holder)
  const winner = remaining.winnerOf(poName)
  if (winner) yield new TakenInBatch(winner)
}

/** The refusal of a day before today. */
export function dayPassed(day: string | undefined, today: string): AppError | undefined {
  if (day === undefined || day >= today) return undefined
  return fieldRefused('requested_delivery_date', `Must not be before today, which is ${today}`)
}

/** The PO number as it is compared: NFC, without case. */
export function poKeyOf({ po_number }: OrderDetails): string | null {
  return po_number === undefined ? null : foldCase(po_number)
}

/** Names a customer's PO number among others. Undefined without a PO number. */
export function poNameOf({ customerId, details }: Pick<OrderRequest, 'customerId' | 'details'>): string | undefined {
  const key = poKeyOf(details)
  return key === null ? undefined : poName(customerId, key)
}

export function poName(customerId: number, poKey: string): string {
  return `${customerId} ${poKey}`
}

/** The quantity of each product over all lines. */
export function quantities(lines: Iterable<{ product_id: number; qty: number }>): Map<number, number> {
  const totals = new Map<number, number>()
  for (const { product_id, qty } of lines) totals.set(product_id, (totals.get(product_id) ?? 0) + qty)
  return totals
}

function placementOf({ customerId, items, details }: OrderRequest, facts: Facts): Placement {
  const isFree = facts.customers.get(customerId)?.po_policy === 'free'
  const poSlot = details.po_number === undefined ? null : isFree ? randomSlot() : 0
  return { lines: linesOf(items, facts), totalCents: totalOf(items, facts), poSlot }
}

/** A number that no other order with the PO number has, all but surely. */
function randomSlot(): number {
  return 1 + Math.floor(Math.random() * (Number.MAX_SAFE_INTEGER - 1))
}

function linesOf(items: OrderRequest['items'], { products }: Facts): OrderLine[] {
  return items.map(({ product_id, qty }) => {
    const { price_cents = 0, sku = null, name = null } = products.get(product_id) ?? {}
    return { product_id, qty, unit_price_cents: price_cents, subtotal_cents: price_cents * qty, sku, name }
  })
}

/** No partial sum is above the total, so a total within the bound was added up without rounding. */
function totalOf(items: OrderRequest['items'], { products }: Facts): number {
  return items.reduce((sum, { product_id, qty }) => sum + qty * (products.get(product_id)?.price_cents ?? 0), 0)
}

function fieldRefused(path: string, message: string): AppError {
  return new AppError(PLATFORM_ERRORS.validation_failed, 'The body has an error.', { errors: [{ path, message }] })
}

export function customerNotFound(id: number): AppError {
  return new AppError(CUSTOMER_ERRORS.customer_not_found, `There is no customer ${id}.`)
}

function currencyMismatch(currency: string): AppError {
  return new AppError(ORDER_ERRORS.currency_mismatch, `All prices are in ${currency}.`, { currency })
}

function poNumberRequired(customerId: number): AppError {
  return new AppError(ORDER_ERRORS.po_number_required, `Orders of customer ${customerId} need a po_number.`)
}

export function poNumberTaken(order_id: number): AppError {
  const detail = `Order ${order_id} of this customer has this PO number. Cancel it first, or use another number.`
  return new AppError(ORDER_ERRORS.po_number_taken, detail, { order_id })
}

function productNotFound(product_ids: readonly number[]): AppError {
  const detail = `There is no product ${product_ids.join(', ')}.`
  return new AppError(PRODUCT_ERRORS.product_not_found, detail, { product_ids })
}

function productInactive(product_ids: readonly number[]): AppError {
  const detail = `Product ${product_ids.join(', ')} can't be ordered now.`
  return new AppError(PRODUCT_ERRORS.product_inactive, detail, { product_ids })
}

function quantityNotAllowed(lines: readonly object[]): AppError {
  return new AppError(PRODUCT_ERRORS.quantity_not_allowed, 'A product is sold in other quantities.', { lines })
}

function tooManyHolds(max: number): AppError {
  const detail = `The customer has ${max} unconfirmed orders already. Confirm or cancel some of them first.`
  return new AppError(ORDER_ERRORS.too_many_holds, detail, { max_open_holds: max })
}

function insufficientStock(lines: readonly { product_id: number; requested: number; available: number }[]): AppError {
  return new AppError(PRODUCT_ERRORS.insufficient_stock, 'There are not enough pieces.', { lines })
}

function amountTooLarge(): AppError {
  return new AppError(PLATFORM_ERRORS.amount_too_large, 'The total would pass 9007199254740991 cents.')
}

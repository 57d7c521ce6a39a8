import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'
import { ORDER_ERRORS } from './errors.ts'
import type { OrderLine } from './store.ts'

export interface OrderRequest {
  customerId: number
  items: readonly { product_id: number; qty: number }[]
  /** How long the order's stock is held, in minutes; null for an order that is confirmed at once. */
  holdMinutes: number | null
  /** How many unconfirmed orders the order's customer may have; null for any number. */
  maxOpenHolds: number | null
}

/** The facts that orders are decided against. */
export interface Supply {
  products: ReadonlyMap<number, { readonly price_cents: number; readonly stock: number }>
  /** The customers that exist. */
  customers: ReadonlySet<number>
  /** The number of unconfirmed orders, for each customer whose holds are limited. */
  openHolds: ReadonlyMap<number, number>
}

export interface Placement {
  lines: OrderLine[]
  totalCents: number
}

/**
 * Decides orders one after another, each against the stock that the earlier ones left. A refused order takes no stock.
 * @returns for each request its lines and total in cents, or its refusal: `customer_not_found`, `product_not_found`,
 *   `too_many_holds`, `insufficient_stock`, `amount_too_large`
 */
export function decidePlacements(requests: readonly OrderRequest[], supply: Supply): (Placement | AppError)[] {
  const remaining = { stock: new Map<number, number>(), openHolds: new Map(supply.openHolds) }
  const stockOf = (productId: number) => remaining.stock.get(productId) ?? supply.products.get(productId)?.stock ?? 0
  return requests.map((request) => {
    const holds = remaining.openHolds.get(request.customerId) ?? 0
    const refusal = refusalOf(request, supply, stockOf, holds)
    if (refusal) return refusal
    const placement = priced(request, supply)
    if (placement instanceof AppError) return placement
    for (const { product_id, qty } of placement.lines) remaining.stock.set(product_id, stockOf(product_id) - qty)
    if (request.holdMinutes !== null) remaining.openHolds.set(request.customerId, holds + 1)
    return placement
  })
}

function refusalOf(
  { customerId, items, maxOpenHolds }: OrderRequest,
  { products, customers }: Supply,
  stockOf: (productId: number) => number,
  openHolds: number,
): AppError | undefined {
  if (!customers.has(customerId)) return customerNotFound(customerId)
  const missing = items.filter(({ product_id }) => !products.has(product_id))
  if (missing.length > 0) return productNotFound(missing.map(({ product_id }) => product_id))
  if (maxOpenHolds !== null && openHolds >= maxOpenHolds) return tooManyHolds(maxOpenHolds)
  const short = [...quantities(items)].flatMap(([product_id, requested]) => {
    const available = stockOf(product_id)
    return requested > available ? [{ product_id, requested, available }] : []
  })
  return short.length > 0 ? insufficientStock(short) : undefined
}

/** The quantity of each product over all lines. */
export function quantities(lines: Iterable<{ product_id: number; qty: number }>): Map<number, number> {
  const totals = new Map<number, number>()
  for (const { product_id, qty } of lines) totals.set(product_id, (totals.get(product_id) ?? 0) + qty)
  return totals
}

function priced({ items }: OrderRequest, { products }: Supply): Placement | AppError {
  const lines = items.map(({ product_id, qty }) => {
    const unit_price_cents = products.get(product_id)?.price_cents ?? 0
    return { product_id, qty, unit_price_cents, subtotal_cents: unit_price_cents * qty }
  })
  // No partial sum is above the total, so a total within the bound was added up without rounding.
  const totalCents = lines.reduce((sum, line) => sum + line.subtotal_cents, 0)
  return totalCents > Number.MAX_SAFE_INTEGER ? amountTooLarge() : { lines, totalCents }
}

export function customerNotFound(id: number): AppError {
  return new AppError(CUSTOMER_ERRORS.customer_not_found, `There is no customer ${id}.`)
}

function productNotFound(ids: readonly number[]): AppError {
  const product_ids = [...new Set(ids)]
  const detail = `There is no product ${product_ids.join(', ')}.`
  return new AppError(PRODUCT_ERRORS.product_not_found, detail, { product_ids })
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

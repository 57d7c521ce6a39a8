import { changedFrom } from '../platform/events/changed-from.ts'
import type { EventOrigin, NewEvent } from '../platform/events/record.ts'

/** What Products tells others. */
export const PRODUCT_EVENTS = [
  'product.created',
  'product.updated',
  'product.stock_adjusted',
  'product.stock_low',
  'product.out_of_stock',
  'product.back_in_stock',
] as const

type ProductEvent = (typeof PRODUCT_EVENTS)[number]

/** The part of a product that events about its stock show. */
export interface StockState {
  id: number
  sku: string
  name: string
  stock: number
  /** A stock that falls to this is low. Null: none is. */
  stock_low_at: number | null
  version: number
}

export interface Adjustment {
  id: number
  delta: number
  reason: string
}

export function productCreated(product: StockState, origin: EventOrigin): NewEvent {
  return eventOf('product.created', product, origin, { product })
}

export function productUpdated<P extends StockState>(before: P, product: P, origin: EventOrigin): NewEvent {
  return eventOf('product.updated', product, origin, { product, previous: changedFrom(before, product) })
}

/** An entry of the ledger. */
export function stockAdjusted(product: StockState, adjustment: Adjustment, origin: EventOrigin): NewEvent {
  return eventOf('product.stock_adjusted', product, origin, { product: stateOf(product), adjustment })
}

/**
 * What a change of stock means: that it became low, ran out, or came back. Of many orders in one transaction only their
 * sum counts, so there is never an event for each order.
 * @param product after the change
 */
export function crossings(stockBefore: number, product: StockState, origin: EventOrigin): NewEvent[] {
  const { stock, stock_low_at } = product
  const crossed: ProductEvent[] = []
  if (stock_low_at !== null && stockBefore > stock_low_at && stock <= stock_low_at) crossed.push('product.stock_low')
  if (stockBefore > 0 && stock === 0) crossed.push('product.out_of_stock')
  if (stockBefore === 0 && stock > 0) crossed.push('product.back_in_stock')
  return crossed.map((type) => eventOf(type, product, origin, { product: stateOf(product) }))
}

function stateOf({ id, sku, name, stock, stock_low_at, version }: StockState): StockState {
  return { id, sku, name, stock, stock_low_at, version }
}

function eventOf(type: ProductEvent, { id, version }: StockState, origin: EventOrigin, data: object): NewEvent {
  return { type, resource: { type: 'product', id, version }, customerId: null, origin, data: JSON.stringify(data) }
}

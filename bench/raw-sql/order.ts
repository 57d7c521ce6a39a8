import { createHash } from 'node:crypto'
import type { RowDataPacket } from 'mysql2/promise'
import { addMinutes, type DbTime, toRfc3339 } from '../../src/platform/core/time.ts'
import type { Line } from '../workloads.ts'

// The work of the loops between their statements.

export interface PricedLine extends Line {
  unit_price_cents: number
  subtotal_cents: number
}

export interface Priced {
  lines: PricedLine[]
  totalCents: number
  /** Quantities by product, in the order of the ids. */
  taken: [product: number, pieces: number][]
}

export interface StockRow extends RowDataPacket {
  id: number
  price_cents: number
  stock: number
}

export const KEY_COLUMNS =
  'operation, `key`, principal, request_hash, target_type, target_id, status, response_body, created_at, expires_at'
const HOLD_MINUTES = 15
const KEY_MINUTES = 24 * 60

/** In the order of locking. */
export function productsOf(lines: readonly Line[]): number[] {
  return [...new Set(lines.map((line) => line.product_id))].sort((a, b) => a - b)
}

/** @throws Error when a product is missing or has too little stock */
export function price(wanted: readonly Line[], stock: readonly StockRow[]): Priced {
  const byId = new Map(stock.map((row) => [row.id, row]))
  const taken = new Map<number, number>(stock.map(({ id }) => [id, 0]))
  const lines = wanted.map(({ product_id, qty }) => {
    const row = byId.get(product_id)
    if (row === undefined) throw new Error(`no product ${product_id}`)
    const pieces = (taken.get(product_id) ?? 0) + qty
    if (pieces > row.stock) throw new Error(`not enough pieces of ${product_id}`)
    taken.set(product_id, pieces)
    return { product_id, qty, unit_price_cents: row.price_cents, subtotal_cents: row.price_cents * qty }
  })
  return { lines, totalCents: lines.reduce((sum, line) => sum + line.subtotal_cents, 0), taken: [...taken] }
}

export function holdEnd(now: DbTime): DbTime {
  return addMinutes(now, HOLD_MINUTES)
}

export function keyEnd(now: DbTime): DbTime {
  return addMinutes(now, KEY_MINUTES)
}

/** The response of either step after its first member, the id. */
export function responseAfterId(
  customerId: number,
  status: 'CREATED' | 'CONFIRMED',
  totalCents: number,
  lines: readonly object[],
  createdAt: DbTime,
  confirmedAt: DbTime | null,
): string {
  const rest = {
    customer_id: customerId,
    status,
    total_cents: totalCents,
    items: lines,
    created_at: toRfc3339(createdAt),
    confirmed_at: confirmedAt && toRfc3339(confirmedAt),
    canceled_at: null,
    expires_at: confirmedAt === null ? toRfc3339(holdEnd(createdAt)) : null,
  }
  return `,${JSON.stringify(rest).slice(1)}`
}

export function hashOf(...request: unknown[]): string {
  return createHash('sha256').update(JSON.stringify(request)).digest('hex')
}

/** The statement that reserves stock, and its values. */
export function takeStock(taken: Priced['taken'], now: DbTime): [statement: string, values: unknown[]] {
  const cases = 'when ? then ? '.repeat(taken.length)
  const statement = `update products set stock = stock - case id ${cases}else 0 end, version = version + 1, updated_at = ?
    where id in (?)`
  return [statement, [...taken.flat(), now, taken.map(([id]) => id)]]
}

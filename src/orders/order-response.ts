import type { z } from 'zod'
import { toRfc3339, toRfc3339OrNull } from '../platform/core/time.ts'
import type { Order as OrderSchema, OrderSummary as OrderSummarySchema } from './contract.ts'
import { detailsOf } from './detail-columns.ts'
import type { OrderLine, OrderRow } from './store.ts'

export type Order = z.output<typeof OrderSchema>
export type OrderSummary = z.output<typeof OrderSummarySchema>

/** An order as callers see it. The order of the members must not change: stored responses contain these bytes. */
export function presentOrder(row: OrderRow, lines: readonly OrderLine[]): Order {
  const { id, customer_id, status, total_cents } = row
  return { id, customer_id, status, total_cents, items: presentLines(lines), ...presentRest(row) }
}

type BriefParts = Pick<OrderRow, 'id' | 'status' | 'total_cents' | 'po_number'> & {
  items: readonly Pick<OrderLine, 'product_id' | 'qty' | 'unit_price_cents' | 'subtotal_cents'>[]
}

/** An order as the orchestrator shows it: a caller that gives no PO number gets the members of the first version. */
export function presentBrief({ id, status, total_cents, po_number, items }: BriefParts) {
  const lines = items.map(({ product_id, qty, unit_price_cents, subtotal_cents }) => {
    return { product_id, qty, unit_price_cents, subtotal_cents }
  })
  return { id, status, total_cents, items: lines, ...(po_number !== null && { po_number }) }
}

/** @param lines the order's lines, where the caller asks for them */
export function presentSummary(row: OrderRow, lines?: readonly OrderLine[]): OrderSummary {
  const { id, customer_id, status, total_cents } = row
  const items = lines && { items: presentLines(lines) }
  return { id, customer_id, status, total_cents, ...items, ...presentRest(row) }
}

export function presentLines(lines: readonly OrderLine[]): Order['items'] {
  return lines.map(({ product_id, qty, unit_price_cents, subtotal_cents, sku, name }, i) => {
    return { product_id, qty, unit_price_cents, subtotal_cents, line: i + 1, sku, name }
  })
}

function presentRest(row: OrderRow) {
  return {
    created_at: toRfc3339(row.created_at),
    confirmed_at: toRfc3339OrNull(row.confirmed_at),
    canceled_at: toRfc3339OrNull(row.canceled_at),
    expires_at: toRfc3339OrNull(row.expires_at),
    ...detailsOf(row),
    placed_by: row.placed_by,
    version: row.version,
  }
}

import type { z } from 'zod'
import type { CustomerBrief } from '../customers/client.ts'
import { toRfc3339, toRfc3339OrNull } from '../platform/core/time.ts'
import type { Order as OrderSchema, OrderSummary as OrderSummarySchema } from './contract.ts'
import type { OrderLine, OrderRow } from './store.ts'

export type Order = z.output<typeof OrderSchema>
export type OrderSummary = z.output<typeof OrderSummarySchema>

/** An order as callers see it. The order of the members must not change: stored responses contain these bytes. */
export function presentOrder(row: OrderRow, lines: readonly OrderLine[]): Order {
  return {
    id: row.id,
    customer_id: row.customer_id,
    status: row.status,
    total_cents: row.total_cents,
    items: lines.map(({ product_id, qty, unit_price_cents, subtotal_cents }) => ({
      product_id,
      qty,
      unit_price_cents,
      subtotal_cents,
    })),
    ...presentTimes(row),
  }
}

/** An order that was just placed. With its customer, it is the response to the orchestrator. */
export function presentPlacedOrder(row: OrderRow, lines: readonly OrderLine[], customer: CustomerBrief | undefined) {
  const order = presentOrder(row, lines)
  if (customer === undefined) return order
  const { id, status, total_cents, items } = order
  return { customer, order: { id, status, total_cents, items } }
}

export function presentSummary(row: OrderRow): OrderSummary {
  const { id, customer_id, status, total_cents } = row
  return { id, customer_id, status, total_cents, ...presentTimes(row) }
}

function presentTimes({ created_at, confirmed_at, canceled_at, expires_at }: OrderRow) {
  return {
    created_at: toRfc3339(created_at),
    confirmed_at: toRfc3339OrNull(confirmed_at),
    canceled_at: toRfc3339OrNull(canceled_at),
    expires_at: toRfc3339OrNull(expires_at),
  }
}

import type { Generated } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'

declare module '../platform/database/tables.ts' {
  interface Tables {
    orders: {
      id: Generated<number>
      customer_id: number
      status: OrderStatus
      total_cents: number
      created_at: DbTime
      confirmed_at: DbTime | null
      canceled_at: DbTime | null
      expires_at: DbTime | null
      placed_by: Generated<string | null>
      correlation_id: Generated<string | null>
      key_hash: Generated<string | null>
    }
    order_items: {
      id: Generated<number>
      order_id: number
      product_id: number
      qty: number
      unit_price_cents: number
      subtotal_cents: number
    }
  }
}

export type OrderStatus = 'CREATED' | 'CONFIRMED' | 'CANCELED'

/** Each table comes before the tables that it refers to. */
export const ORDER_TABLES = ['order_items', 'orders'] as const

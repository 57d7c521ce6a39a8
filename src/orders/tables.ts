import type { Generated, GeneratedAlways } from 'kysely'
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
      po_number: Generated<string | null>
      /** The PO number as it is compared. */
      po_key: Generated<string | null>
      /** 0 when no other live order of the customer may have the PO number, else a random number. */
      po_slot: Generated<number | null>
      /** The database derives it: the `po_key` of an order that is not canceled. */
      live_po: GeneratedAlways<string | null>
      /** `YYYY-MM-DD` */
      requested_delivery_date: Generated<string | null>
      /** JSON */
      ship_to: Generated<string | null>
      notes: Generated<string | null>
      /** JSON */
      metadata: Generated<string | null>
      currency: Generated<string | null>
      version: Generated<number>
    }
    order_items: {
      id: Generated<number>
      order_id: number
      product_id: number
      qty: number
      unit_price_cents: number
      subtotal_cents: number
      /** The product's SKU and name at that time. Null where an earlier version placed the order. */
      sku: Generated<string | null>
      name: Generated<string | null>
    }
  }
}

export type OrderStatus = 'CREATED' | 'CONFIRMED' | 'CANCELED'

/** Each table comes before the tables that it refers to. */
export const ORDER_TABLES = ['order_items', 'orders'] as const

import type { Generated } from 'kysely'
import type { DbTime } from '../core/time.ts'

/** The tables of db/schema.sql as Kysely sees them. Ids, cents and counts are integers; times are {@link DbTime}. */
export interface Tables {
  customers: {
    id: Generated<number>
    name: string
    email: string
    email_key: string | null
    phone: string | null
    version: Generated<number>
    created_at: DbTime
    updated_at: DbTime
    deleted_at: Generated<DbTime | null>
  }
  customer_words: { word: string; customer_id: number }
  /** One row: which of several servers is written. */
  database_writer: { id: number; server: string; epoch: number }
  products: {
    id: Generated<number>
    sku: string
    name: string
    price_cents: number
    stock: number
    version: Generated<number>
    created_at: DbTime
    updated_at: DbTime
  }
  product_words: { word: string; product_id: number }
  stock_adjustments: {
    id: Generated<number>
    product_id: number
    delta: number
    reason: string
    principal: string
    created_at: DbTime
  }
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
  idempotency_keys: {
    operation: string
    key: string
    principal: string
    request_hash: string
    target_type: string
    target_id: number
    status: number
    response_body: string
    created_at: DbTime
    expires_at: DbTime
  }
  api_clients: {
    id: string
    name: string
    secret_hash: string
    scope: string
    customer_id: number | null
    created_at: DbTime
    disabled_at: DbTime | null
    tokens_from: Generated<DbTime | null>
  }
}

export type OrderStatus = 'CREATED' | 'CONFIRMED' | 'CANCELED'

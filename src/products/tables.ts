import type { Generated, GeneratedAlways } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'

declare module '../platform/database/tables.ts' {
  interface Tables {
    products: {
      id: Generated<number>
      sku: string
      /** The SKU as it is compared. Null where an earlier version wrote the product. */
      sku_key: Generated<string | null>
      name: string
      price_cents: number
      stock: number
      /** 1, or 0 for a product that can't be ordered. */
      active: Generated<number>
      /** The database derives it: 1 for a product that could be ordered, but has no stock. */
      out_of_stock: GeneratedAlways<number | null>
      min_qty: Generated<number>
      qty_step: Generated<number>
      max_qty: Generated<number | null>
      unit: Generated<string>
      /** A stock that falls to this is low. */
      stock_low_at: Generated<number | null>
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
  }
}

/** Each table comes before the tables that it refers to. */
export const PRODUCT_TABLES = ['stock_adjustments', 'product_words', 'products'] as const

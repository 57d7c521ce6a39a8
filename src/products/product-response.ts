import type { z } from 'zod'
import { toRfc3339 } from '../platform/core/time.ts'
import type { Product as ProductSchema } from './contract.ts'
import type { ProductRow } from './store.ts'

export type Product = z.output<typeof ProductSchema>

/** A product as callers see it. */
export function presentProduct(row: Omit<ProductRow, 'sku_key' | 'out_of_stock'>): Product {
  const { id, sku, name, price_cents, stock, min_qty, qty_step, max_qty, unit, stock_low_at, version } = row
  return {
    id,
    sku,
    name,
    price_cents,
    stock,
    active: row.active !== 0,
    min_qty,
    qty_step,
    max_qty,
    unit,
    stock_low_at,
    created_at: toRfc3339(row.created_at),
    updated_at: toRfc3339(row.updated_at),
    version,
  }
}

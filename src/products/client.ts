import { CompiledQuery } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'
import { compileOnce } from '../platform/database/compiled-query.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import { enqueueWrite } from '../platform/database/pipeline.ts'
import type { Database } from '../platform/database/types.ts'
import { insertStockAdjustment, lockProduct } from './store.ts'

// What an order does with products, inside its own transaction.

export interface Shelf {
  id: number
  price_cents: number
  stock: number
}

/**
 * Prices and stock of these products, which nobody else may change until the transaction ends. Locked in the order of
 * their ids, so that two transactions that want the same products wait for each other instead of deadlocking.
 */
export function lockingStock(trx: Database, ids: readonly number[]): CompiledQuery<Shelf> | undefined {
  if (ids.length === 0) return undefined
  const sorted = [...ids].sort((a, b) => a - b)
  return compileOnce(trx, `products for update ${sorted.length}`, sorted, () =>
    trx
      .selectFrom('products')
      .select(['id', 'price_cents', 'stock'])
      .where('id', 'in', sorted)
      .orderBy('id')
      .modifyEnd(dialectOf(trx).forUpdate),
  )
}

/** Adds to the stock of many products, with the transaction's next statement; a negative number takes away. */
export async function moveStock(trx: Database, deltas: ReadonlyMap<number, number>, now: DbTime): Promise<void> {
  if (deltas.size === 0) return
  const ids = [...deltas.keys()].sort((a, b) => a - b)
  const update = `
    update products
    set stock = stock + case id ${ids.map(() => 'when ? then ?').join(' ')} else 0 end,
      version = version + 1, updated_at = ?
    where id in (${ids.map(() => '?').join(', ')})`
  await enqueueWrite(trx, CompiledQuery.raw(update, [...ids.flatMap((id) => [id, deltas.get(id)]), now, ...ids]))
}

/** Who wrote the rows of the ledger that stand for orders which were taken out of the database. */
const ARCHIVER = 'purge'

/**
 * Keeps the books balanced when orders that took these pieces are deleted: each product has one row in its ledger for all
 * of them.
 */
export async function recordArchivedOrders(
  trx: Database,
  pieces: ReadonlyMap<number, number>,
  now: DbTime,
): Promise<void> {
  const ids = [...pieces.keys()].sort((a, b) => a - b)
  if (ids.length === 0) return
  const rows = await trx
    .selectFrom('stock_adjustments')
    .select(['id', 'product_id'])
    .where('product_id', 'in', ids)
    .where('principal', '=', ARCHIVER)
    .execute()
  const known = new Map(rows.map(({ id, product_id }) => [product_id, id]))
  for (const product_id of ids) {
    const [id, delta] = [known.get(product_id), -(pieces.get(product_id) ?? 0)]
    if (id !== undefined) await addToAdjustment(trx, id, delta, now)
    else await recordAdjustment(trx, { product_id, delta, reason: 'archived orders', principal: ARCHIVER }, now)
  }
}

async function addToAdjustment(trx: Database, id: number, delta: number, now: DbTime): Promise<void> {
  await trx
    .updateTable('stock_adjustments')
    .set((eb) => ({ delta: eb('delta', '+', delta), created_at: now }))
    .where('id', '=', id)
    .execute()
}

/** The stock of a product, which nobody else may change until the transaction ends. None where there is no product. */
export async function lockStock(trx: Database, id: number): Promise<number> {
  return (await lockProduct(trx, id))?.stock ?? 0
}

/** Writes to the ledger what changed a count, or explains it, and is no order's. @returns the adjustment's id */
export function recordAdjustment(
  trx: Database,
  adjustment: { product_id: number; delta: number; reason: string; principal: string },
  now: DbTime,
): Promise<number> {
  return insertStockAdjustment(trx, adjustment, now)
}

import { CompiledQuery, type Selectable } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'
import { compileOnce } from '../platform/database/compiled-query.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import { enqueueWrite } from '../platform/database/pipeline.ts'
import type { Tables } from '../platform/database/tables.ts'
import type { Database } from '../platform/database/types.ts'
import { type EventOrigin, recordEvents, recordSelectedEvents, systemOrigin } from '../platform/events/record.ts'
import { crossings, productUpdated, stockAdjusted } from './events.ts'
import { presentProduct } from './product-response.ts'
import { insertStockAdjustment, lockProduct } from './store.ts'

// The changes of stock that another domain may make inside its own transaction.

const STOCK_COLUMNS = [
  'id',
  'sku',
  'name',
  'price_cents',
  'stock',
  'active',
  'min_qty',
  'qty_step',
  'max_qty',
  'stock_low_at',
  'version',
] as const

export type StockRow = Pick<Selectable<Tables['products']>, (typeof STOCK_COLUMNS)[number]>

/** Reads what an order must know of its products, and locks nothing. */
export function stockQuery(db: Database, ids: readonly number[]): CompiledQuery<StockRow> | undefined {
  if (ids.length === 0) return undefined
  return db.selectFrom('products').select(STOCK_COLUMNS).where('id', 'in', ids).compile()
}

/**
 * Like {@link stockQuery}, and locks the products until the transaction ends. The locks go by ascending ids: two transactions
 * that need the same products wait for each other instead of deadlocking.
 */
export function lockStockQuery(trx: Database, ids: readonly number[]): CompiledQuery<StockRow> | undefined {
  if (ids.length === 0) return undefined
  const sorted = [...ids].sort((a, b) => a - b)
  return compileOnce(trx, `products for update ${sorted.length}`, sorted, () =>
    trx
      .selectFrom('products')
      .select(STOCK_COLUMNS)
      .where('id', 'in', sorted)
      .orderBy('id')
      .modifyEnd(dialectOf(trx).forUpdate),
  )
}

/** The origin of events about stock: the orders of many callers together made them. */
const ORIGIN = systemOrigin('stock')

/**
 * Takes quantities from the stock, and tells what that means for products. The change is sent with the transaction's next
 * statement.
 * @param products the products as the transaction has locked them
 */
export async function reserveStock(
  trx: Database,
  products: ReadonlyMap<number, StockRow>,
  quantities: ReadonlyMap<number, number>,
  now: DbTime,
): Promise<void> {
  await addToStock(trx, quantities, -1, now)
  const events = [...quantities].flatMap(([id, qty]) => {
    const row = products.get(id)
    return row ? crossings(row.stock, { ...row, stock: row.stock - qty, version: row.version + 1 }, ORIGIN) : []
  })
  await recordEvents(trx, events, now)
}

/**
 * Returns quantities to the stock, and tells which products are back. The change is sent with the transaction's next
 * statement.
 */
export async function restock(trx: Database, quantities: ReadonlyMap<number, number>, now: DbTime): Promise<void> {
  await addToStock(trx, quantities, 1, now)
  await recordReturns(trx, quantities, now)
}

/**
 * Writes an event for each product that had no stock before these quantities came back. The products were not read, so the
 * database makes the events of its rows.
 */
async function recordReturns(trx: Database, quantities: ReadonlyMap<number, number>, now: DbTime): Promise<void> {
  if (quantities.size === 0) return
  const ids = [...quantities.keys()]
  const select = `
    select 'product.back_in_stock', 'product', id, version, null, ?, null, null, null,
      json_object('product', json_object('id', id, 'sku', sku, 'name', name, 'stock', stock,
        'stock_low_at', stock_low_at, 'version', version)), ?
    from products
    where id in (${ids.map(() => '?').join(', ')}) and stock > 0
      and stock = case id ${ids.map(() => 'when ? then ?').join(' ')} end`
  await recordSelectedEvents(trx, CompiledQuery.raw(select, [ORIGIN.actor, now, ...ids, ...[...quantities].flat()]))
}

/** Adds signed quantities to the stock. The change is sent with the transaction's next statement. */
export function changeStock(trx: Database, deltas: ReadonlyMap<number, number>, now: DbTime): Promise<void> {
  return addToStock(trx, deltas, 1, now)
}

async function addToStock(
  trx: Database,
  quantities: ReadonlyMap<number, number>,
  sign: 1 | -1,
  now: DbTime,
): Promise<void> {
  if (quantities.size === 0) return
  const ids = [...quantities.keys()].sort((a, b) => a - b)
  const update = `
    update products
    set stock = stock + case id ${ids.map(() => 'when ? then ?').join(' ')} else 0 end,
      version = version + 1, updated_at = ?
    where id in (${ids.map(() => '?').join(', ')})`
  const deltas = ids.flatMap((id) => [id, sign * (quantities.get(id) ?? 0)])
  await enqueueWrite(trx, CompiledQuery.raw(update, [...deltas, now, ...ids]))
}

/** The principal of ledger rows that replace archived orders. */
const ARCHIVER = 'purge'

/** Keeps the books balanced when orders with these quantities are deleted: each product gets one ledger row. */
export async function recordArchivedOrders(
  trx: Database,
  quantities: ReadonlyMap<number, number>,
  now: DbTime,
): Promise<void> {
  const ids = [...quantities.keys()].sort((a, b) => a - b)
  if (ids.length === 0) return
  const rows = await trx
    .selectFrom('stock_adjustments')
    .select(['id', 'product_id'])
    .where('product_id', 'in', ids)
    .where('principal', '=', ARCHIVER)
    .execute()
  const known = new Map(rows.map(({ id, product_id }) => [product_id, id]))
  for (const product_id of ids) {
    const [id, delta] = [known.get(product_id), -(quantities.get(product_id) ?? 0)]
    if (id !== undefined) await addToAdjustment(trx, id, delta, now)
    else await insertStockAdjustment(trx, { product_id, delta, reason: 'archived orders', principal: ARCHIVER }, now)
  }
}

async function addToAdjustment(trx: Database, id: number, delta: number, now: DbTime): Promise<void> {
  await trx
    .updateTable('stock_adjustments')
    .set((eb) => ({ delta: eb('delta', '+', delta), created_at: now }))
    .where('id', '=', id)
    .execute()
}

type Entry = Parameters<typeof insertStockAdjustment>[1]

/**
 * Writes an entry of the ledger for a stock that is right already, and tells it.
 * @returns the entry's id; undefined when the product does not exist
 */
export async function bookStock(
  trx: Database,
  entry: Entry,
  origin: EventOrigin,
  now: DbTime,
): Promise<number | undefined> {
  const before = await lockProduct(trx, entry.product_id)
  if (before === undefined) return undefined
  // The version rises: another adjustment may have been told at the present one.
  await changeStock(trx, new Map([[before.id, 0]]), now)
  const { delta, reason } = entry
  const id = await insertStockAdjustment(trx, entry, now)
  const product = { ...before, version: before.version + 1 }
  await recordEvents(trx, [stockAdjusted(product, { id, delta, reason }, origin)], now)
  return id
}

/**
 * Sets a stock that is not what ledger and orders make, and tells it. The ledger stays as it is.
 * @param stockOf the right stock, of the stock before; undefined where it is to stay
 */
export async function correctStock(
  trx: Database,
  productId: number,
  stockOf: (before: number) => number | undefined,
  origin: EventOrigin,
  now: DbTime,
): Promise<{ before: number; after: number } | undefined> {
  const before = await lockProduct(trx, productId)
  const stock = before && stockOf(before.stock)
  if (before === undefined || stock === undefined) return undefined
  await changeStock(trx, new Map([[productId, stock - before.stock]]), now)
  const product = presentProduct({ ...before, stock, updated_at: now, version: before.version + 1 })
  const updated = productUpdated(presentProduct(before), product, origin)
  await recordEvents(trx, [updated, ...crossings(before.stock, product, origin)], now)
  return { before: before.stock, after: stock }
}

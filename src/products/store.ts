import { type Selectable, sql } from 'kysely'
import { foldCase } from '../platform/core/text.ts'
import type { DbTime } from '../platform/core/time.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Tables } from '../platform/database/tables.ts'
import { tokenize } from '../platform/database/tokenize.ts'
import type { Database } from '../platform/database/types.ts'
import {
  deleteWords,
  insertWords,
  searchWords,
  type WordIndex,
  type WordSearch,
} from '../platform/database/word-index.ts'

export type ProductRow = Selectable<Tables['products']>

const PRODUCT_WORDS: WordIndex = {
  table: 'products',
  words: 'product_words',
  owner: 'product_id',
  byOwner: 'product_words_product',
}

/** The unique indexes on SKUs, as each engine's errors name them. */
export const SKU_INDEXES = [
  { index: 'products_sku', column: 'products.sku' },
  { index: 'products_sku_key', column: 'products.sku_key' },
]

/** What a caller may write. */
export type ProductFields = Omit<
  ProductRow,
  'id' | 'sku_key' | 'out_of_stock' | 'version' | 'created_at' | 'updated_at'
>

export async function insertProduct(db: Database, fields: ProductFields, now: DbTime): Promise<number> {
  const { insertId } = await db
    .insertInto('products')
    .values({ ...fields, sku_key: foldCase(fields.sku), created_at: now, updated_at: now })
    .executeTakeFirstOrThrow()
  const id = Number(insertId)
  await insertWords(db, PRODUCT_WORDS, id, tokenize(fields.sku, fields.name))
  return id
}

export function findProduct(db: Database, id: number): Promise<ProductRow | undefined> {
  return db.selectFrom('products').selectAll().where('id', '=', id).executeTakeFirst()
}

/** Like {@link findProduct}, and locks the product until the transaction ends. */
export function lockProduct(db: Database, id: number): Promise<ProductRow | undefined> {
  const { forUpdate } = dialectOf(db)
  return db.selectFrom('products').selectAll().where('id', '=', id).modifyEnd(forUpdate).executeTakeFirst()
}

/** Writes a product that the transaction has locked. */
export async function updateProduct(
  db: Database,
  before: ProductRow,
  fields: ProductFields,
  now: DbTime,
): Promise<void> {
  await db
    .updateTable('products')
    .set((eb) => ({ ...fields, sku_key: keyAfter(before, fields), updated_at: now, version: eb('version', '+', 1) }))
    .where('id', '=', before.id)
    .execute()
  await deleteWords(db, PRODUCT_WORDS, before.id)
  await insertWords(db, PRODUCT_WORDS, before.id, tokenize(fields.sku, fields.name))
}

/** A product without a key gets none while its SKU stays: another product may have that key. */
function keyAfter(before: ProductRow, { sku }: ProductFields): string | null {
  return sku === before.sku ? before.sku_key : foldCase(sku)
}

/** Writes a change of stock that no order made to the ledger. @returns the adjustment's id */
export async function insertStockAdjustment(
  db: Database,
  adjustment: { product_id: number; delta: number; reason: string; principal: string },
  now: DbTime,
): Promise<number> {
  const values = { ...adjustment, created_at: now }
  const { insertId } = await db.insertInto('stock_adjustments').values(values).executeTakeFirstOrThrow()
  return Number(insertId)
}

export interface IdList {
  after: number | undefined
  limit: number
}

export function listProducts(db: Database, { after = 0, limit }: IdList): Promise<ProductRow[]> {
  return db.selectFrom('products').selectAll().where('id', '>', after).orderBy('id').limit(limit).execute()
}

/** The products with one of these SKUs, compared without regard to case; those without a key, by the exact SKU. */
export async function findProductsBySku(db: Database, skus: readonly string[], after = 0): Promise<ProductRow[]> {
  const keys = [...new Set(skus.map((sku) => foldCase(sku.trim())))]
  const rows = await productsBy(db, 'products_sku_key')
    .where('sku_key', 'in', keys)
    .unionAll(
      productsBy(db, 'products_sku')
        .where('sku', 'in', [...new Set(skus)])
        .where('sku_key', 'is', null),
    )
    .execute()
  return rows.filter(({ id }) => id > after).sort((a, b) => a.id - b.id)
}

function productsBy(db: Database, index: string) {
  return db.selectFrom(sql<ProductRow>`products`.as<'p'>(sql`p ${dialectOf(db).forceIndex(index)}`)).selectAll()
}

export function searchProducts(db: Database, search: WordSearch) {
  return searchWords<ProductRow>(db, PRODUCT_WORDS, search)
}

export type StockAdjustmentRow = Selectable<Tables['stock_adjustments']>

/** The ledger of a product, newest first. @param list `after` is the oldest entry of the page before */
export function listStockAdjustments(
  db: Database,
  productId: number,
  { after = Number.MAX_SAFE_INTEGER, limit }: IdList,
): Promise<StockAdjustmentRow[]> {
  const byProduct = sql`a ${dialectOf(db).forceIndex('stock_adjustments_product')}`
  return db
    .selectFrom(sql<StockAdjustmentRow>`stock_adjustments`.as<'a'>(byProduct))
    .selectAll()
    .where('product_id', '=', productId)
    .where('id', '<', after)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
}

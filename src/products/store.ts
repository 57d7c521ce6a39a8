import type { Selectable } from 'kysely'
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

/** The unique index on SKUs, as each engine's errors name it. */
export const SKU_INDEX = { index: 'products_sku', column: 'products.sku' }

export async function insertProduct(
  db: Database,
  fields: Pick<ProductRow, 'sku' | 'name' | 'price_cents' | 'stock'>,
  now: DbTime,
): Promise<number> {
  const { insertId } = await db
    .insertInto('products')
    .values({ ...fields, created_at: now, updated_at: now })
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
  { id, sku }: ProductRow,
  fields: Pick<ProductRow, 'name' | 'price_cents' | 'stock'>,
  now: DbTime,
): Promise<void> {
  await db
    .updateTable('products')
    .set((eb) => ({ ...fields, updated_at: now, version: eb('version', '+', 1) }))
    .where('id', '=', id)
    .execute()
  await deleteWords(db, PRODUCT_WORDS, id)
  await insertWords(db, PRODUCT_WORDS, id, tokenize(sku, fields.name))
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

export function searchProducts(db: Database, search: WordSearch) {
  return searchWords<ProductRow>(db, PRODUCT_WORDS, search)
}

import { z } from 'zod'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { toRfc3339 } from '../platform/core/time.ts'
import { isDuplicate } from '../platform/database/errors.ts'
import { tokenize } from '../platform/database/tokenize.ts'
import type { Database } from '../platform/database/types.ts'
import { originOf, recordEvents } from '../platform/events/record.ts'
import type { Caller } from '../platform/http/app.ts'
import { Id } from '../platform/http/contract.ts'
import { type Preconditions, requireVersion } from '../platform/http/etag.ts'
import { cutPage, type Page, type PageRequest, readCursor, searchablePage } from '../platform/http/pagination.ts'
import type { Principal } from '../platform/http/principal.ts'
import { claimOf, type Operation } from '../platform/idempotency/claim.ts'
import { runIdempotent } from '../platform/idempotency/run.ts'
import type { StoredResponse } from '../platform/idempotency/store.ts'
import type {
  LedgerEntry as LedgerEntrySchema,
  NewProduct,
  NewStockAdjustment,
  ProductChange,
  ProductQuery,
} from './contract.ts'
import { PRODUCT_ERRORS } from './errors.ts'
import { crossings, productCreated, productUpdated, stockAdjusted } from './events.ts'
import { type Product, presentProduct } from './product-response.ts'
import { hasRightQuantity, type QuantityRule } from './quantity-rule.ts'
import { changeStock } from './stock.ts'
import {
  findProduct,
  findProductsBySku,
  insertProduct,
  insertStockAdjustment,
  listProducts,
  listStockAdjustments,
  lockProduct,
  type ProductFields,
  type ProductRow,
  SKU_INDEXES,
  type StockAdjustmentRow,
  searchProducts,
  updateProduct,
} from './store.ts'

export type LedgerEntry = z.output<typeof LedgerEntrySchema>

const PAGE = 20
const PAGE_OF_SKUS = 100

const CREATE_PRODUCT: Operation = { name: 'products.create', status: 201, targetType: 'product' }
const CHANGE_PRODUCT: Operation = { name: 'products.change', status: 200, targetType: 'product' }
const ADJUST_STOCK: Operation = { name: 'products.adjust_stock', status: 201, targetType: 'adjustment' }

export interface ProductsConfig {
  idempotencyTtlMinutes: number
}

export type ProductsService = ReturnType<typeof createProductsService>

/** The verbs of products and their stock. The ledger records every change of a count that no order made. */
export function createProductsService(db: Database, config: ProductsConfig) {
  return {
    /** @throws AppError `validation_failed`, `sku_taken`, `idempotency_key_reused` */
    createProduct(
      caller: Caller,
      input: z.output<typeof NewProduct>,
      key: string | undefined,
    ): Promise<StoredResponse> {
      const principal = caller.principal.id
      const claim = claimOf(CREATE_PRODUCT, caller.principal, key, input)
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, caller.trace, async (trx, now) => {
        const fields = withDefaults(input)
        requireRightQuantity(fields, input)
        const id = await refuseTakenSku(insertProduct(trx, fields, now))
        if (input.stock > 0) {
          const adjustment = { product_id: id, delta: input.stock, reason: 'initial stock', principal }
          await insertStockAdjustment(trx, adjustment, now)
        }
        const product = presentProduct({ ...fields, id, version: 1, created_at: now, updated_at: now })
        await recordEvents(trx, [productCreated(product, originOf(caller))], now)
        return product
      })
    },

    /** @throws AppError `not_found` */
    async getProduct(id: number): Promise<Product> {
      return presentProduct(found(await findProduct(db, id), id))
    },

    /** @throws AppError `validation_failed` for a cursor of another list */
    async listProducts({ sku, ...query }: z.output<typeof ProductQuery>): Promise<Page<Product>> {
      const page =
        sku === undefined
          ? await searchPage(db, { ...query, limit: query.limit ?? PAGE })
          : await pageOfSkus(db, sku, { ...query, limit: query.limit ?? PAGE_OF_SKUS })
      return { ...page, data: page.data.map(presentProduct) }
    },

    /** The ledger of a product. @throws AppError `not_found`, `validation_failed` for a cursor of another list */
    async listStockAdjustments(
      { principal }: Caller,
      id: number,
      { cursor, limit }: PageRequest,
    ): Promise<Page<LedgerEntry>> {
      const [after] = readCursor('stock_adjustments', cursor, ById) ?? []
      found(await findProduct(db, id), id)
      const rows = await listStockAdjustments(db, id, { after, limit: limit + 1 })
      const page = cutPage('stock_adjustments', rows, limit, (row) => [row.id])
      return { ...page, data: page.data.map((row) => presentEntry(row, principal)) }
    },

    /**
     * @throws AppError `not_found`, `precondition_failed`, `validation_failed`, `sku_taken`, `idempotency_key_reused`
     */
    changeProduct(
      caller: Caller,
      id: number,
      change: z.output<typeof ProductChange>,
      key: string | undefined,
      preconditions: Preconditions,
    ): Promise<StoredResponse> {
      const principal = caller.principal.id
      const claim = claimOf(CHANGE_PRODUCT, caller.principal, key, id, change)
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, caller.trace, async (trx, now) => {
        const before = await lockAtVersion(trx, id, preconditions)
        const fields = changedFields(before, change)
        requireRightQuantity(fields, change)
        await refuseTakenSku(updateProduct(trx, before, fields, now))
        const product = presentProduct({ ...before, ...fields, updated_at: now, version: before.version + 1 })
        const origin = originOf(caller)
        const events = [productUpdated(presentProduct(before), product, origin)]
        const delta = fields.stock - before.stock
        if (delta !== 0) {
          const adjustment = { delta, reason: 'count set' }
          const adjustmentId = await insertStockAdjustment(trx, { product_id: id, ...adjustment, principal }, now)
          events.push(stockAdjusted(product, { id: adjustmentId, ...adjustment }, origin))
        }
        await recordEvents(trx, [...events, ...crossings(before.stock, product, origin)], now)
        return product
      })
    },

    /**
     * @param preconditions conditions on the version of the product
     * @throws AppError `not_found`, `precondition_failed`, `insufficient_stock`, `amount_too_large`,
     *   `idempotency_key_reused`
     */
    adjustStock(
      caller: Caller,
      id: number,
      input: z.output<typeof NewStockAdjustment>,
      key: string | undefined,
      preconditions: Preconditions,
    ): Promise<StoredResponse> {
      const principal = caller.principal.id
      const claim = claimOf(ADJUST_STOCK, caller.principal, key, id, input)
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, caller.trace, async (trx, now) => {
        const before = await lockAtVersion(trx, id, preconditions)
        const stock = before.stock + input.delta
        if (stock < 0) {
          const lines = [{ product_id: id, requested: -input.delta, available: before.stock }]
          throw new AppError(PRODUCT_ERRORS.insufficient_stock, `Only ${before.stock} pieces are in stock.`, { lines })
        }
        if (stock > Number.MAX_SAFE_INTEGER)
          throw new AppError(PLATFORM_ERRORS.amount_too_large, 'The stock would be above 2^53-1.')
        await changeStock(trx, new Map([[id, input.delta]]), now)
        const adjustmentId = await insertStockAdjustment(trx, { product_id: id, ...input, principal }, now)
        const origin = originOf(caller)
        const product = { ...before, stock, version: before.version + 1 }
        const adjusted = stockAdjusted(product, { id: adjustmentId, ...input }, origin)
        await recordEvents(trx, [adjusted, ...crossings(before.stock, product, origin)], now)
        return { id: adjustmentId, product_id: id, ...input, stock, created_at: toRfc3339(now) }
      })
    },
  }
}

const ById = z.tuple([Id])

function searchPage(db: Database, request: PageRequest): Promise<Page<ProductRow>> {
  return searchablePage(
    'products',
    request,
    (after, limit) => listProducts(db, { after, limit }),
    (beginnings, after, limit) => searchProducts(db, { beginnings, after, limit }),
  )
}

async function pageOfSkus(
  db: Database,
  skus: readonly string[],
  { search, cursor, limit }: PageRequest,
): Promise<Page<ProductRow>> {
  const [after] = readCursor('products.sku', cursor, ById) ?? []
  const rows = await findProductsBySku(db, skus, after)
  const found = search?.trim() ? rows.filter((row) => hasWords(row, tokenize(search))) : rows
  return cutPage('products.sku', found, limit, (row) => [row.id])
}

/** Whether a product has words with all of these beginnings, as a search finds it. */
function hasWords({ sku, name }: ProductRow, beginnings: readonly string[]): boolean {
  const words = tokenize(sku, name)
  return beginnings.length > 0 && beginnings.every((beginning) => words.some((word) => word.startsWith(beginning)))
}

/** A product as it is stored when nothing else is said. */
function withDefaults(input: z.output<typeof NewProduct>): ProductFields {
  const { sku, name, price_cents, stock } = input
  const { active = true, min_qty = 1, qty_step = 1, max_qty, unit = 'pc', stock_low_at = null } = input
  const rules = { active: Number(active), min_qty, qty_step, max_qty: max_qty || null }
  return { sku, name, price_cents, stock, ...rules, unit, stock_low_at }
}

/** The fields of a product after a change. A maximum of 0 is none, and so is a low stock of -1. */
function changedFields(before: ProductRow, change: z.output<typeof ProductChange>): ProductFields {
  const { sku = before.sku, name = before.name, price_cents = before.price_cents, stock = before.stock } = change
  const { min_qty = before.min_qty, qty_step = before.qty_step, unit = before.unit } = change
  const active = change.active === undefined ? before.active : Number(change.active)
  const max_qty = change.max_qty === undefined ? before.max_qty : change.max_qty || null
  const { stock_low_at: lowAt = before.stock_low_at } = change
  const stock_low_at = lowAt === -1 ? null : lowAt
  return { sku, name, price_cents, stock, active, min_qty, qty_step, max_qty, unit, stock_low_at }
}

/**
 * @param given the fields that the caller sent: those of them that leave no quantity are named
 * @throws AppError `validation_failed`
 */
function requireRightQuantity(rule: QuantityRule, given: Partial<Record<keyof QuantityRule, unknown>>): void {
  if (hasRightQuantity(rule)) return
  const { min_qty, qty_step, max_qty } = rule
  const message = `No multiple of ${qty_step} is from ${min_qty} to ${max_qty}`
  const fields = (['min_qty', 'qty_step', 'max_qty'] as const).filter((field) => given[field] !== undefined)
  const errors = fields.map((path) => ({ path, message }))
  throw new AppError(PLATFORM_ERRORS.validation_failed, 'No quantity of the product could be ordered.', { errors })
}

function presentEntry(row: StockAdjustmentRow, { customerId }: Principal): LedgerEntry {
  const { id, product_id, delta, reason, principal, created_at } = row
  const seen = customerId === null ? principal : null
  return { id, product_id, delta, reason, principal: seen, created_at: toRfc3339(created_at) }
}

function found(row: ProductRow | undefined, id: number): ProductRow {
  if (row === undefined) throw new AppError(PLATFORM_ERRORS.not_found, `There is no product ${id}.`)
  return row
}

async function lockAtVersion(trx: Database, id: number, preconditions: Preconditions): Promise<ProductRow> {
  const row = found(await lockProduct(trx, id), id)
  requireVersion(preconditions, row, 'product')
  return row
}

async function refuseTakenSku<T>(write: Promise<T>): Promise<T> {
  return write.catch((error) => {
    const isTaken = SKU_INDEXES.some((index) => isDuplicate(error, index))
    if (isTaken) throw new AppError(PRODUCT_ERRORS.sku_taken, 'Another product has this SKU.')
    throw error
  })
}

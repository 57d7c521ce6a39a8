import type { z } from 'zod'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { toRfc3339 } from '../platform/core/time.ts'
import { isDuplicate } from '../platform/database/errors.ts'
import type { Database } from '../platform/database/types.ts'
import type { Caller } from '../platform/http/app.ts'
import { type Preconditions, requireVersion } from '../platform/http/etag.ts'
import { type Page, type PageRequest, searchablePage } from '../platform/http/pagination.ts'
import { claimOf, type Operation } from '../platform/idempotency/claim.ts'
import { runIdempotent } from '../platform/idempotency/run.ts'
import type { StoredResponse } from '../platform/idempotency/store.ts'
import type { NewProduct, NewStockAdjustment, ProductChange, Product as ProductSchema } from './contract.ts'
import { PRODUCT_ERRORS } from './errors.ts'
import { changeStock } from './stock.ts'
import {
  findProduct,
  insertProduct,
  insertStockAdjustment,
  listProducts,
  lockProduct,
  type ProductRow,
  SKU_INDEX,
  searchProducts,
  updateProduct,
} from './store.ts'

export type Product = z.output<typeof ProductSchema>

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
    /** @throws AppError `sku_taken`, `idempotency_key_reused` */
    createProduct(
      caller: Caller,
      input: z.output<typeof NewProduct>,
      key: string | undefined,
    ): Promise<StoredResponse> {
      const principal = caller.principal.id
      const claim = claimOf(CREATE_PRODUCT, caller.principal, key, input)
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, async (trx, now) => {
        const id = await refuseTakenSku(insertProduct(trx, input, now))
        if (input.stock > 0) {
          const adjustment = { product_id: id, delta: input.stock, reason: 'initial stock', principal }
          await insertStockAdjustment(trx, adjustment, now)
        }
        return presentProduct({ ...input, id, version: 1, created_at: now, updated_at: now })
      })
    },

    /** @throws AppError `not_found` */
    async getProduct(id: number): Promise<Product> {
      return presentProduct(found(await findProduct(db, id), id))
    },

    /** @throws AppError `validation_failed` for a cursor of another list */
    async listProducts(request: PageRequest): Promise<Page<Product>> {
      const page = await searchablePage(
        'products',
        request,
        (after, limit) => listProducts(db, { after, limit }),
        (beginnings, after, limit) => searchProducts(db, { beginnings, after, limit }),
      )
      return { ...page, data: page.data.map(presentProduct) }
    },

    /** @throws AppError `not_found`, `precondition_failed`, `idempotency_key_reused` */
    changeProduct(
      caller: Caller,
      id: number,
      change: z.output<typeof ProductChange>,
      key: string | undefined,
      preconditions: Preconditions,
    ): Promise<StoredResponse> {
      const principal = caller.principal.id
      const claim = claimOf(CHANGE_PRODUCT, caller.principal, key, id, change)
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, async (trx, now) => {
        const before = await lockAtVersion(trx, id, preconditions)
        const { name = before.name, price_cents = before.price_cents, stock = before.stock } = change
        await updateProduct(trx, before, { name, price_cents, stock }, now)
        const delta = stock - before.stock
        if (delta !== 0) {
          const adjustment = { product_id: id, delta, reason: 'count set', principal }
          await insertStockAdjustment(trx, adjustment, now)
        }
        return presentProduct({ ...before, name, price_cents, stock, updated_at: now, version: before.version + 1 })
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
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, async (trx, now) => {
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
        return { id: adjustmentId, product_id: id, ...input, stock, created_at: toRfc3339(now) }
      })
    },
  }
}

function presentProduct({ id, sku, name, price_cents, stock, created_at, updated_at, version }: ProductRow): Product {
  return {
    id,
    sku,
    name,
    price_cents,
    stock,
    created_at: toRfc3339(created_at),
    updated_at: toRfc3339(updated_at),
    version,
  }
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
    if (isDuplicate(error, SKU_INDEX)) throw new AppError(PRODUCT_ERRORS.sku_taken, 'Another product has this SKU.')
    throw error
  })
}

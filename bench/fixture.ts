import { sql } from 'kysely'
import { auditBooks } from '../src/audit/service.ts'
import { seed } from '../src/compose/demo-data.ts'
import { type Env, parseEnv } from '../src/compose/env.ts'
import { SCOPES } from '../src/compose/modules.ts'
import { migrate } from '../src/compose/schema.ts'
import { createClient } from '../src/identity/service.ts'
import { addMinutes } from '../src/platform/core/time.ts'
import { dialectOf } from '../src/platform/database/dialect.ts'
import { ensureDatabase, openDatabase } from '../src/platform/database/open.ts'
import type { Database } from '../src/platform/database/types.ts'

/** What each system finds in a database of its own: the demo data, products enough for the load, and past orders. */
export interface Shop {
  env: Env
  /** @returns the id of a new product with so many pieces */
  addProduct(stock: number): Promise<number>
  stockOf(productId: number): Promise<number>
  /** How many orders have a line of this product. */
  ordersOf(productId: number): Promise<number>
  books(): Promise<Books>
  /** Away with it all. */
  close(): Promise<void>
}

export interface Books {
  orders: number
  /** What does not balance; empty when all does. */
  differences: string[]
}

/** Pieces of each product: more than any run takes. */
const STOCK = 1_000_000_000
export const PRODUCTS = 1_000
export const FIRST_PRODUCT = 1_001
export const CUSTOMER = 1
const FIRST_STOCK_AT = '2026-01-05 09:00:00.000'
/**
 * Enough that every list is one of many orders, and its index worth using: else a system would pay for the rest of its
 * speed, or be spared for the lack of it.
 */
const PAST_ORDERS = 10_000
const FIRST_PAST_ORDER = 1_001
const LINES_OF_PAST_ORDER = 2
const ROWS_PER_INSERT = 5_000

export async function openShop(variables: Record<string, string>): Promise<Shop> {
  const env = parseEnv(variables)
  await ensureDatabase(env.database)
  const db = await openDatabase({ ...env.database, pool: 1, readTimeoutMs: 0 })
  await migrate(db)
  await seed(db)
  await createClient(db, { id: 'bench', name: 'Bench', scopes: SCOPES, customerId: null })
  const ids = Array.from({ length: PRODUCTS }, (_, i) => FIRST_PRODUCT + i)
  await addProducts(db, ids, STOCK)
  await addPastOrders(db)
  let last = FIRST_PRODUCT + PRODUCTS
  return {
    env,
    async addProduct(stock) {
      const id = ++last
      await addProducts(db, [id], stock)
      return id
    },
    async stockOf(productId) {
      const { stock } = await db
        .selectFrom('products')
        .select('stock')
        .where('id', '=', productId)
        .executeTakeFirstOrThrow()
      return stock
    },
    async ordersOf(productId) {
      const { orders } = await db
        .selectFrom('order_items')
        .select((eb) => eb.fn.count<number>('order_id').distinct().as('orders'))
        .where('product_id', '=', productId)
        .executeTakeFirstOrThrow()
      return Number(orders)
    },
    books: () => readBooks(db, env),
    async close() {
      const { host, name } = env.database
      // The file of an embedded one goes with the run's folder.
      if (host !== undefined) await sql`drop database if exists ${sql.id(name)}`.execute(db).catch(() => {})
      await db.destroy().catch(() => {})
    },
  }
}

/** @param stock pieces of each, as they came in */
async function addProducts(db: Database, ids: readonly number[], stock: number): Promise<void> {
  const products = ids.map((id) => ({
    id,
    sku: `BENCH-${id}`,
    name: `Product ${id}`,
    price_cents: priceOf(id),
    stock,
    created_at: FIRST_STOCK_AT,
    updated_at: FIRST_STOCK_AT,
  }))
  const adjustments = ids.map((product_id) => ({
    product_id,
    delta: stock,
    reason: 'first stock',
    principal: 'bench',
    created_at: FIRST_STOCK_AT,
  }))
  await db.insertInto('products').values(products).execute()
  await db.insertInto('stock_adjustments').values(adjustments).execute()
}

/** A confirmed one a minute, which take the same number of pieces of each product. */
async function addPastOrders(db: Database): Promise<void> {
  const orders = Array.from({ length: PAST_ORDERS }, (_, i) => {
    const lines = Array.from({ length: LINES_OF_PAST_ORDER }, (_, more) =>
      pastLine(FIRST_PRODUCT + ((i + more) % PRODUCTS)),
    )
    return { id: FIRST_PAST_ORDER + i, at: addMinutes(FIRST_STOCK_AT, 1 + i), lines }
  })
  const rows = orders.map(({ id, at, lines }) => ({
    id,
    customer_id: CUSTOMER,
    status: 'CONFIRMED' as const,
    total_cents: lines.reduce((sum, line) => sum + line.subtotal_cents, 0),
    created_at: at,
    confirmed_at: at,
  }))
  const lines = orders.flatMap(({ id, lines }) => lines.map((line) => ({ order_id: id, ...line })))
  for (const some of chunksOf(rows)) await db.insertInto('orders').values(some).execute()
  for (const some of chunksOf(lines)) await db.insertInto('order_items').values(some).execute()
  await db
    .updateTable('products')
    .set((eb) => ({ stock: eb('stock', '-', (PAST_ORDERS * LINES_OF_PAST_ORDER) / PRODUCTS) }))
    .where('id', '>=', FIRST_PRODUCT)
    .execute()
  await (dialectOf(db).engine === 'mysql' ? sql`analyze table orders, order_items` : sql`analyze`).execute(db)
}

function pastLine(product_id: number) {
  return { product_id, qty: 1, unit_price_cents: priceOf(product_id), subtotal_cents: priceOf(product_id) }
}

function priceOf(productId: number): number {
  return 100 + (productId % 900)
}

function chunksOf<T>(rows: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(rows.length / ROWS_PER_INSERT) }, (_, i) =>
    rows.slice(i * ROWS_PER_INSERT, (i + 1) * ROWS_PER_INSERT),
  )
}

async function readBooks(db: Database, env: Env): Promise<Books> {
  const { counted, findings } = await auditBooks(db, { sweepSeconds: env.orders.sweepSeconds })
  const differences = findings
    .filter((finding) => finding.differences.length > 0)
    .map(({ check, differences }) => `${check}: ${JSON.stringify(differences[0])} and ${differences.length - 1} more`)
  return { orders: counted.orders, differences }
}

import { sql } from 'kysely'
import { type Env, parseEnv } from '../src/compose/env.ts'
import { addMinutes } from '../src/platform/core/time.ts'
import { chunks } from '../src/platform/database/bulk-insert.ts'
import { dialectOf } from '../src/platform/database/dialect.ts'
import type { Database } from '../src/platform/database/types.ts'
import {
  addClient,
  addProducts,
  createDatabase,
  dropDatabase,
  FIRST_STOCK_AT,
  readBooks,
  summarizeDifferences,
} from '../testing/fixture.ts'

/** The database of one system: the demo data, products for the load, and past orders. */
export interface BenchDatabase {
  env: Env
  /** @returns the id of a new product with this stock */
  addProduct(stock: number): Promise<number>
  stockOf(productId: number): Promise<number>
  /** How many orders have a line of this product. */
  ordersOf(productId: number): Promise<number>
  books(): Promise<Books>
  close(): Promise<void>
}

export interface Books {
  orders: number
  /** What the audit finds wrong. */
  differences: string[]
}

/** The stock of each product: more than any run sells. */
const STOCK = 1_000_000_000
export const PRODUCTS = 1_000
export const FIRST_PRODUCT = 1_001
export const CUSTOMER = 1
/** The API client that the callers are. */
export const CLIENT = 'bench'
/**
 * Enough that every list is long and its index worth using: with short lists, a fast system would list more rows than a
 * slow one, and pay for its own speed.
 */
const PAST_ORDERS = 10_000
const FIRST_PAST_ORDER = 1_001
const LINES_OF_PAST_ORDER = 2
const ROWS_PER_INSERT = 5_000
const NEVER = '2099-01-01 00:00:00.000'

/** @param writesEvents whether the system does: of one that does not, the audit asks for none */
export async function openBenchDatabase(
  variables: Record<string, string>,
  { writesEvents }: { writesEvents: boolean },
): Promise<BenchDatabase> {
  const env = parseEnv(variables)
  const db = await createDatabase({ ...env.database, pool: 1, readTimeoutMs: 0 }, { seeded: true })
  await addClient(db, CLIENT)
  const ids = Array.from({ length: PRODUCTS }, (_, i) => FIRST_PRODUCT + i)
  await addProducts(db, ids, { stock: STOCK, priceOf })
  await addPastOrders(db)
  if (!writesEvents) await db.updateTable('event_feed').set({ started_at: NEVER }).execute()
  let last = FIRST_PRODUCT + PRODUCTS
  return {
    env,
    async addProduct(stock) {
      const id = ++last
      await addProducts(db, [id], { stock, priceOf })
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
    async books() {
      const { orders, differences } = await readBooks(db, env)
      return { orders, differences: summarizeDifferences(differences) }
    },
    async close() {
      await db.destroy().catch(() => {})
      await dropDatabase(env.database).catch(() => {})
    },
  }
}

/** One confirmed order a minute. Together they take the same quantity of each product. */
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
  for (const some of chunks(rows, ROWS_PER_INSERT)) await db.insertInto('orders').values(some).execute()
  for (const some of chunks(lines, ROWS_PER_INSERT)) await db.insertInto('order_items').values(some).execute()
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

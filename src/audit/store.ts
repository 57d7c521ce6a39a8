import { type RawBuilder, sql } from 'kysely'
import { addMinutes } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import type { Database } from '../platform/database/types.ts'

/** One error in the books: its subject, and the figures that disagree. */
export type Difference = Record<string, string | number | null>

/** Finds errors in the books. Each query is one statement, so it sees one moment even while orders are placed. */
type Query = RawBuilder<Difference>

/**
 * Casts a sum to an integer. Sums are decimals in MySQL, and the driver returns decimals as text. SQLite ignores the
 * cast and keeps the integer.
 */
function whole(sum: RawBuilder<unknown>): RawBuilder<number> {
  return sql<number>`cast(${sum} as signed)`
}

export function wrongStock(): Query {
  return sql`
    select p.id as product_id, p.stock, ${whole(sql`coalesce(a.adjusted, 0) - coalesce(t.taken, 0)`)} as expected
    from products p
    left join (
      select product_id, sum(delta) as adjusted from stock_adjustments group by product_id
    ) a on a.product_id = p.id
    left join (
      select i.product_id, sum(i.qty) as taken
      from order_items i join orders o on o.id = i.order_id
      where o.status <> 'CANCELED'
      group by i.product_id
    ) t on t.product_id = p.id
    where p.stock <> coalesce(a.adjusted, 0) - coalesce(t.taken, 0)
    order by p.id`
}

export function wrongLines(): Query {
  return sql`
    select order_id, product_id, subtotal_cents, qty * unit_price_cents as expected
    from order_items
    where subtotal_cents <> qty * unit_price_cents
    order by id`
}

export function wrongTotals(): Query {
  return sql`
    select o.id as order_id, o.total_cents, ${whole(sql`s.total`)} as expected
    from orders o
    left join (select order_id, sum(subtotal_cents) as total from order_items group by order_id) s on s.order_id = o.id
    where s.total is null or s.total <> o.total_cents
    order by o.id`
}

export function wrongStates(): Query {
  return sql`
    select id as order_id, status, created_at, confirmed_at, canceled_at, expires_at
    from orders
    where not (
      (status = 'CREATED' and confirmed_at is null and canceled_at is null and expires_at is not null)
      or (status = 'CONFIRMED' and confirmed_at is not null and canceled_at is null and expires_at is null)
      or (status = 'CANCELED' and canceled_at is not null)
    )
    or confirmed_at < created_at
    or canceled_at < coalesce(confirmed_at, created_at)
    order by id`
}

/** PO numbers that nothing holds, and those that several live orders have although only one may. */
export function wrongPoNumbers(): Query {
  return sql`
    select min(id) as order_id, customer_id, min(po_number) as po_number, count(*) as live_orders
    from orders
    where live_po is not null and po_slot = 0
    group by customer_id, live_po
    having count(*) > 1
    union all
    select id as order_id, customer_id, po_number, 0 as live_orders
    from orders
    where po_number is not null and (po_key is null or po_slot is null)
    order by order_id`
}

export function wrongPlacementKeys(): Query {
  return sql`
    select k.target_id as order_id, count(*) as placed_by_keys, max(o.status) as status
    from idempotency_keys k left join orders o on o.id = k.target_id
    where k.operation = 'orders.place'
    group by k.target_id
    having count(*) > 1 or max(o.id) is null
    order by k.target_id`
}

export function wrongConfirmationKeys(): Query {
  return sql`
    select k.target_id as order_id, o.status, o.confirmed_at
    from idempotency_keys k left join orders o on o.id = k.target_id
    where k.operation = 'orders.confirm' and o.confirmed_at is null
    order by k.target_id`
}

/** @param endedBefore holds that ended before this time should be released by now */
export function overdueHolds(endedBefore: string): Query {
  return sql`
    select id as order_id, customer_id, expires_at
    from orders
    where status = 'CREATED' and expires_at < ${endedBefore}
    order by expires_at`
}

export async function findDifferences(db: Database, query: Query, most: number): Promise<Difference[]> {
  const { rows } = await sql<Difference>`${query} limit ${sql.lit(most)}`.execute(db)
  return rows
}

/** The database's time `minutes` ago. */
export async function clockBefore(db: Database, minutes: number): Promise<string> {
  return addMinutes(await readClock(db), -minutes)
}

export async function countBooks(db: Database): Promise<{ products: number; orders: number; keys: number }> {
  const count = async (table: 'products' | 'orders' | 'idempotency_keys') => {
    const row = await db
      .selectFrom(table)
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .executeTakeFirstOrThrow()
    return Number(row.n)
  }
  return { products: await count('products'), orders: await count('orders'), keys: await count('idempotency_keys') }
}

/** A product's stock, and the two sums that explain it: `stock` is `adjusted` minus `taken`. */
export interface StockAccount {
  product_id: number
  sku: string
  name: string
  stock: number
  /** The sum of all adjustments. */
  adjusted: number
  adjustments: number
  /** The sum of the quantities of live orders. */
  taken: number
  live_orders: number
}

/** Uses one statement, so that all figures are of one moment. */
export async function findStockAccount(db: Database, productId: number): Promise<StockAccount | undefined> {
  const { rows } = await sql<StockAccount>`
    select p.id as product_id, p.sku, p.name, p.stock,
      ${whole(sql`coalesce(a.adjusted, 0)`)} as adjusted, a.adjustments,
      ${whole(sql`coalesce(t.taken, 0)`)} as taken, t.live_orders
    from products p
    cross join (
      select sum(delta) as adjusted, count(*) as adjustments from stock_adjustments where product_id = ${productId}
    ) a
    cross join (
      select sum(i.qty) as taken, count(distinct i.order_id) as live_orders
      from order_items i join orders o on o.id = i.order_id
      where i.product_id = ${productId} and o.status <> 'CANCELED'
    ) t
    where p.id = ${productId}`.execute(db)
  return rows[0]
}

/** The newest adjustments of a product. */
export function findAdjustments(db: Database, productId: number, limit: number) {
  return db
    .selectFrom('stock_adjustments')
    .select(['id', 'delta', 'reason', 'principal', 'created_at'])
    .where('product_id', '=', productId)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
}

/** The newest lines of a product in live orders. */
export function findLiveLines(db: Database, productId: number, limit: number) {
  return db
    .selectFrom('order_items as i')
    .innerJoin('orders as o', 'o.id', 'i.order_id')
    .select(['i.order_id', 'i.qty', 'o.status', 'o.created_at'])
    .where('i.product_id', '=', productId)
    .where('o.status', '<>', 'CANCELED')
    .orderBy('i.id', 'desc')
    .limit(limit)
    .execute()
}

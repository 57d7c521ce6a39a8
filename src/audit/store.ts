import { type RawBuilder, sql } from 'kysely'
import { type DbTime, toRfc3339 } from '../platform/core/time.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Database } from '../platform/database/types.ts'

/** One error in the books: its subject, and the figures that disagree. */
export type Difference = Record<string, string | number | null>

/** Finds errors in the books. Each query is one statement, so it sees one moment even while orders are placed. */
export type Query = RawBuilder<Difference>

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

// Events are many and long. What is asked of each of them is asked of an index where that is possible; an event that has to be
// read is read once.

/** Orders placed since a time without `order.placed` at version 1, and orders that have it twice. */
export function wrongPlacedEvents(since: DbTime): Query {
  return sql`
    select o.id as order_id, o.version, o.created_at, 0 as placed
    from orders o
    left join events e on e.resource_type = 'order' and e.resource_id = o.id
      and e.resource_version = 1 and e.type = 'order.placed'
    where o.created_at >= ${since} and e.id is null and not exists (
      select 1 from events b
      where b.resource_type = 'order' and b.resource_id = o.id and b.type = 'order.placed' and b.reason = 'backfilled'
    )
    union all
    select resource_id as order_id, max(resource_version) as version, null as created_at, count(*) as placed
    from events
    where resource_type = 'order' and type = 'order.placed'
    group by resource_id
    having count(*) > 1
    order by order_id`
}

/**
 * Orders whose events are not one for each version, from their first event on, and customers made since a time of which that
 * is so.
 */
export function wrongEventVersions(since: DbTime): Query {
  return sql`
    ${wrongVersionsOf('order', 'orders')}
    union all
    ${wrongVersionsOf('customer', 'customers')} and r.created_at >= ${since}
    order by resource_id`
}

function wrongVersionsOf(type: string, table: string): RawBuilder<unknown> {
  return sql`
    select ${sql.lit(type)} as resource, e.resource_id, r.version, e.first_version, e.last_version, e.events
    from (
      select resource_id, count(*) as events, count(distinct resource_version) as versions,
        min(resource_version) as first_version, max(resource_version) as last_version
      from events
      where resource_type = ${sql.lit(type)}
      group by resource_id
    ) e
    left join ${sql.table(table)} r on r.id = e.resource_id
    where (
      e.events <> e.versions or e.events <> e.last_version - e.first_version + 1 or e.last_version <> r.version
    )`
}

/**
 * Orders of which the last event tells another state, and those of before that were changed since a time without an event.
 * The state is read where readers read it: a type alone does not tell whether an order was placed as confirmed.
 */
export function wrongEventStates(db: Database, since: DbTime): Query {
  const told = (name: string) => dialectOf(db).jsonText(sql.ref('e.data'), `$.order.${name}`)
  const differs = (name: string) => sql`coalesce(${told(name)}, '') <> o.${sql.ref(name)}`
  const differing = ['status', 'total_cents', 'version', 'id'].map(differs)
  return sql`
    select o.id as order_id, o.version, e.type, o.status, ${told('status')} as told_status,
      o.total_cents, ${told('total_cents')} as told_total_cents
    from orders o
    join events e on e.resource_type = 'order' and e.resource_id = o.id and e.resource_version = o.version
    where ${sql.join(differing, sql` or `)}
      or (e.type = 'order.confirmed' and o.status <> 'CONFIRMED') or (e.type = 'order.canceled' and o.status <> 'CANCELED')
    union all
    select o.id, o.version, null, o.status, null, o.total_cents, null
    from orders o
    where o.created_at < ${since} and (o.confirmed_at >= ${since} or o.canceled_at >= ${since}) and not exists (
      select 1 from events e where e.resource_type = 'order' and e.resource_id = o.id
    )
    order by order_id`
}

/** Events of orders that are there for other customers than the order's: bound clients would see them. */
export function wrongEventCustomers(db: Database): Query {
  return sql`
    select e.id as event_id, e.type, o.id as order_id, o.customer_id, e.customer_id as told_customer_id
    from events e ${dialectOf(db).byPrimaryKey}
    join orders o on o.id = e.resource_id
    where e.resource_type = 'order' and (e.customer_id is null or e.customer_id <> o.customer_id)
    order by e.id`
}

/** Events of orders that are not there. The events of archived orders stay; none of those orders is as young as this. */
export function wrongEventOrders(db: Database, youngestArchived: DbTime): Query {
  const created = dialectOf(db).jsonText(sql.ref('e.data'), '$.order.created_at')
  return sql`
    select e.id as event_id, e.type, e.resource_id as order_id, e.occurred_at
    from events i
    left join orders o on o.id = i.resource_id
    join events e on e.id = i.id
    where i.resource_type = 'order' and o.id is null and ${created} >= ${toRfc3339(youngestArchived)}
    order by e.id`
}

/** Events that come in the feed before the event of an earlier version. One that was added afterwards comes at the end. */
export function wrongEventOrder(): Query {
  return sql`
    select e.resource_id as order_id, e.resource_version as version, e.position, l.position as later_version_at
    from events e
    join events l on l.resource_type = 'order' and l.resource_id = e.resource_id
      and l.resource_version = e.resource_version + 1
    where e.resource_type = 'order' and l.resource_version > 1 and l.position > 0
      and coalesce(e.reason, '') <> 'backfilled' and (e.position = 0 or l.position < e.position)
    order by e.resource_id, e.resource_version`
}

/**
 * The positions after which there is a gap or that several events have, and the last one where the feed's own count is
 * another.
 */
export function wrongPositions(): Query {
  return sql`
    select e.position, e.events, f.position as last_position
    from (select position, count(*) as events from events where position > 0 group by position) e
    cross join event_feed f
    where e.events > 1
      or (e.position <> f.position and not exists (select 1 from events n where n.position = e.position + 1))
    order by e.position`
}

/** @param committedBefore events from before this time should have a position by now */
export function lateEvents(committedBefore: DbTime): Query {
  return sql`
    select id as event_id, type, resource_type, resource_id, occurred_at
    from events
    where position = 0 and occurred_at < ${committedBefore}
    order by id`
}

/**
 * Entries of the ledger since a time that no event tells, and events of entries that are not there. A first stock is told by
 * `product.created`; archived orders are no change of stock.
 */
export function wrongStockEvents(db: Database, since: DbTime): Query {
  const told = (name: string) => whole(dialectOf(db).jsonText(sql.ref('e.data'), `$.${name}`))
  return sql`
    select product_id, adjustment_id, ${whole(sql`sum(booked)`)} as booked, ${whole(sql`sum(events)`)} as events,
      ${whole(sql`sum(delta)`)} as excess
    from (
      select a.product_id, case when ${IS_FIRST_STOCK} then 0 else a.id end as adjustment_id, 1 as booked, 0 as events, a.delta
      from stock_adjustments a join products p on p.id = a.product_id
      where a.created_at >= ${since} and a.principal <> 'purge'
      union all
      select e.resource_id, ${told('adjustment.id')}, 0, 1, -${told('adjustment.delta')}
      from events e
      where e.resource_type = 'product' and e.type = 'product.stock_adjusted' and e.occurred_at >= ${since}
      union all
      select e.resource_id, 0, 0, 1, -${told('product.stock')}
      from events e
      where e.resource_type = 'product' and e.type = 'product.created' and e.occurred_at >= ${since}
        and ${told('product.stock')} > 0
    ) entries
    group by product_id, adjustment_id
    having sum(booked) <> 1 or sum(events) <> 1 or sum(delta) <> 0
    order by product_id, adjustment_id`
}

const IS_FIRST_STOCK = sql`a.reason = 'initial stock' and a.created_at = p.created_at`

/** Keeps what an audit found in place of what the one before found. */
export async function replaceLastAudit(
  trx: Database,
  found: { balanced: boolean; differences: number },
): Promise<void> {
  const { balanced, differences } = found
  await trx.deleteFrom('last_audit').where('id', '=', 1).execute()
  await trx
    .insertInto('last_audit')
    .values({ id: 1, checked_at: dialectOf(trx).now, balanced: balanced ? 1 : 0, differences })
    .execute()
}

export async function findDifferences(db: Database, query: Query, most: number): Promise<Difference[]> {
  const { rows } = await sql<Difference>`${query} limit ${sql.lit(most)}`.execute(db)
  return rows
}

export async function countBooks(
  db: Database,
): Promise<{ products: number; orders: number; keys: number; events: number }> {
  const count = async (table: 'products' | 'orders' | 'idempotency_keys' | 'events') => {
    const row = await db
      .selectFrom(table)
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .executeTakeFirstOrThrow()
    return Number(row.n)
  }
  return {
    products: await count('products'),
    orders: await count('orders'),
    keys: await count('idempotency_keys'),
    events: await count('events'),
  }
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

import { type RawBuilder, sql } from 'kysely'
import { fromRfc3339 } from '../src/platform/core/time.ts'
import { dialectOf } from '../src/platform/database/dialect.ts'
import type { Database } from '../src/platform/database/types.ts'

// Thousands and millions of rows, one statement a table: the database derives the rows from their numbers.

/** Orders of one import, all with the same time. */
export const IMPORTED = 1_000

const HOUR_MS = 3_600_000
const SPAN_MS = 300 * 24 * HOUR_MS
/** Orders of one transaction, which share its time. */
const PLACED_TOGETHER = 8

/** Integers from 0, as column `i` of table `n`. */
function numbers(count: number): RawBuilder<unknown> {
  const places = Array.from(String(count - 1), (_, place) => ({ table: sql.ref(`d${place}`), worth: 10 ** place }))
  const digits = sql`(select 0 as digit union all ${sql.join(
    Array.from({ length: 9 }, (_, i) => sql`select ${sql.lit(i + 1)}`),
    sql` union all `,
  )})`
  const sum = places.map(({ table, worth }) => sql`${table}.digit * ${sql.lit(worth)}`)
  const tables = places.toReversed().map(({ table }) => sql`${digits} ${table}`)
  return sql`(select * from (select ${sql.join(sum, sql` + `)} as i from ${sql.join(tables, sql` cross join `)}) every_number
    where i < ${sql.lit(count)}) n`
}

/** A time plus milliseconds. */
function later(db: Database, since: string, ms: RawBuilder<unknown>): RawBuilder<unknown> {
  return dialectOf(db).engine === 'mysql'
    ? sql`timestampadd(microsecond, (${ms}) * 1000, ${since})`
    : sql`strftime('%Y-%m-%d %H:%M:%f', ${since}, ((${ms}) / 1000.0) || ' seconds')`
}

const BULK = {
  // With these, MariaDB sorts each index of an empty table once instead of inserting row by row.
  mysql: {
    before: ['set foreign_key_checks = 0, unique_checks = 0'],
    after: ['set foreign_key_checks = 1, unique_checks = 1'],
  },
  sqlite: {
    before: ['pragma foreign_keys = 0', 'pragma cache_size = -2000000'],
    after: ['pragma foreign_keys = 1', 'pragma cache_size = -2000'],
  },
}

/** Only for an otherwise empty database: constraints are off. */
async function inBulk(db: Database, statements: RawBuilder<unknown>[]): Promise<void> {
  const { before, after } = BULK[dialectOf(db).engine]
  await db.connection().execute(async (connection) => {
    const all = [...before.map((text) => sql.raw(text)), ...statements, ...after.map((text) => sql.raw(text))]
    for (const statement of all) await statement.execute(connection)
  })
}

/** Updates the statistics of the planner. */
async function analyze(db: Database, ...tables: string[]): Promise<void> {
  for (const table of tables) {
    await (dialectOf(db).engine === 'mysql'
      ? sql`analyze table ${sql.table(table)}`
      : sql`analyze ${sql.table(table)}`
    ).execute(db)
  }
}

/** The words of customer `i`: `Given7 Family12 GmbH`, `u12345@dom77.com`. A few names are common, as in real data. */
const CUSTOMER_WORDS = {
  given: sql`concat('given', (i * 7919) % 211)`,
  family: sql`concat('family', (i * 104729) % 5003)`,
  form: sql`case when i % 3 = 0 then 'gmbh' else 'corp' end`,
  user: sql`concat('u', i)`,
  domain: sql`concat('dom', (i * 7907) % 1009)`,
  land: sql`'com'`,
}

/** Customers 1 to `count`, with their words. */
export async function makeCustomers(db: Database, count: number): Promise<void> {
  const { given, family, form, user, domain, land } = CUSTOMER_WORDS
  const name = sql`concat(${given}, ' ', ${family}, ' ', ${form})`
  const email = sql`concat(${user}, '@', ${domain}, '.', ${land})`
  const words = Object.values(CUSTOMER_WORDS).map((word) => sql`select ${word} as word, i + 1 from ${numbers(count)}`)
  await inBulk(db, [
    sql`insert into customers (id, name, email, email_key, created_at, updated_at)
      select i + 1, ${name}, ${email}, ${email}, '2026-01-01 00:00:00.000', '2026-01-01 00:00:00.000' from ${numbers(count)}`,
    sql`insert into customer_words (word, customer_id) ${sql.join(words, sql` union all `)}`,
  ])
  await analyze(db, 'customers', 'customer_words')
}

/** Products 1 to `count`, with their words: `Part 12 blue`, SKU `K-12`. */
export async function makeProducts(db: Database, count: number): Promise<void> {
  const colour = sql`case i % 3 when 0 then 'blue' when 1 then 'black' else 'red' end`
  const words = [sql`'part'`, sql`concat('', i)`, colour, sql`'k'`]
  await inBulk(db, [
    sql`insert into products (id, sku, name, price_cents, stock, created_at, updated_at)
      select i + 1, concat('K-', i), concat('Part ', i, ' ', ${colour}), 100, 0, '2026-01-01 00:00:00.000', '2026-01-01 00:00:00.000'
      from ${numbers(count)}`,
    sql`insert into product_words (word, product_id)
      ${sql.join(
        words.map((word) => sql`select ${word} as word, i + 1 from ${numbers(count)}`),
        sql` union all `,
      )}`,
  ])
  await analyze(db, 'products', 'product_words')
}

/** The events of the orders that {@link makeOrders} made: one or two of each, in the order of the orders. */
export async function makeOrderEvents(db: Database): Promise<void> {
  const pad = 'x'.repeat(600)
  const told = (
    status: RawBuilder<unknown>,
    version: number,
  ) => sql`concat('{"order":{"id":', id, ',"status":"', ${status},
    '","total_cents":', total_cents, ',"notes":"', ${pad}, '","version":', ${sql.lit(version)}, '}}')`
  const columns = sql.raw(
    'id, position, type, resource_type, resource_id, resource_version, customer_id, actor, data, occurred_at',
  )
  const count = sql`(select count(*) from orders)`
  const end = sql`case when status = 'CANCELED' then 'order.canceled' else 'order.confirmed' end`
  await inBulk(db, [
    sql`update orders set version = 2 where status <> 'CREATED'`,
    sql`insert into events (${columns})
      select id, id, 'order.placed', 'order', id, 1, customer_id, 'client:many', ${told(sql`'CREATED'`, 1)}, created_at
      from orders`,
    sql`insert into events (${columns})
      select ${count} + row_number() over (order by id), ${count} + row_number() over (order by id), ${end}, 'order', id, 2,
        customer_id, 'client:many', ${told(sql`status`, 2)}, created_at
      from orders where version = 2`,
    sql`update event_feed set position = (select max(position) from events),
      started_at = (select min(created_at) from orders)`,
  ])
  await analyze(db, 'events', 'orders')
}

export interface ManyOrders {
  count: number
  /** Ids 1 to this number. A few customers have most of the orders, the last ones hardly any. */
  customers: number
}

/**
 * Orders 1 to `count` without lines, over the 300 days up to now. Of 50, one is CREATED with a lasting hold, and five are
 * CANCELED. Their ids do not follow their times exactly, and the first ones are an import.
 */
export async function makeOrders(db: Database, { count, customers }: ManyOrders): Promise<void> {
  const since = fromRfc3339(new Date(Date.now() - SPAN_MS).toISOString())
  const moment = sql`case when i < ${sql.lit(IMPORTED)} then 0 else i - i % ${sql.lit(PLACED_TOGETHER)} end`
  const spacingMs = Math.max(1, Math.floor((SPAN_MS - HOUR_MS) / count))
  const createdMs = sql`(${moment}) * ${sql.lit(spacingMs)} + ((i - i % ${sql.lit(PLACED_TOGETHER)}) % 3) * 40`
  const at = (ms: number) => later(db, since, sql`${createdMs} + ${sql.lit(ms)}`)
  const share = sql`(((i * 7919) % 10007) / 10007.0)`
  const state = (created: RawBuilder<unknown>, canceled: RawBuilder<unknown>, confirmed: RawBuilder<unknown>) =>
    sql`case when i % 50 = 7 then ${created} when i % 10 = 3 then ${canceled} else ${confirmed} end`
  await inBulk(db, [
    sql`insert into orders (id, customer_id, status, total_cents, created_at, confirmed_at, canceled_at, expires_at)
      select i + 1, 1 + floor(${sql.lit(customers)} * ${share} * ${share} * ${share}),
        ${state(sql`'CREATED'`, sql`'CANCELED'`, sql`'CONFIRMED'`)}, 100, ${at(0)},
        ${state(sql`null`, sql`null`, at(1_000))}, ${state(sql`null`, at(2_000), sql`null`)},
        ${state(at(2 * SPAN_MS), at(HOUR_MS), sql`null`)}
      from ${numbers(count)}`,
  ])
  await analyze(db, 'orders')
}

export interface ManyEvents {
  count: number
  /** Ids 1 to this number; customer 1 has nearly all orders, the last one hardly any. */
  customers: number
  /** The newest ones, that have no position yet. */
  unnumbered?: number
}

/** The product that every tenth event is about. */
export const BUSY_PRODUCT = 1

/** As large as that of an order with three lines. */
const EVENT_DATA = `{"order":{"items":"${'x'.repeat(800)}"}}`

/**
 * Events 1 to `count`, with positions: orders are placed and confirmed, a product is counted, and of a thousand events one is
 * about a customer.
 */
export async function makeEvents(db: Database, { count, customers, unnumbered = 0 }: ManyEvents): Promise<void> {
  const kind = (customer: RawBuilder<unknown>, product: RawBuilder<unknown>, order: RawBuilder<unknown>) =>
    sql`case when i % 1000 = 5 then ${customer} when i % 10 = 9 then ${product} else ${order} end`
  const owner = sql`1 + floor(${sql.lit(customers)} * ((((i - i % 2) * 7919) % 10007) / 10007.0) *
    ((((i - i % 2) * 7919) % 10007) / 10007.0) * ((((i - i % 2) * 7919) % 10007) / 10007.0))`
  const numbered = count - unnumbered
  await inBulk(db, [
    sql`insert into events (id, position, type, resource_type, resource_id, resource_version, customer_id, actor,
        correlation_id, traceparent, reason, data, occurred_at)
      select i + 1, case when i < ${sql.lit(numbered)} then i + 1 else 0 end,
        ${kind(sql`'customer.updated'`, sql`'product.stock_adjusted'`, sql`case when i % 2 = 0 then 'order.placed' else 'order.confirmed' end`)},
        ${kind(sql`'customer'`, sql`'product'`, sql`'order'`)},
        ${kind(owner, sql.lit(BUSY_PRODUCT), sql`1 + (i - i % 2) / 2`)},
        ${kind(sql`i`, sql`i`, sql`1 + i % 2`)},
        ${kind(owner, sql`null`, owner)},
        'client:demo', 'c0ffee00-0000-4000-8000-000000000000', null, null, ${EVENT_DATA}, ${fromRfc3339(new Date().toISOString())}
      from ${numbers(count)}`,
    sql`update event_feed set position = ${sql.lit(numbered)} where id = 1`,
  ])
  await analyze(db, 'events')
}

/** Which deliveries {@link makeDeliveries} makes for endpoint 1. The others have a few each. */
export const BUSY_ENDPOINT = {
  /** Of orders, each of its own, due. */
  due: 10_000,
  /** Of product 1: all but the first wait. */
  waiting: 4_000,
  /** Every tenth of them failed. */
  ended: 6_000,
}

/** Webhook endpoints 1 to `count`, of which every fifth is deleted and every seventh is a customer's, with deliveries. */
export async function makeDeliveries(db: Database, count: number): Promise<void> {
  const { due, waiting, ended } = BUSY_ENDPOINT
  const since = '2026-01-01 00:00:00.000'
  const at = (ms: RawBuilder<unknown>) => later(db, since, ms)
  const columns = sql`insert into webhook_deliveries (endpoint_id, event_id, event_type, position, resource_type, resource_id,
    status, tries, next_attempt_at, created_at, finished_at)`
  await inBulk(db, [
    sql`insert into webhook_endpoints (id, url, event_types, customer_id, status, secret, ${sql.ref('cursor')}, enabled_at,
      created_at, updated_at)
      select i + 1, 'https://hooks.example/', '["*"]', case when i % 7 = 6 then i + 1 end,
        case when i % 5 = 4 then 'deleted' else 'enabled' end, 'v1.current.', 0, ${since}, ${since}, ${since}
      from ${numbers(count)}`,
    sql`${columns} select 1, i + 1, 'order.placed', i + 1, 'order', i + 1, 'pending', 0, ${at(sql`i`)}, ${at(sql`i`)}, null
      from ${numbers(due)}`,
    sql`${columns} select 1, i + 100001, 'product.updated', i + 100001, 'product', 1, 'pending', 0,
      case when i = 0 then ${at(sql`i`)} end, ${at(sql`i`)}, null
      from ${numbers(waiting)}`,
    sql`${columns} select 1, i + 200001, 'order.placed', i + 200001, 'order', i + 200001,
      case when i % 10 = 0 then 'failed' else 'succeeded' end, 1, null, ${at(sql`i`)}, ${at(sql`i`)}
      from ${numbers(ended)}`,
    sql`${columns} select 2 + i % ${sql.lit(count - 1)}, i + 300001, 'order.placed', i + 300001, 'order', i + 1, 'succeeded', 1,
      null, ${at(sql`i`)}, ${at(sql`i`)}
      from ${numbers(5 * count)}`,
    sql`insert into webhook_attempts (delivery_id, attempted_at, status, duration_ms, excerpt)
      select id, created_at, 200, 1, '' from webhook_deliveries where status <> 'pending'`,
  ])
  await analyze(db, 'webhook_endpoints', 'webhook_deliveries', 'webhook_attempts')
}

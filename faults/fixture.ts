import { sql } from 'kysely'
import { type Env, parseEnv } from '../src/compose/env.ts'
import { DATA_TABLES } from '../src/compose/schema.ts'
import { addMinutes } from '../src/platform/core/time.ts'
import { readClock } from '../src/platform/database/clock.ts'
import type { DatabaseConfig } from '../src/platform/database/config.ts'
import { openDatabase } from '../src/platform/database/open.ts'
import type { Database } from '../src/platform/database/types.ts'
import {
  addClient,
  addProducts,
  createDatabase,
  dropDatabase,
  readBooks,
  summarizeDifferences,
} from '../testing/fixture.ts'
import type { FinalState, StoredOrder } from './checker.ts'

/** The database of a run. It is reached directly, not through a proxy. */
export interface Fixture {
  env: Env
  customers: readonly number[]
  /** Products that never sell out. */
  plenty: readonly number[]
  /** Products that sell out, so that some orders are refused. */
  scarce: readonly number[]
  /**
   * Products that mark orders: each order has a line of one of them, whose quantity is the number of its operation. It
   * shows whose an order is without the system's own records.
   */
  marks: readonly number[]
  /** The one database, or each node of a cluster. */
  copies: readonly Copy[]
  close(): Promise<void>
}

export interface Copy {
  finalState(): Promise<FinalState>
  /** What the audit finds wrong. */
  differences(): Promise<string[]>
  /** Holds that the last sweep should have released, in words. */
  heldTooLong(): Promise<string[]>
  /** A checksum of each table: equal on servers with equal rows. */
  checksums(): Promise<string>
}

/** The API client that the callers are. */
export const CLIENT = 'faults'
const FIRST_PRODUCT = 1_001
const PLENTY = { count: 40, stock: 1_000_000 }
const SCARCE = { count: 8, stock: 60 }
const MARKS = { count: 4, stock: 900_000_000_000 }
/** The demo data's own orders. */
const SEEDED_ORDERS = 4
/** The prefix of the reasons of a run's stock adjustments. */
export const REASON = 'faults '

/** @param ports of the nodes of a cluster */
export async function openFixture(variables: Record<string, string>, ports: readonly number[] = []): Promise<Fixture> {
  const env = parseEnv(variables)
  const db = await createDatabase({ ...env.database, ...READING }, { seeded: true })
  await addClient(db, CLIENT)
  const plenty = idsFrom(FIRST_PRODUCT, PLENTY.count)
  const scarce = idsFrom(FIRST_PRODUCT + PLENTY.count, SCARCE.count)
  const marks = idsFrom(FIRST_PRODUCT + PLENTY.count + SCARCE.count, MARKS.count)
  await addProducts(db, plenty, { stock: PLENTY.stock, priceOf: (id) => 100 + (id % 900) })
  await addProducts(db, scarce, { stock: SCARCE.stock, priceOf: (id) => 5_000 + id })
  await addProducts(db, marks, { stock: MARKS.stock, priceOf: () => 1 })
  await db.destroy()
  const { port: own } = env.database
  return {
    env,
    customers: [1, 2, 3],
    plenty,
    scarce,
    marks,
    copies: (ports.length > 0 ? ports : [own]).map((port) => copyAt({ ...env.database, port }, marks, env)),
    close: () => dropDatabase(env.database),
  }
}

function copyAt(config: DatabaseConfig, marks: readonly number[], env: Env): Copy {
  return {
    finalState: () => reading(config, (db) => readFinalState(db, marks)),
    differences: () => reading(config, (db) => readDifferences(db, env)),
    heldTooLong: () => reading(config, (db) => readHeldTooLong(db, env)),
    checksums: () => reading(config, readChecksums),
  }
}

const READING = { pool: 1, queryTimeoutMs: 0, readTimeoutMs: 0 }

/** Over a new connection: an old one would not survive the restarts of the database. */
async function reading<T>(config: DatabaseConfig, read: (db: Database) => Promise<T>): Promise<T> {
  const db = await openDatabase({ ...config, ...READING })
  return read(db).finally(() => db.destroy())
}

/** MariaDB's `checksum table` differs for equal rows where a table has a generated column. */
async function readChecksums(db: Database): Promise<string> {
  const sums = []
  for (const table of DATA_TABLES) {
    const { rows: columns } = await sql<{ name: string }>`
      select column_name as name from information_schema.columns
      where table_schema = database() and table_name = ${table} order by ordinal_position`.execute(db)
    const row = sql`concat_ws('|', ${sql.join(columns.map(({ name }) => sql`quote(${sql.ref(name)})`))})`
    const { rows } = await sql`select count(*) as n, sum(crc32(${row})) as checksum from ${sql.table(table)}`.execute(
      db,
    )
    sums.push([table, rows])
  }
  return JSON.stringify(sums)
}

function idsFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i)
}

async function readFinalState(db: Database, marks: readonly number[]): Promise<FinalState> {
  const orders = await db
    .selectFrom('orders as o')
    .leftJoin('order_items as i', (join) => join.onRef('i.order_id', '=', 'o.id').on('i.product_id', 'in', marks))
    .select(['o.id', 'i.qty', 'o.status', 'o.confirmed_at', 'o.total_cents', 'o.customer_id', 'o.po_number'])
    .where('o.id', '>', SEEDED_ORDERS)
    .execute()
  const adjustments = await db
    .selectFrom('stock_adjustments')
    .select(['id', 'reason'])
    .where('reason', 'like', `${REASON}%`)
    .execute()
  const customers = await db.selectFrom('customers').select(['id', 'email']).execute()
  const products = await db.selectFrom('products').select(['id', 'sku']).execute()
  const events = await db
    .selectFrom('events')
    .select(['id', 'position', 'type', 'resource_type', 'resource_id', 'resource_version'])
    .where('position', '>', 0)
    .orderBy('position')
    .execute()
  return {
    events: events.map(({ id, position, type, resource_type, resource_id, resource_version }) => {
      const resource = { type: resource_type, id: resource_id, version: resource_version }
      return { id: `evt_${id}`, position, type, resource }
    }),
    orders: orders.map(({ id, qty, status, confirmed_at, total_cents, customer_id, po_number }): StoredOrder => {
      const placed = { totalCents: total_cents, customerId: customer_id, poNumber: po_number }
      return { id, serial: qty ?? undefined, status, wasConfirmed: confirmed_at !== null, ...placed }
    }),
    others: [
      ...adjustments.map(({ id, reason }) => ({ id, name: reason })),
      ...customers.map(({ id, email }) => ({ id, name: email })),
      ...products.map(({ id, sku }) => ({ id, name: sku })),
    ],
  }
}

async function readDifferences(db: Database, env: Env): Promise<string[]> {
  const { differences } = await readBooks(db, env)
  return summarizeDifferences(differences).map((difference) => `the books differ: ${difference}`)
}

async function readHeldTooLong(db: Database, { orders }: Env): Promise<string[]> {
  const now = await readClock(db)
  const rows = await db
    .selectFrom('orders')
    .select(['id', 'expires_at'])
    .where('status', '=', 'CREATED')
    .where('expires_at', '<', addMinutes(now, -(orders.sweepSeconds + 1) / 60))
    .execute()
  return rows.map(({ id, expires_at }) => `order ${id} is held, and its hold ended at ${expires_at}; it is ${now}`)
}

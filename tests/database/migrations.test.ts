import { readdirSync, readFileSync } from 'node:fs'
import { sql } from 'kysely'
import { expect, it, onTestFinished } from 'vitest'
import { seed } from '../../src/compose/demo-data.ts'
import { parseEnv } from '../../src/compose/env.ts'
import { migrate, pendingMigrations } from '../../src/compose/schema.ts'
import { searchCustomers } from '../../src/customers/store.ts'
import { readClock } from '../../src/platform/database/clock.ts'
import { dialectOf } from '../../src/platform/database/dialect.ts'
import { statementsOf } from '../../src/platform/database/migrations.ts'
import { ensureDatabase, openDatabase } from '../../src/platform/database/open.ts'
import { tokenize } from '../../src/platform/database/tokenize.ts'
import type { Database } from '../../src/platform/database/types.ts'
import { searchProducts } from '../../src/products/store.ts'
import type { Variables } from '../../testing/fixture.ts'
import { freshDatabase, runProgram } from '../../testing/programs.ts'
import { createTestDatabase, describeEachEngine } from '../../testing/system.ts'

const FOLDER = new URL('../../db/migrations/', import.meta.url)
const MIGRATIONS = Array.from(
  readdirSync(FOLDER)
    .join('\n')
    .matchAll(/^(.*)\.mysql\.sql$/gm),
  ([, name = '']) => name,
).sort()

/** The migration that folds letters in stored words. */
const FOLD_WORDS = '0003_fold_words'
const ORDER_FIELDS = '0007_order_fields'
const EVENTS = '0008_events'

/** Whether stored words had this letter and now have plain ones. */
function isFoldedSince(letter: string): boolean {
  const wasKept = letter === letter.normalize('NFKD').toLowerCase() && /\P{ASCII}/u.test(letter)
  return wasKept && tokenize(letter).some((word) => /^[a-z]+$/.test(word))
}

/** Runs the statements of a migration without recording it. */
async function runMigration(db: Database, name: string): Promise<void> {
  const text = readFileSync(new URL(`${name}.${dialectOf(db).engine}.sql`, FOLDER), 'utf8')
  for (const statement of statementsOf(text)) await sql.raw(statement).execute(db)
}

async function openFor(variables: Variables): Promise<Database> {
  const { database } = parseEnv(variables)
  await ensureDatabase(database)
  const db = await openDatabase(database)
  onTestFinished(() => db.destroy())
  return db
}

/** Everything in the tables that the demo data fills. */
async function contents(db: Database) {
  return {
    customers: await db.selectFrom('customers').selectAll().orderBy('id').execute(),
    customerWords: await db.selectFrom('customer_words').selectAll().orderBy('customer_id').orderBy('word').execute(),
    products: await db.selectFrom('products').selectAll().orderBy('id').execute(),
    productWords: await db.selectFrom('product_words').selectAll().orderBy('product_id').orderBy('word').execute(),
    adjustments: await db.selectFrom('stock_adjustments').selectAll().orderBy('id').execute(),
    orders: await db.selectFrom('orders').selectAll().orderBy('id').execute(),
    items: await db.selectFrom('order_items').selectAll().orderBy('id').execute(),
    clients: await db.selectFrom('api_clients').selectAll().orderBy('id').execute(),
    events: await db.selectFrom('events').selectAll().orderBy('id').execute(),
    feed: await db.selectFrom('event_feed').selectAll().execute(),
  }
}

async function migrationsDone(db: Database): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db)
  return rows.map(({ name }) => name)
}

describeEachEngine('migrations', (engine) => {
  it('when an empty database is migrated twice, then each migration runs exactly once', async () => {
    const { db, drop } = await createTestDatabase(engine, { migrated: false })
    onTestFinished(drop)
    expect(await pendingMigrations(db)).toEqual(MIGRATIONS)
    expect(await migrate(db)).toEqual(MIGRATIONS)
    expect(await pendingMigrations(db)).toEqual([])
    expect(await migrate(db)).toEqual([])
    expect(await migrationsDone(db)).toEqual(MIGRATIONS)
  })

  it('when four processes migrate an empty database at once, then one of them does it', async () => {
    const variables = freshDatabase(engine)
    const runs = await Promise.all(Array.from({ length: 4 }, () => runProgram('migrate', variables)))
    expect(runs.map(({ code, stderr }) => ({ code, stderr }))).toEqual(runs.map(() => ({ code: 0, stderr: '' })))
    const messages = runs.map(({ stdout }) => stdout.trim()).sort()
    expect(messages.filter((message) => message.startsWith('Migrated'))).toHaveLength(1)
    expect(messages.filter((message) => message.endsWith('is up to date.'))).toHaveLength(3)
    expect(await migrationsDone(await openFor(variables))).toEqual(MIGRATIONS)
  })

  it('when the first migration was cut off half-way, then the next one completes it', async () => {
    const { db, drop } = await createTestDatabase(engine, { migrated: false })
    onTestFinished(drop)
    const statements = statementsOf(readFileSync(new URL(`0001_initial.${engine}.sql`, FOLDER), 'utf8'))
    for (const statement of statements.slice(0, statements.length / 2)) await sql.raw(statement).execute(db)
    expect(await migrate(db)).toEqual(MIGRATIONS)
    await seed(db)
    expect((await contents(db)).clients).toHaveLength(1)
  })

  it('when a migration was done but not recorded, then it runs again without effect', async () => {
    const { db, drop } = await createTestDatabase(engine, { migrated: false })
    onTestFinished(drop)
    for (const name of MIGRATIONS) await runMigration(db, name)
    expect(await migrate(db)).toEqual(MIGRATIONS)
    expect(await migrationsDone(db)).toEqual(MIGRATIONS)
  })

  it('when a statement fails for another reason, then the migration fails', async () => {
    const { db, drop } = await createTestDatabase(engine, { migrated: false })
    onTestFinished(drop)
    await sql.raw('create table customers (id varchar(5) not null primary key)').execute(db)
    await expect(migrate(db)).rejects.toThrow()
  })

  it('when the previous version adds clients to the new schema, then they work', async () => {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    const now = '2026-01-05 09:00:00.000'
    const columns = sql.raw('id, name, secret_hash, scope, customer_id, created_at, disabled_at')
    await sql`insert into api_clients (${columns}) values ('erp', 'ERP', 'hash', '', null, ${now}, null)`.execute(db)
    expect(await db.selectFrom('api_clients').selectAll().executeTakeFirst()).toMatchObject({ tokens_from: null })
  })

  it('when the previous version places an order in the new schema, then without origin', async () => {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    await seed(db)
    const [columns, now] = [sql.raw('customer_id, status, total_cents, created_at'), '2026-01-05 09:00:00.000']
    await sql`insert into orders (${columns}) values (1, 'CREATED', 100, ${now})`.execute(db)
    const order = await db.selectFrom('orders').selectAll().orderBy('id', 'desc').executeTakeFirst()
    expect(order).toMatchObject({ placed_by: null, correlation_id: null, key_hash: null })
  })

  it('when a database with orders is migrated, then its feed begins now, at position 0', async () => {
    const { db, drop } = await createTestDatabase(engine, { migrated: false })
    onTestFinished(drop)
    for (const name of MIGRATIONS.filter((name) => name < EVENTS)) await runMigration(db, name)
    const [columns, now] = [sql.raw('customer_id, status, total_cents, created_at'), '2026-01-05 09:00:00.000']
    const customer = sql.raw('id, name, email, email_key, created_at, updated_at')
    await sql`insert into customers (${customer}) values (1, 'A', 'a@b.c', 'a@b.c', ${now}, ${now})`.execute(db)
    await sql`insert into orders (${columns}) values (1, 'CREATED', 100, ${now})`.execute(db)
    const before = await readClock(db)
    await migrate(db)
    const feed = await db.selectFrom('event_feed').selectAll().execute()
    expect(feed).toEqual([
      {
        id: 1,
        position: 0,
        started_at: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$/),
        backfilled_at: null,
      },
    ])
    const { started_at = '' } = feed[0] ?? {}
    expect([started_at >= before, started_at <= (await readClock(db))]).toEqual([true, true])
    await runMigration(db, EVENTS).catch(() => {})
    expect(await db.selectFrom('event_feed').selectAll().execute()).toEqual(feed)
    expect(await db.selectFrom('events').selectAll().execute()).toEqual([])
  })

  it('when SKUs differed by case alone, then the later keeps its SKU, and the first has it alone', async () => {
    const { db, drop } = await createTestDatabase(engine, { migrated: false })
    onTestFinished(drop)
    for (const name of MIGRATIONS.filter((name) => name < ORDER_FIELDS)) await runMigration(db, name)
    const now = '2026-01-05 09:00:00.000'
    const columns = sql.raw('sku, name, price_cents, stock, created_at, updated_at')
    for (const sku of ['Ab', 'aB', 'C.d']) {
      await sql`insert into products (${columns}) values (${sku}, 'A', 1, 0, ${now}, ${now})`.execute(db)
    }
    await migrate(db)
    const products = await db.selectFrom('products').select(['sku', 'sku_key']).orderBy('id').execute()
    expect(products).toEqual([
      { sku: 'Ab', sku_key: 'ab' },
      { sku: 'aB', sku_key: null },
      { sku: 'C.d', sku_key: 'c.d' },
    ])
  })

  it('when the previous version cancels or deletes, then PO number and external id are free', async () => {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    await seed(db)
    const now = '2026-01-05 09:00:00.000'
    await sql`update orders set po_number = 'A', po_key = 'a', po_slot = 0 where id = 2`.execute(db)
    await sql`update customers set external_id = 'A' where id = 2`.execute(db)
    await sql`update orders set status = 'CANCELED', canceled_at = ${now} where id = 2`.execute(db)
    await sql`update customers set email_key = null, deleted_at = ${now} where id = 2`.execute(db)
    const order = await db.selectFrom('orders').select(['po_key', 'live_po']).where('id', '=', 2).executeTakeFirst()
    expect(order).toEqual({ po_key: 'a', live_po: null })
    await sql`update customers set external_id = 'A' where id = 3`.execute(db)
  })

  it('when words were stored before letters were folded, then plain letters find them', async () => {
    const { db, drop } = await createTestDatabase(engine, { migrated: false })
    onTestFinished(drop)
    for (const name of MIGRATIONS.filter((name) => name < FOLD_WORDS)) await runMigration(db, name)
    const [now, stock] = ['2026-01-05 09:00:00.000', { price_cents: 1, stock: 0 }]
    const times = { created_at: now, updated_at: now }
    await db
      .insertInto('customers')
      .values({ id: 1, name: 'Øl', email: 'a@b.c', email_key: 'a@b.c', phone: null, ...times })
      .execute()
    await db
      .insertInto('products')
      .values({ id: 1, sku: 'A', name: 'Øl', ...stock, ...times })
      .execute()
    const letters = Array.from({ length: 0x300 }, (_, code) => String.fromCodePoint(code)).filter(isFoldedSince)
    expect(letters.length).toBeGreaterThan(25)
    const stored = [
      ...letters.map((letter) => `x${letter}y`),
      'æ'.repeat(64),
      ...'øl ol plain δοκιμη ђорђе 株式会社'.split(' '),
    ]
    await db
      .insertInto('customer_words')
      .values(stored.map((word) => ({ word, customer_id: 1 })))
      .execute()
    await db
      .insertInto('product_words')
      .values(stored.map((word) => ({ word, product_id: 1 })))
      .execute()
    const expected = [...new Set([...stored, ...tokenize(...stored)])].sort()
    for (const run of [() => migrate(db), () => runMigration(db, FOLD_WORDS)]) {
      await run()
      const { customerWords, productWords } = await contents(db)
      expect(customerWords.map(({ word }) => word).sort()).toEqual(expected)
      expect(productWords.map(({ word }) => word).sort()).toEqual(expected)
    }
    for (const search of [searchCustomers, searchProducts]) {
      const { rows } = await search(db, { beginnings: tokenize('ØL'), limit: 2 })
      expect(rows).toMatchObject([{ id: 1, name: 'Øl' }])
    }
  })

  it('when a customer is deleted during the folding, then its words stay deleted', async () => {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    await seed(db)
    const deleted = { email_key: null, deleted_at: '2026-01-05 09:00:00.000' }
    await db.updateTable('customers').set(deleted).where('id', '=', 1).execute()
    const before = (await contents(db)).customerWords
    await runMigration(db, FOLD_WORDS)
    const { customerWords } = await contents(db)
    expect(customerWords).toEqual(before.filter(({ customer_id }) => customer_id !== 1))
  })

  it('when the demo data is added twice, then it is there once', async () => {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    await seed(db)
    const first = await contents(db)
    await seed(db)
    expect(await contents(db)).toEqual(first)
    expect(Object.values(first).map((rows) => rows.length)).toEqual([4, 17, 4, 16, 4, 4, 4, 1, 14, 1])
  })

  it('when four processes add the demo data at once, then it is there once', async () => {
    const variables = freshDatabase(engine)
    const db = await openFor(variables)
    await migrate(db)
    const runs = await Promise.all(Array.from({ length: 4 }, () => runProgram('seed', variables)))
    expect(runs.map(({ code, stderr }) => ({ code, stderr }))).toEqual(runs.map(() => ({ code: 0, stderr: '' })))
    const { orders, customers } = await contents(db)
    expect([orders.length, customers.length]).toEqual([4, 4])
  })

  it('when the demo data was changed, then adding it again changes nothing', async () => {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    await seed(db)
    await db.updateTable('customers').set({ name: 'ACME Corporation' }).where('id', '=', 1).execute()
    await db.deleteFrom('product_words').where('word', '=', 'laptop').execute()
    const changed = await contents(db)
    expect(await seed(db)).toBe('demo data')
    expect(await contents(db)).toEqual(changed)
  })
})

describeEachEngine('the demo data', (engine) => {
  async function seeded() {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    await seed(db)
    return contents(db)
  }

  it('when it is added, then it has the customer and the price of the printed example', async () => {
    const { customers, products, orders } = await seeded()
    expect(customers[0]).toMatchObject({ id: 1, name: 'ACME Corp', email: 'ops@acme.com', phone: '555-1234' })
    expect(products[0]).toMatchObject({ id: 1, price_cents: 129900 })
    expect(orders.map(({ id }) => id)).toEqual([1, 2, 3, 4])
  })

  it('when its books are audited, then stock, totals and lines agree', async () => {
    const { products, adjustments, orders, items } = await seeded()
    const live = new Set(orders.filter(({ status }) => status !== 'CANCELED').map(({ id }) => id))
    const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0)
    for (const { id, stock } of products) {
      const adjusted = sum(adjustments.filter(({ product_id }) => product_id === id).map(({ delta }) => delta))
      const taken = sum(items.filter((item) => item.product_id === id && live.has(item.order_id)).map(({ qty }) => qty))
      expect(stock).toBe(adjusted - taken)
    }
    for (const { id, total_cents } of orders) {
      expect(total_cents).toBe(sum(items.filter((item) => item.order_id === id).map((item) => item.subtotal_cents)))
    }
    for (const item of items) expect(item.subtotal_cents).toBe(item.qty * item.unit_price_cents)
  })

  it('when its orders are read, then their times fit their states', async () => {
    const { orders } = await seeded()
    for (const { status, created_at, confirmed_at, canceled_at, expires_at } of orders) {
      const end = confirmed_at ?? canceled_at ?? expires_at ?? ''
      expect(end > created_at).toBe(true)
      expect({ confirmed: confirmed_at !== null, canceled: canceled_at !== null }).toEqual({
        confirmed: status === 'CONFIRMED',
        canceled: status === 'CANCELED',
      })
      if (status === 'CONFIRMED') expect(expires_at).toBeNull()
    }
    // The examples confirm one CREATED order and cancel the other.
    expect(orders.map(({ status }) => status)).toEqual(['CONFIRMED', 'CREATED', 'CANCELED', 'CREATED'])
  })

  it('when its search words are read, then they are what the services would write', async () => {
    const { customers, customerWords, products, productWords } = await seeded()
    for (const { id, name, email } of customers) {
      const words = customerWords.filter(({ customer_id }) => customer_id === id).map(({ word }) => word)
      expect(words).toEqual(tokenize(name, email).sort())
    }
    for (const { id, sku, name } of products) {
      const words = productWords.filter(({ product_id }) => product_id === id).map(({ word }) => word)
      expect(words).toEqual(tokenize(sku, name).sort())
    }
  })
})

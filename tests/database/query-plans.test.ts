import { CompiledQuery, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  findDifferences,
  lateEvents,
  type Query,
  wrongEventCustomers,
  wrongEventOrder,
  wrongEventOrders,
  wrongEventStates,
  wrongEventVersions,
  wrongPlacedEvents,
  wrongPositions,
  wrongStockEvents,
} from '../../src/audit/store.ts'
import { DATABASE_GAUGES } from '../../src/compose/modules.ts'
import { listCustomers, lookUpCustomer, searchCustomers } from '../../src/customers/store.ts'
import {
  findEndedHolds,
  findExpiredHolds,
  findOrdersByOrigin,
  findPageBefore,
  findPlacers,
  findUsesOfKeys,
  insertLines,
  listOrders,
  type OrderFilter,
  openHoldsQuery,
  poHoldersQuery,
} from '../../src/orders/store.ts'
import { unsafeCast } from '../../src/platform/core/unsafe-cast.ts'
import { dialectOf } from '../../src/platform/database/dialect.ts'
import { gaugeQuery } from '../../src/platform/database/gauges.ts'
import type { PipelineConnection } from '../../src/platform/database/pipeline.ts'
import type { Database } from '../../src/platform/database/types.ts'
import type { SearchCursor } from '../../src/platform/database/word-index.ts'
import { firstPosition, lastPosition, readFeed, readHistory } from '../../src/platform/events/feed.ts'
import { hasUnnumbered, numberEvents } from '../../src/platform/events/positions.ts'
import { deleteEvents } from '../../src/platform/events/retention.ts'
import { rewriteEvents } from '../../src/platform/events/rewrite.ts'
import { purgeExpiredKeys } from '../../src/platform/idempotency/purge.ts'
import { restock } from '../../src/products/stock.ts'
import { findProductsBySku, listProducts, listStockAdjustments, searchProducts } from '../../src/products/store.ts'
import * as deliveries from '../../src/webhooks/delivery-store.ts'
import * as endpoints from '../../src/webhooks/store.ts'
import { idsOf } from '../../testing/lists.ts'
import {
  BUSY_ENDPOINT,
  BUSY_PRODUCT,
  IMPORTED,
  makeCustomers,
  makeDeliveries,
  makeEvents,
  makeOrderEvents,
  makeOrders,
  makeProducts,
} from '../../testing/many-rows.ts'
import { createTestDatabase, describeEachEngine, type TestDatabase } from '../../testing/system.ts'

const ORDERS = 40_000
const CUSTOMERS = 3_000
const PRODUCTS = 12_000
const LIMIT = 21
const SINCE = '2026-01-01 00:00:00.000'
/**
 * A row has about six words, and the index is read twice: for the rows, and for their end. With several words, some
 * more rows are read to choose the rarest one.
 */
const MAX_READS = { oneWord: 16 * LIMIT, moreWords: 100 * LIMIT }
/** A search without a match reads 2,000 index rows, and for each of them the six words of its product. */
const MAX_FAILED_READS = 2_000 * (6 + 3)

type Row = Record<string, string | number | null>

/** The result of a store function, and its use of the database. */
interface Observed<T> {
  result: T
  queries: CompiledQuery[]
  /** Rows that the server read; only the MySQL family counts them. */
  reads: number
}

/** Calls a store function on its own connection, and records its statements. */
function observe<T>(db: Database, call: (db: Database) => Promise<T>): Promise<Observed<T>> {
  return db.connection().execute(async (connection) => {
    const alone = await rowsRead(connection, async () => {})
    await expectCounters(connection, alone)
    const executor = vi.spyOn(connection.getExecutor(), 'executeQuery')
    const wire = await wireOf(connection)
    const [pipelined, queued] = [vi.spyOn(wire, 'pipeline'), vi.spyOn(wire, 'enqueueWrite')]
    let result: T | undefined
    let queries: CompiledQuery[] = []
    const reads = await rowsRead(connection, async () => {
      for (const spy of [executor, pipelined, queued]) spy.mockClear()
      result = await call(connection)
      const all = [...executor.mock.calls, ...queued.mock.calls, ...pipelined.mock.calls].flatMap(([some]) => some)
      queries = [...new Set(all)].filter(({ sql }) => /^\s*(select|update|insert|delete)\b/i.test(sql))
    })
    for (const spy of [executor, pipelined, queued]) spy.mockRestore()
    if (result === undefined) throw new Error('nothing came of it')
    return { result, queries, reads: reads - alone }
  })
}

/** What sends the statements of a connection, several at once too. */
function wireOf(connection: Database): Promise<PipelineConnection> {
  return connection.getExecutor().provideConnection(async (wire) => unsafeCast<PipelineConnection>(wire))
}

async function rowsRead(connection: Database, work: () => Promise<void>): Promise<number> {
  const before = await handlerReads(connection)
  await work()
  return (await handlerReads(connection)) - before
}

/** A server that counts nothing would prove nothing. */
async function expectCounters(connection: Database, alone: number): Promise<void> {
  if (dialectOf(connection).engine === 'sqlite') return
  const read = await rowsRead(connection, async () => {
    await connection.selectFrom('products').select('id').limit(1).execute()
  })
  if (read <= alone)
    throw new Error('this server has no Handler_read counters: it can not be seen how many rows are read')
}

async function handlerReads(connection: Database): Promise<number> {
  if (dialectOf(connection).engine === 'sqlite') return 0
  const { rows } = await sql<{ Value: string }>`show session status like 'Handler_read%'`.execute(connection)
  return rows.reduce((sum, { Value }) => sum + Number(Value), 0)
}

/** The engine's plan, one line a step, and the steps that are not allowed for a long table. */
interface Plan {
  steps: string[]
  faults: string[]
}

async function planOf(db: Database, { sql: text, parameters }: CompiledQuery): Promise<Plan> {
  const { engine } = dialectOf(db)
  const explain = engine === 'mysql' ? 'explain' : 'explain query plan'
  const { rows } = await db.executeQuery<Row>(CompiledQuery.raw(`${explain} ${text}`, [...parameters]))
  return engine === 'mysql' ? mysqlPlan(rows) : sqlitePlan(rows)
}

/** A derived table has a bounded number of rows: only it may be read whole and sorted. */
function mysqlPlan(rows: Row[]): Plan {
  const steps = rows.map(({ table, type, key, key_len, Extra }) => [table, type, key, key_len, Extra].join(' | '))
  const isFault = ({ table, type, key, Extra }: Row) =>
    table !== null &&
    !/^<derived/.test(String(table)) &&
    (key === null || /^(ALL|index|index_merge)$/.test(String(type)) || /filesort|temporary/.test(String(Extra)))
  return { steps, faults: steps.filter((_, i) => isFault(rows[i] ?? {})) }
}

function sqlitePlan(rows: Row[]): Plan {
  const steps = rows.map(({ detail }) => String(detail))
  const derived = /^SCAN (page|found|looked)$/
  const overDerived = (parent: unknown) => rows.some((row) => row.parent === parent && derived.test(String(row.detail)))
  const isFault = ({ detail, parent }: Row) =>
    (/^SCAN (?!CONSTANT ROW$)|^MULTI-INDEX/.test(String(detail)) && !derived.test(String(detail))) ||
    (/TEMP B-TREE/.test(String(detail)) && !overDerived(parent))
  return { steps, faults: steps.filter((_, i) => isFault(rows[i] ?? {})) }
}

/** The step that walks all orders by their index until the page is full. */
const IN_ORDER = /^o \| index \| orders_created \||^SCAN o USING INDEX orders_created$/

/**
 * @param maxReads the most rows it may read, however long the tables are
 * @param allowed a step that is fine here, though long tables forbid it elsewhere
 */
async function expectIndexed<T>(
  db: Database,
  maxReads: number,
  call: (db: Database) => Promise<T>,
  allowed = /^never$/,
) {
  const observed = await observe(db, call)
  const plans = await Promise.all(observed.queries.map((query) => planOf(db, query)))
  const steps = plans.flatMap((plan) => plan.steps)
  const faults = plans.flatMap((plan) => plan.faults).filter((step) => !allowed.test(step))
  const found = { faults, tooManyReads: observed.reads > maxReads && observed.reads }
  expect(found, steps.join('\n')).toEqual({ faults: [], tooManyReads: false })
  return { ...observed, steps }
}

describeEachEngine('the plans of lists and searches', (engine) => {
  let database: TestDatabase
  let orders: Awaited<ReturnType<typeof readOrders>>
  beforeAll(async () => {
    database = await createTestDatabase(engine)
    await makeCustomers(database.db, CUSTOMERS)
    await makeProducts(database.db, PRODUCTS)
    await makeOrders(database.db, { count: ORDERS, customers: CUSTOMERS })
    orders = await readOrders(database.db)
  })
  afterAll(() => database.drop())

  describe('of orders', () => {
    const statuses = [undefined, 'CREATED', 'CONFIRMED', 'CANCELED'] as const
    const owners = { all: [], busy: [1], quiet: [CUSTOMERS], 'one by two names': [1, 1], 'two different': [1, 2] }
    const spans = ['', 'from', 'to', 'from and to'] as const
    const filters = statuses.flatMap((status) =>
      Object.entries(owners).flatMap(([whose, customerIds]) =>
        spans.map((span) => ({ status, whose, customerIds, span })),
      ),
    )

    it.each(filters)(
      'when status is $status, customers $whose, times $span, then a page reads a page',
      async (filter) => {
        const { status, customerIds, span } = filter
        const timeOf = (id: number) => orders.byId.get(id)?.created_at ?? ''
        const from = span.includes('from') ? timeOf(ORDERS * 0.1) : undefined
        const to = span.includes('to') ? timeOf(ORDERS * 0.9) : undefined
        for (const last of [undefined, ORDERS - 50, ORDERS / 2, IMPORTED + 50, IMPORTED / 2]) {
          const after = last === undefined ? undefined : { id: last, createdAt: timeOf(last) }
          const query: OrderFilter = { status, customerIds, from, to, after, limit: LIMIT }
          const all = (status ?? customerIds[0] ?? from ?? to ?? after) === undefined
          const list = (db: Database) => listOrders(db, query)
          const { result, queries, steps } = await expectIndexed(
            database.db,
            LIMIT + 5,
            list,
            all ? IN_ORDER : undefined,
          )
          expect(result).toEqual(orders.page(query))
          if (engine === 'mysql') continue
          if (to ?? after) expect(steps.join()).toMatch(/created_at<\?/)
          if (from) expect(steps.join()).toMatch(/created_at>\?/)
          // With two upper bounds SQLite would seek by the first only.
          if (to && after) expect(queries[0]?.parameters.includes(to)).toBe(after.createdAt >= to)
        }
      },
    )
  })

  describe('of orders with a PO number', () => {
    const COUNT = 6_000
    let db: Database
    let drop: () => Promise<void>
    beforeAll(async () => {
      const own = await createTestDatabase(engine)
      db = own.db
      drop = own.drop
      await makeCustomers(db, CUSTOMERS)
      await makeOrders(db, { count: COUNT, customers: CUSTOMERS })
      // Half of the orders have one number; most of these are orders of one customer that may use it twice.
      await sql`update orders set po_number = 'PO', po_key = 'po', po_slot = id where id % 2 = 0`.execute(db)
      await sql`update orders set customer_id = 7 where id % 2 = 0 and id > 600`.execute(db)
      await sql`update orders set status = 'CANCELED' where id % 4 = 0`.execute(db)
      await (engine === 'mysql' ? sql`analyze table orders` : sql`analyze`).execute(db)
    })
    afterAll(() => drop())

    it.each([
      { customerIds: [] },
      { customerIds: [7] },
      { customerIds: [9] },
      { customerIds: [7], from: '2020-01-01 00:00:00.000' },
    ])('when orders are listed by it and %j, then a page reads a page', async (filter) => {
      const all = (await readOrders(db)).page({ ...filter, limit: COUNT }).filter(({ po_number }) => po_number !== null)
      const last = all[50]
      const afters = [undefined, ...(last ? [{ id: last.id, createdAt: last.created_at }] : [])]
      for (const after of afters) {
        const query = { ...filter, poKey: 'po', after, limit: LIMIT }
        const { result } = await expectIndexed(db, LIMIT + 5, (db) => listOrders(db, query))
        const start = after ? all.findIndex(({ id }) => id === after.id) + 1 : 0
        expect(idsOf(result)).toEqual(idsOf(all.slice(start, start + LIMIT)))
      }
    })

    it('when its live orders are looked up, then one row is read for each number', async () => {
      const numbers = [7, 9, 11].flatMap((customerId) => ['po', 'none'].map((poKey) => ({ customerId, poKey })))
      const { result } = await expectIndexed(db, 5 * numbers.length, async (db) => {
        const looking = poHoldersQuery(db, numbers)
        return looking === undefined ? [] : (await db.executeQuery(looking)).rows
      })
      expect(result.filter(({ customerId }) => customerId === 7)).toHaveLength(1)
    })
  })

  describe('of customers and products', () => {
    it.each([undefined, 10, CUSTOMERS / 2, CUSTOMERS - 30])(
      'when the list continues after %s, then it reads a page',
      async (after) => {
        const customers = await expectIndexed(database.db, LIMIT + 5, (db) =>
          listCustomers(db, { after, limit: LIMIT, only: undefined }),
        )
        expect(customers.result.map(({ id }) => id)).toEqual(
          Array.from({ length: LIMIT }, (_, i) => (after ?? 0) + 1 + i),
        )
        const products = await expectIndexed(database.db, LIMIT + 5, (db) => listProducts(db, { after, limit: LIMIT }))
        expect(products.result.map(({ id }) => id)).toEqual(
          Array.from({ length: LIMIT }, (_, i) => (after ?? 0) + 1 + i),
        )
      },
    )

    it('when nearly all customers are deleted, then the list reads none of them', async () => {
      const { db, drop } = await createTestDatabase(engine)
      onTestFinished(drop)
      await makeCustomers(db, CUSTOMERS)
      const kept = [1, 2, 1_000, CUSTOMERS]
      const deleted = { email_key: null, deleted_at: '2026-01-02 00:00:00.000' }
      await db.updateTable('customers').set(deleted).where('id', 'not in', kept).execute()
      for (const after of [undefined, 1, 2, 1_000]) {
        const list = { after, limit: LIMIT, only: undefined }
        const { result, steps } = await expectIndexed(db, LIMIT + 5, (db) => listCustomers(db, list))
        expect(steps.join()).toContain('customers_live')
        expect(idsOf(result)).toEqual(kept.filter((id) => id > (after ?? 0)))
      }
    })

    it('when a customer is looked up, then only its row is read', async () => {
      const { db } = database
      const id = CUSTOMERS / 2
      await db.updateTable('customers').set({ external_id: 'ERP-1' }).where('id', '=', id).execute()
      const { email } = await db.selectFrom('customers').select('email').where('id', '=', id).executeTakeFirstOrThrow()
      const none = { email: undefined, externalId: undefined, only: undefined }
      const lookUps = [
        { by: { ...none, email: email.toUpperCase() }, index: 'customers_email_key' },
        { by: { ...none, externalId: 'ERP-1' }, index: 'customers_external_id' },
        { by: { email, externalId: 'ERP-1', only: undefined }, index: 'customers_e' },
        { by: { ...none, externalId: 'ERP-1', only: id }, index: '' },
      ]
      for (const { by, index } of lookUps) {
        const { result, steps } = await expectIndexed(db, 5, (db) => lookUpCustomer(db, by))
        expect(idsOf(result)).toEqual([id])
        expect(steps.join()).toContain(index)
      }
      for (const by of [
        { ...none, email: 'nobody@example.com' },
        { ...none, externalId: 'ERP-2' },
        { email, externalId: 'ERP-2', only: undefined },
        { ...none, externalId: 'ERP-1', only: id + 1 },
      ]) {
        expect((await expectIndexed(db, 5, (db) => lookUpCustomer(db, by))).result).toEqual([])
      }
    })

    it('when SKUs are looked up, then only their products are read', async () => {
      const { db } = database
      const skus = (await db.selectFrom('products').select('sku').where('id', '<=', 100).execute()).map(
        ({ sku }) => sku,
      )
      const { result } = await expectIndexed(db, 250, (db) => findProductsBySku(db, skus))
      expect(result).toHaveLength(100)
    })

    it('when a ledger is listed, then a page reads a page', async () => {
      const { db } = database
      const created_at = '2026-01-05 09:00:00.000'
      const rows = Array.from({ length: 3_000 }, (_, i) => ({
        product_id: 1 + (i % 2),
        delta: 1,
        reason: 'x',
        principal: 'p',
        created_at,
      }))
      for (let i = 0; i < rows.length; i += 1_000) {
        await db
          .insertInto('stock_adjustments')
          .values(rows.slice(i, i + 1_000))
          .execute()
      }
      for (const after of [undefined, 2_000]) {
        const list = (db: Database) => listStockAdjustments(db, 1, { after, limit: LIMIT })
        const { result } = await expectIndexed(db, LIMIT + 5, list)
        expect(result).toHaveLength(LIMIT)
      }
    })

    it('when a caller may see one customer only, then the list reads that one', async () => {
      const { result } = await expectIndexed(database.db, 5, (db) =>
        listCustomers(db, { after: 5, limit: LIMIT, only: 9 }),
      )
      expect(result.map(({ id }) => id)).toEqual([9])
    })
  })

  describe('of searches', () => {
    const all = LIMIT
    const searches = [
      { what: 'a letter', beginnings: ['g'], finds: all },
      { what: 'a word that all have', beginnings: ['com'], finds: all },
      { what: 'a word that all have, deep', beginnings: ['com'], after: { word: 'com', id: 2_000 }, finds: all },
      { what: 'a beginning, deep', beginnings: ['fam'], after: { word: 'family4', id: 1 }, finds: all },
      { what: 'a whole word', beginnings: ['u1234'], finds: 1 },
      { what: 'a word that nobody has', beginnings: ['xyz'], finds: 0 },
      { what: 'two that many have', beginnings: ['com', 'corp'], finds: all },
      { what: 'two that many have, deep', beginnings: ['com', 'corp'], after: { word: 'corp', id: 2_000 }, finds: all },
      { what: 'a rare one, shorter than a common one', beginnings: ['gmbh', 'u81'], finds: 5 },
      { what: 'a rare one between common ones', beginnings: ['com', 'u81', 'given', 'family'], finds: 11 },
      { what: 'one that is the beginning of another', beginnings: ['giv', 'given17'], finds: all },
      { what: 'one customer only', beginnings: ['giv', 'com'], only: 77, finds: 1 },
      { what: 'one customer only, one word', beginnings: ['com'], only: 77, finds: 1 },
    ]

    it.each(searches)(
      'when customers are searched for $what, then it reads about a page',
      async ({ finds, ...search }) => {
        const { result, steps } = await expectIndexed(database.db, maxReads(search), (db) =>
          searchCustomers(db, { ...search, limit: LIMIT }),
        )
        expect(result.rows).toHaveLength(finds)
        if (engine === 'sqlite' && search.after)
          expect(steps.join()).toMatch(/\(word,customer_id\)>\(\?,\?\) AND word<\?/)
      },
    )

    it.each([[['gmbh', 'u81']], [['com', 'giv', 'given1']], [['family', 'dom77']], [['u1', 'given1', 'corp']]])(
      'when a search for %j is paged, then each row with all its words comes once',
      async (beginnings) => {
        const ids: number[] = []
        for (let after: SearchCursor | undefined; ; ) {
          const { rows, end } = await searchCustomers(database.db, { beginnings, after, limit: LIMIT })
          ids.push(...idsOf(rows))
          const last = rows[LIMIT - 1]
          after = last ? { word: last.matched_word, id: last.id } : end
          if (after === undefined) break
        }
        expect(ids.toSorted((a, b) => a - b)).toEqual(await customersWith(database.db, beginnings))
      },
    )

    it('when two common words rarely meet, then each page reads a bounded number of rows', async () => {
      const { db } = database
      // Of each three products one is blue and one black.
      const both = [4, 3_001, 3_004, PRODUCTS - 2]
      await db
        .insertInto('product_words')
        .values(both.map((product_id) => ({ word: 'black', product_id })))
        .execute()
      const pages: number[][] = []
      for (let after: SearchCursor | undefined; ; ) {
        const search = { beginnings: ['blue', 'black'], after, limit: LIMIT }
        const { result } = await expectIndexed(db, MAX_FAILED_READS, (db) => searchProducts(db, search))
        pages.push(idsOf(result.rows))
        after = result.end
        if (after === undefined) break
      }
      expect(pages.flat()).toEqual(both)
      expect(pages.length).toBeGreaterThan(2)
    })

    it('when a search has the most words, then a page reads no more than with two', async () => {
      const beginnings = ['part', 'k', 'xyz', ...Array.from({ length: 57 }, (_, i) => String(100 + i))]
      const search = { beginnings, after: { word: 'part', id: 1 }, limit: LIMIT }
      const { result } = await expectIndexed(database.db, MAX_FAILED_READS, (db) => searchProducts(db, search))
      expect(result).toMatchObject({ rows: [], end: { word: 'part' } })
    })

    const products = [
      { beginnings: ['p'], finds: all },
      { beginnings: ['blue', '12'], finds: all },
      { beginnings: ['part'], after: { word: 'part', id: 2_000 }, finds: all },
    ]

    it.each(products)(
      'when products are searched for $beginnings, then it reads about a page',
      async ({ finds, ...search }) => {
        const { result } = await expectIndexed(database.db, maxReads(search), (db) =>
          searchProducts(db, { ...search, limit: LIMIT }),
        )
        expect(result.rows).toHaveLength(finds)
      },
    )
  })

  describe('of the feed', () => {
    const COUNT = 30_000
    const UNNUMBERED = 1_200
    const NUMBERED = COUNT - UNNUMBERED
    /** So many positions does one page look at. */
    const SCANNED = 5_000
    const bound = { owned: ['order'], shared: ['product'] }
    let db: Database
    let drop: () => Promise<void>
    beforeAll(async () => {
      const own = await createTestDatabase(engine)
      db = own.db
      drop = own.drop
      await makeProducts(db, 1_000)
      await makeEvents(db, { count: COUNT, customers: CUSTOMERS, unnumbered: UNNUMBERED })
    })
    afterAll(() => drop())

    it.each([0, 10_000, NUMBERED - LIMIT])('when it is read after %i, then a page reads a page', async (after) => {
      const { result } = await expectIndexed(db, LIMIT + 5, (db) => readFeed(db, { after, limit: LIMIT }))
      const positions = Array.from({ length: LIMIT }, (_, i) => after + 1 + i)
      expect(result.events.map(({ position }) => position)).toEqual(positions)
      expect(result).toMatchObject({ end: after + LIMIT, last: NUMBERED })
    })

    it('when the reader is at the end, then it reads next to nothing', async () => {
      const filters = [{}, { types: ['order.placed'] }, { ...bound, boundTo: 1 }]
      for (const filter of filters) {
        const read = (db: Database) => readFeed(db, { ...filter, after: NUMBERED, limit: LIMIT })
        expect((await expectIndexed(db, 5, read)).result).toEqual({ events: [], end: NUMBERED, last: NUMBERED })
      }
      expect((await expectIndexed(db, 5, lastPosition)).result).toBe(NUMBERED)
      expect((await expectIndexed(db, 5, firstPosition)).result).toBe(1)
    })

    it.each([
      { types: ['customer.updated'] },
      { types: ['webhook_endpoint.disabled'] },
      { boundTo: CUSTOMERS + 1, ...bound, types: ['order.placed', 'order.canceled'] },
      { boundTo: CUSTOMERS + 1, ...bound, shared: ['nothing'] },
    ])('when few match %j, then a page looks at so many positions', async (filter) => {
      const read = (db: Database) => readFeed(db, { ...filter, after: 10_000, limit: 500 })
      const { result } = await expectIndexed(db, SCANNED + 10, read)
      expect(result.events.length).toBeLessThan(10)
      expect(result).toMatchObject({ end: 10_000 + SCANNED, last: NUMBERED })
    })

    it.each([
      { resource: { type: 'order', id: 4_001 }, finds: 2 },
      { resource: { type: 'order', id: 4_001 }, ...bound, boundTo: CUSTOMERS + 1, finds: 0 },
      { resource: { type: 'order', id: 9_000_000 }, finds: 0 },
    ])('when a resource has few events (%j), then only they are read', async ({ finds, ...filter }) => {
      const read = (db: Database) => readFeed(db, { ...filter, after: 0, limit: 500 })
      // A few rows may be sorted.
      const { result } = await expectIndexed(db, 20, read, /filesort|TEMP B-TREE/)
      expect(result.events).toHaveLength(finds)
      expect(result.end).toBe(NUMBERED)
      const history = (db: Database) => readHistory(db, { ...filter, after: undefined, limit: LIMIT })
      expect((await expectIndexed(db, 10, history)).result).toHaveLength(finds)
    })

    it('when a resource has many events, then a page looks at so many positions', async () => {
      const resource = { type: 'product', id: BUSY_PRODUCT }
      const read = (db: Database) => readFeed(db, { resource, after: 10_000, limit: 1_000 })
      const { result } = await expectIndexed(db, SCANNED + 1_100, read, /filesort|TEMP B-TREE/)
      expect(result.events).toHaveLength(SCANNED / 10)
      const after = { version: 10_009, type: 'product.stock_adjusted' }
      const history = (db: Database) => readHistory(db, { resource, after, limit: LIMIT })
      const page = await expectIndexed(db, LIMIT + 5, history)
      expect(page.result.map(({ resource_version }) => resource_version)).toEqual(
        Array.from({ length: LIMIT }, (_, i) => 10_019 + 10 * i),
      )
    })

    it('when events get their positions, then only so many are read', async () => {
      expect((await expectIndexed(db, 5, hasUnnumbered)).result).toBe(true)
      await expectIndexed(db, 10 * 500, numberEvents)
      expect(await lastPosition(db)).toBe(NUMBERED + 500)
      while (!(await numberEvents(db))) {}
      expect((await expectIndexed(db, 5, hasUnnumbered)).result).toBe(false)
      await sql`update events set position = 0 where id > ${NUMBERED}`.execute(db)
      await sql`update event_feed set position = ${NUMBERED}`.execute(db)
    })

    it('when no event is old enough, then the retention reads a page', async () => {
      const { result } = await expectIndexed(db, 510, (db) => deleteEvents(db, 30))
      expect(result).toBe(0)
    })

    it('when the events of some orders are rewritten, then only they are read', async () => {
      const ids = Array.from({ length: 200 }, (_, i) => 3_000 + i)
      await expectIndexed(db, 3 * 400 + 200, (db) =>
        db.transaction().execute(async (trx) => {
          await rewriteEvents(trx, 'order', ids, (data) => data)
          return ids
        }),
      )
    })

    it('when stock comes back, then only its products are read', async () => {
      const quantities = new Map(Array.from({ length: 100 }, (_, i) => [1 + 7 * i, 1 + (i % 3)]))
      const { queries } = await expectIndexed(db, 6 * 100, (db) =>
        db.transaction().execute(async (trx) => {
          await restock(trx, quantities, SINCE)
          return quantities
        }),
      )
      expect(queries.some(({ sql }) => /^insert into events/.test(sql))).toBe(true)
    })
  })

  describe('of the sweeper', () => {
    it('when few of many holds have ended, then the sweep reads only those', async () => {
      const few = [7, 107, 20_007].map((i) => i + 1)
      const { db } = database
      await db.updateTable('orders').set({ expires_at: '2020-01-01 00:00:00.000' }).where('id', 'in', few).execute()
      const { result } = await expectIndexed(db, few.length + 5, (db) => findExpiredHolds(db, undefined, 500))
      expect(result.map((hold) => hold.id)).toEqual(few)
      const next = await expectIndexed(db, few.length + 5, (db) => findExpiredHolds(db, result[0], 500))
      expect(next.result.map((hold) => hold.id)).toEqual(few.slice(1))
    })

    it('when an order wants stock of ended holds, then only those holds are read', async () => {
      const { db } = database
      const ended = [208, 308, 20_108]
      await db.updateTable('orders').set({ expires_at: '2020-01-01 00:00:00.000' }).where('id', 'in', ended).execute()
      const line = { qty: 1, unit_price_cents: 1, subtotal_cents: 1, sku: null, name: null }
      const others = Array.from({ length: 3_000 }, (_, i) => 1_000 + i)
      const lines = [...ended, ...others].flatMap((order_id) =>
        [1, 2].map((product_id) => ({ ...line, order_id, product_id })),
      )
      await db.transaction().execute(async (trx) => {
        await insertLines(trx, lines)
        await sql`select 1`.execute(trx)
      })
      const { result } = await expectIndexed(db, 40, (db) => findEndedHolds(db, [2]))
      expect(result).toEqual(ended)
    })

    it('when the holds of a customer are counted, then no order of another one is read', async () => {
      const { db } = database
      const { result } = await expectIndexed(db, 200, async (db) => {
        const counting = openHoldsQuery(db, [7], '2026-11-01 00:00:00.000')
        return counting === undefined ? [] : (await db.executeQuery(counting)).rows
      })
      expect(result.length).toBeLessThanOrEqual(1)
    })

    it('when orders are scanned by origin, then by the primary key, a page at a time', async () => {
      const { db } = database
      const { result } = await expectIndexed(db, 3_000, (db) => findPageBefore(db, 20_000, 1_000, SINCE))
      expect(result).toMatchObject({ orders: 1_000 })
      const range = { from: result?.first ?? 0, before: 20_000 }
      await expectIndexed(db, 2_100, (db) => findPlacers(db, range), /temporary|TEMP B-TREE/)
      await expectIndexed(db, 2_100, (db) => findOrdersByOrigin(db, { ...range, since: SINCE, keyHashes: ['a'] }))
    })

    it('when few of many keys have expired, then the purge reads only those', async () => {
      await makeKeys(database.db, 5_000, 10)
      const { result } = await expectIndexed(database.db, 50, (db) => purgeExpiredKeys(db, 500))
      expect(result).toBe(10)
    })

    it('when a key is looked up among many, then only its rows are read', async () => {
      const { db } = database
      const operations = ['orders.place', 'orders.confirm', 'orders.cancel']
      for (const keys of [['key-17'], Array.from({ length: 100 }, (_, i) => `create:${i}`)]) {
        await expectIndexed(db, 10 + 2 * operations.length * keys.length, (db) => findUsesOfKeys(db, operations, keys))
      }
    })
  })

  describe('of the audit', () => {
    const COUNT = 6_000
    let db: Database
    let drop: () => Promise<void>
    let events: number
    beforeAll(async () => {
      const own = await createTestDatabase(engine)
      db = own.db
      drop = own.drop
      await makeCustomers(db, CUSTOMERS)
      await makeOrders(db, { count: COUNT, customers: CUSTOMERS })
      await makeOrderEvents(db)
      events = (await db.selectFrom('events').select('id').execute()).length
    })
    afterAll(() => drop())

    const FEED_CHECKS: [string, (db: Database) => Query][] = [
      ['the events of placed orders', () => wrongPlacedEvents(SINCE)],
      ['the versions of events', () => wrongEventVersions(SINCE)],
      ['the states that events tell', (db) => wrongEventStates(db, SINCE)],
      ['the customers of events', (db) => wrongEventCustomers(db)],
      ['the orders of events', (db) => wrongEventOrders(db, SINCE)],
      ['the order of events', () => wrongEventOrder()],
      ['the events of the ledger', (db) => wrongStockEvents(db, SINCE)],
      ['the positions', () => wrongPositions()],
    ]

    it.each(FEED_CHECKS)('when it checks %s, then the cost rises as the number of rows does', async (_, queryOf) => {
      const { result, queries, reads } = await observe(db, (db) => findDifferences(db, queryOf(db), 100))
      expect(result).toEqual([])
      const plans = await Promise.all(queries.map((query) => planOf(db, query)))
      const steps = plans.flatMap((plan) => plan.steps)
      expect(reads, steps.join('\n')).toBeLessThan(5 * (COUNT + events))
      // An index that SQLite makes for one statement stands for a missing one.
      expect(steps.join('\n')).not.toContain('AUTOMATIC')
    })

    it('when it looks for events without a position, then it reads only those', async () => {
      const { result } = await expectIndexed(db, 5, (db) => findDifferences(db, lateEvents(SINCE), 100), /filesort/)
      expect(result).toEqual([])
    })
  })
})

function maxReads({ beginnings }: { beginnings: string[] }): number {
  return beginnings.length === 1 ? MAX_READS.oneWord : MAX_READS.moreWords
}

/** All orders, and the page that they must give. */
async function readOrders(db: Database) {
  const all = await db.selectFrom('orders').selectAll().execute()
  const rows = all.map(
    ({ correlation_id: _in, key_hash: _with, po_key: _key, po_slot: _slot, live_po: _live, ...row }) => row,
  )
  const newestFirst = rows.toSorted((a, b) =>
    a.created_at === b.created_at ? b.id - a.id : a.created_at < b.created_at ? 1 : -1,
  )
  return {
    byId: new Map(rows.map((row) => [row.id, row])),
    page({ status, customerIds, from, to, after, limit }: OrderFilter) {
      const belongs = newestFirst.filter(
        (row) =>
          (status === undefined || row.status === status) &&
          customerIds.every((id) => row.customer_id === id) &&
          (from === undefined || row.created_at >= from) &&
          (to === undefined || row.created_at < to) &&
          (after === undefined ||
            row.created_at < after.createdAt ||
            (row.created_at === after.createdAt && row.id < after.id)),
      )
      return belongs.slice(0, limit)
    },
  }
}

async function customersWith(db: Database, beginnings: string[]): Promise<number[]> {
  const rows = await db.selectFrom('customer_words').selectAll().execute()
  const wordsById = Map.groupBy(rows, (row) => row.customer_id)
  const hasAll = (words: { word: string }[]) =>
    beginnings.every((beginning) => words.some(({ word }) => word.startsWith(beginning)))
  return [...wordsById].flatMap(([id, words]) => (hasAll(words) ? [id] : [])).sort((a, b) => a - b)
}

async function makeKeys(db: Database, count: number, expired: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, i) => ({
    operation: 'test',
    key: `key-${i}`,
    principal: 'tests',
    request_hash: 'x'.repeat(64),
    target_type: 'order',
    target_id: i,
    status: 201,
    response_body: '{}',
    created_at: '2020-01-01 00:00:00.000',
    expires_at: i < expired ? '2020-01-02 00:00:00.000' : '2999-01-01 00:00:00.000',
  }))
  for (let i = 0; i < rows.length; i += 1_000) {
    await db
      .insertInto('idempotency_keys')
      .values(rows.slice(i, i + 1_000))
      .execute()
  }
  await (dialectOf(db).engine === 'mysql' ? sql`analyze table idempotency_keys` : sql`analyze`).execute(db)
}

describeEachEngine('the plans of gauges', (engine) => {
  /** More than the rows that any gauge is about, and few of those that there are. */
  const MOST = 2_500
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase(engine)
    const { db } = database
    await makeCustomers(db, CUSTOMERS)
    await makeProducts(db, PRODUCTS)
    await sql`update products set stock = case when id % 50 = 0 then 0 else 5 end`.execute(db)
    await makeOrders(db, { count: ORDERS, customers: CUSTOMERS })
    await makeEvents(db, { count: ORDERS, customers: CUSTOMERS, unnumbered: 3_000 })
    await makeDeliveries(db, 300)
  })
  afterAll(() => database.drop())

  it.each(DATABASE_GAUGES.map((gauge) => [gauge.series.name, gauge] as const))(
    'when %s is read, then only by an index, and few rows',
    async (_, gauge) => {
      // The rows of a union are those of its parts.
      await expectIndexed(database.db, MOST, (db) => db.executeQuery(gaugeQuery(db, gauge)), /^<union/)
    },
  )
})

describeEachEngine('the plans of webhooks', (engine) => {
  const COUNT = 300
  const NOW = '2026-01-02 00:00:00.000'
  const LEASED = [2, 3, 4, 5]
  const { due, waiting, ended } = BUSY_ENDPOINT
  let db: Database
  let drop: () => Promise<void>
  beforeAll(async () => {
    const own = await createTestDatabase(engine)
    db = own.db
    drop = own.drop
    await makeDeliveries(db, COUNT)
    await deliveries.leaseDeliveries(db, LEASED, 'mine', '2999-01-01 00:00:00.000')
  })
  afterAll(() => drop())

  const read = <T>(maxReads: number, call: (db: Database) => Promise<T>) => expectIndexed(db, maxReads, call)

  /** For statements that change rows: their plans are asked for, and nothing changes. */
  async function expectSeeks(call: (db: Database) => Promise<unknown>): Promise<void> {
    const queries: CompiledQuery[] = []
    const undo = new Error('undone')
    const work = db.transaction().execute(async (trx) => {
      const executor = vi.spyOn(trx.getExecutor(), 'executeQuery')
      await call(trx)
      queries.push(...executor.mock.calls.map(([query]) => query))
      executor.mockRestore()
      throw undo
    })
    await expect(work).rejects.toBe(undo)
    const plans = await Promise.all(queries.map((query) => planOf(db, query)))
    expect(plans.flatMap(({ faults }) => faults)).toEqual([])
  }

  const orders = (first: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ resource_type: 'order', resource_id: first + i }))

  it('when working endpoints are looked for, then each is looked at, and few of its deliveries', async () => {
    const { result } = await read(6 * COUNT, (db) => endpoints.findWorkingEndpoints(db))
    expect(result).toEqual([1])
  })

  it('when deliveries are claimed, then those that are due do not count', async () => {
    const counting = await read(10, (db) => deliveries.countInFlight(db, 1, NOW))
    expect(counting.result).toBe(LEASED.length)
    const { result } = await read(15, (db) => deliveries.findDue(db, 1, NOW, 4))
    expect(result).toHaveLength(4)
    const leased = await read(10, (db) => deliveries.findLeased(db, 1, 'mine', NOW))
    expect(idsOf(leased.result).toSorted((a, b) => a - b)).toEqual(LEASED)
    await expectSeeks((trx) => deliveries.leaseDeliveries(trx, idsOf(result), 'other', NOW))
    await expectSeeks((trx) => deliveries.endLease(trx, 2, 'mine', {}))
  })

  it('when events become deliveries, then only their resources are looked at', async () => {
    const some = orders(due - 49, 100)
    const { result } = await read(4 * some.length, (db) => deliveries.findPendingResources(db, 1, some))
    expect(result).toHaveLength(50)
    const product = { resource_type: 'product', resource_id: 1 }
    const pending = await read(2 * waiting, (db) => deliveries.findPendingResources(db, 1, [product]))
    expect(pending.result).toEqual([product])
  })

  it('when a delivery ends, then the next of its resource is found at once', async () => {
    const product = { resource_type: 'product', resource_id: 1 }
    const { result } = await read(5, (db) => deliveries.findFirst(db, 1, product))
    expect(result).toMatchObject({ next_attempt_at: expect.any(String) })
    await expectSeeks((trx) => deliveries.scheduleDeliveries(trx, [result?.id ?? 0], NOW))
    await expectSeeks((trx) => deliveries.hastenDelivery(trx, result?.id ?? 0, NOW))
  })

  it('when deliveries are asked for again, then only those of their resources are read', async () => {
    const some = orders(200_001, 100)
    const ids = await db
      .selectFrom('webhook_deliveries')
      .select('id')
      .where('event_id', 'in', [200_001, 200_002])
      .execute()
    await expectSeeks((trx) => deliveries.reopenDeliveries(trx, idsOf(ids)))
    await expectSeeks((trx) => deliveries.holdBack(trx, 1, some, NOW))
    await read(10 * some.length, (db) => deliveries.findWaitingFirsts(db, 1, some))
    const window = { status: 'failed', since: '2026-01-01 00:00:00.000', until: NOW } as const
    const first = await read(2 * LIMIT, (db) => deliveries.findEnded(db, 1, window, undefined, LIMIT))
    expect(first.result).toHaveLength(LIMIT)
    const next = await read(2 * LIMIT, (db) => deliveries.findEnded(db, 1, window, first.result.at(-1), LIMIT))
    expect(next.result[0]?.id).toBeGreaterThan(first.result.at(-1)?.id ?? 0)
  })

  it.each([undefined, 'pending', 'failed', 'succeeded'] as const)(
    'when deliveries with status %s are listed, then a page reads a page',
    async (status) => {
      for (const from of [undefined, '2026-01-01 00:00:01.000']) {
        const list = { status, from, limit: LIMIT }
        const page = await read(LIMIT + 5, (db) => deliveries.listDeliveries(db, 1, { ...list, after: undefined }))
        expect(page.result).toHaveLength(LIMIT)
        const after = page.result.at(-1)
        const next = await read(LIMIT + 5, (db) => deliveries.listDeliveries(db, 1, { ...list, after }))
        expect(next.result).toHaveLength(LIMIT)
      }
    },
  )

  it('when one delivery is read, then only its rows are', async () => {
    const { id } = await db
      .selectFrom('webhook_deliveries')
      .select('id')
      .where('event_id', '=', 200_001)
      .executeTakeFirstOrThrow()
    expect((await read(5, (db) => deliveries.findDelivery(db, id, null))).result).toMatchObject({ id })
    expect((await read(5, (db) => deliveries.findAttempts(db, id, 100))).result).toHaveLength(1)
  })

  it('when endpoints are read, then only those', async () => {
    expect((await read(5, (db) => endpoints.findEndpoint(db, 7, 7))).result).toMatchObject({ id: 7 })
    expect((await read(5, (db) => endpoints.countEndpoints(db, 7))).result).toBe(1)
    const all = await read(2 * LIMIT, (db) => endpoints.listEndpoints(db, { after: 100, limit: LIMIT, only: null }))
    expect(all.result).toHaveLength(LIMIT)
    const own = await read(5, (db) => endpoints.listEndpoints(db, { after: undefined, limit: LIMIT, only: 7 }))
    expect(idsOf(own.result)).toEqual([7])
    await expectSeeks((trx) => endpoints.lockEndpoint(trx, 7))
  })

  it('when few deliveries are old, then the sweep reads only those, and those of deleted endpoints', async () => {
    const swept = await read(4 * COUNT, (db) => deliveries.findOldDeliveries(db, '2026-01-01 00:00:00.010', 500))
    expect(swept.result.length).toBeGreaterThan(10)
    expect(swept.result.length).toBeLessThan(ended)
    const ids = swept.result.slice(0, 100)
    await expectSeeks((trx) => deliveries.lockOldDeliveries(trx, ids, NOW))
    await expectSeeks((trx) => deliveries.deleteDeliveries(trx, ids))
    await expectSeeks((trx) => endpoints.forgetDeletedEndpoints(trx))
  })

  it('when no secret is outdated, then the sweep reads each endpoint once', async () => {
    const { result } = await read(2 * COUNT, (db) => endpoints.findOutdatedSecrets(db, 'v1.current.', 0, 100))
    expect(result).toEqual([])
  })
})

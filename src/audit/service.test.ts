import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, describeEachEngine, type TestDatabase } from '../../testing/system.ts'
import { seed } from '../compose/demo-data.ts'
import type { Database } from '../platform/database/types.ts'
import { auditBooks } from './service.ts'

/** Before the feed began. */
const AT = '2026-01-01 10:00:00.000'

async function insertKey(db: Database, operation: string, key: string, orderId: number): Promise<void> {
  const record = { operation, key, principal: 'client:tests', request_hash: '0'.repeat(64), target_type: 'order' }
  const response = {
    target_id: orderId,
    status: 201,
    response_body: '{}',
    created_at: AT,
    expires_at: '2099-01-01 00:00:00.000',
  }
  await db
    .insertInto('idempotency_keys')
    .values({ ...record, ...response })
    .execute()
}

/** Each way to break the books, and the checks that must find it. */
const BREAKS: [string, string[], (db: Database) => Promise<unknown>][] = [
  [
    'stock appears from nowhere',
    ['stock'],
    (db) => db.updateTable('products').set({ stock: 4996 }).where('id', '=', 1).execute(),
  ],
  ['an adjustment is lost', ['stock'], (db) => db.deleteFrom('stock_adjustments').where('id', '=', 2).execute()],
  [
    'the subtotal of a line is wrong',
    ['lines', 'totals'],
    (db) => db.updateTable('order_items').set({ subtotal_cents: 1 }).where('id', '=', 1).execute(),
  ],
  [
    'a total is wrong',
    ['totals'],
    (db) => db.updateTable('orders').set({ total_cents: 1 }).where('id', '=', 2).execute(),
  ],
  [
    'an order loses its lines',
    ['stock', 'totals'],
    (db) => db.deleteFrom('order_items').where('order_id', '=', 4).execute(),
  ],
  [
    'a confirmed order has no time of it',
    ['states'],
    (db) => db.updateTable('orders').set({ confirmed_at: null }).where('id', '=', 1).execute(),
  ],
  [
    'an order is confirmed before it was placed',
    ['states'],
    (db) => db.updateTable('orders').set({ confirmed_at: '2020-01-01 00:00:00.000' }).where('id', '=', 1).execute(),
  ],
  [
    'two keys placed one order',
    ['placements'],
    async (db) => {
      for (const key of ['one', 'two']) await insertKey(db, 'orders.place', key, 1)
    },
  ],
  ['a key placed an order that is gone', ['placements'], (db) => insertKey(db, 'orders.place', 'gone', 999)],
  [
    'a key confirmed an order that is not confirmed',
    ['confirmations'],
    (db) => insertKey(db, 'orders.confirm', 'never', 3),
  ],
  [
    'nothing holds a PO number',
    ['po_numbers'],
    (db) => db.updateTable('orders').set({ po_number: 'A', po_key: 'a' }).where('id', '=', 2).execute(),
  ],
  [
    'an ended hold is never swept',
    ['stock', 'totals', 'holds'],
    (db) =>
      db
        .insertInto('orders')
        .values({
          customer_id: 1,
          status: 'CREATED',
          total_cents: 1,
          created_at: AT,
          confirmed_at: null,
          canceled_at: null,
          expires_at: AT,
        })
        .execute()
        .then(() => db.updateTable('products').set({ stock: 1 }).where('id', '=', 1).execute()),
  ],
]

/** These have a test of their own. */
const OF_THE_FEED = /event|positions/

describeEachEngine('the audit of the rows', (engine) => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase(engine)
    await seed(database.db)
  })
  afterAll(() => database.drop())

  const differing = async (db: Database) => {
    const { balanced, findings } = await auditBooks(db, { sweepSeconds: 15 })
    const checks = findings.filter(({ differences }) => differences.length > 0).map(({ check }) => check)
    expect(balanced).toBe(checks.length === 0)
    return checks.filter((check) => !OF_THE_FEED.test(check))
  }

  it('when nothing was touched, then the books balance', async () => {
    expect(await differing(database.db)).toEqual([])
  })

  it.each(BREAKS)('when %s, then %j differ', async (_, checks, breakBooks) => {
    const undone = new Error('undone')
    const inTransaction = database.db.transaction().execute(async (trx) => {
      await breakBooks(trx)
      expect(await differing(trx)).toEqual(checks)
      throw undone
    })
    await expect(inTransaction).rejects.toBe(undone)
    expect(await differing(database.db)).toEqual([])
  })
})

import type { Insertable, Updateable } from 'kysely'
import { beforeAll, describe, expect, it } from 'vitest'
import { newCustomer, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { resetDemoData } from '../compose/demo-data.ts'
import { addDays } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import type { Tables } from '../platform/database/tables.ts'
import type { Database } from '../platform/database/types.ts'
import { numberEvents } from '../platform/events/positions.ts'
import { deleteEvents } from '../platform/events/retention.ts'
import { auditBooks } from './service.ts'

type EventColumns = Updateable<Tables['events']>

const OLD = '2026-01-02 03:04:05.000'
const YOUNG = '2999-01-01 00:00:00.000'

function newestOf(db: Database, type: string) {
  return db
    .selectFrom('events')
    .selectAll()
    .where('type', '=', type)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirstOrThrow()
}

/** Inserts an event like the newest one of a type, without a position. */
async function copyNewest(db: Database, type: string, changes: Partial<Insertable<Tables['events']>>): Promise<void> {
  const { id: _, ...event } = await newestOf(db, type)
  await db
    .insertInto('events')
    .values({ ...event, position: 0, ...changes })
    .execute()
}

async function changeNewest(db: Database, type: string, changes: EventColumns): Promise<void> {
  const { id } = await newestOf(db, type)
  await db.updateTable('events').set(changes).where('id', '=', id).execute()
}

/** Replaces a part of what the newest event of a type tells. */
async function rewriteNewest(db: Database, type: string, part: string, by: string): Promise<void> {
  const { data } = await newestOf(db, type)
  await changeNewest(db, type, { data: data.replace(part, by) })
}

async function deleteNewest(db: Database, type: string): Promise<void> {
  const { id } = await newestOf(db, type)
  await db.deleteFrom('events').where('id', '=', id).execute()
}

/** The order of the newest event of a type. */
async function changeOrder(db: Database, type: string, changes: Updateable<Tables['orders']>): Promise<void> {
  const { resource_id } = await newestOf(db, type)
  await db.updateTable('orders').set(changes).where('id', '=', resource_id).execute()
}

/** An order that was placed before events were written. */
const BEFORE = 2

/** Each way to break the feed, and the checks that must find it. The newest order was placed, confirmed and canceled. */
const BREAKS: [string, string[], (db: Database) => Promise<unknown>][] = [
  ['an order was placed without an event', ['placed_events', 'positions'], (db) => deleteNewest(db, 'order.placed')],
  [
    'an order was placed twice',
    ['placed_events'],
    (db) => changeNewest(db, 'order.confirmed', { type: 'order.placed' }),
  ],
  ['a version has no event', ['event_versions', 'positions'], (db) => deleteNewest(db, 'order.confirmed')],
  ['a version has two events', ['event_versions'], (db) => changeNewest(db, 'order.canceled', { resource_version: 2 })],
  [
    'an event is of a version to come',
    ['event_versions'],
    (db) => changeNewest(db, 'order.canceled', { resource_version: 4 }),
  ],
  [
    'an order changed without an event',
    ['event_versions'],
    (db) => changeOrder(db, 'order.canceled', { version: 4, notes: 'new' }),
  ],
  [
    'a customer changed without an event',
    ['event_versions'],
    (db) => db.updateTable('customers').set({ version: 7 }).where('version', '=', 2).execute(),
  ],
  [
    'the last event tells another state',
    ['event_states'],
    (db) => rewriteNewest(db, 'order.canceled', 'CANCELED', 'CONFIRMED'),
  ],
  [
    'the last event is of another kind',
    ['event_states'],
    (db) => changeNewest(db, 'order.canceled', { type: 'order.confirmed', resource_version: 3 }),
  ],
  [
    'the last event tells another total',
    ['event_states'],
    (db) => rewriteNewest(db, 'order.canceled', '"total_cents":', '"total_cents":1'),
  ],
  [
    'the last event tells of another order',
    ['event_states'],
    (db) => rewriteNewest(db, 'order.canceled', '"order":{"id":', '"order":{"id":1'),
  ],
  [
    'the last event tells of no order',
    ['event_states'],
    (db) => changeNewest(db, 'order.canceled', { data: '{"order":null}' }),
  ],
  ['the last event is no JSON', ['event_states'], (db) => changeNewest(db, 'order.canceled', { data: '{"order":' })],
  [
    'an order of before was canceled without an event',
    ['stock', 'event_states'],
    (db) => db.updateTable('orders').set({ status: 'CANCELED', canceled_at: YOUNG }).where('id', '=', BEFORE).execute(),
  ],
  [
    'an event is for another customer',
    ['event_customers'],
    (db) => changeNewest(db, 'order.placed', { customer_id: 2 }),
  ],
  ['an event is for nobody', ['event_customers'], (db) => changeNewest(db, 'order.confirmed', { customer_id: null })],
  [
    'an event is of an order that never was',
    ['event_orders'],
    (db) => copyNewest(db, 'order.placed', { resource_id: 999_999 }),
  ],
  [
    'a later version comes first',
    ['event_order'],
    async (db) => {
      const [confirmed, canceled] = [await newestOf(db, 'order.confirmed'), await newestOf(db, 'order.canceled')]
      await changeNewest(db, 'order.confirmed', { position: 0 })
      await changeNewest(db, 'order.canceled', { position: confirmed.position })
      await changeNewest(db, 'order.confirmed', { position: canceled.position })
    },
  ],
  [
    'a stock was adjusted without an event',
    ['stock_events', 'positions'],
    (db) => deleteNewest(db, 'product.stock_adjusted'),
  ],
  [
    'an adjustment was told twice',
    ['stock_events'],
    (db) => copyNewest(db, 'product.stock_adjusted', { resource_version: 99 }),
  ],
  [
    'an adjustment was told with another delta',
    ['stock_events'],
    (db) => rewriteNewest(db, 'product.stock_adjusted', '"delta":-4', '"delta":-14'),
  ],
  [
    'an adjustment was told that never was',
    ['stock_events'],
    (db) => copyNewest(db, 'product.stock_adjusted', { resource_id: 1, data: '{"adjustment":{"id":999,"delta":1}}' }),
  ],
  ['a product was made without an event', ['stock_events', 'positions'], (db) => deleteNewest(db, 'product.created')],
  ['an event is lost', ['positions'], (db) => deleteNewest(db, 'product.out_of_stock')],
  [
    'a position is beyond the last one',
    ['positions'],
    (db) =>
      db
        .updateTable('event_feed')
        .set((eb) => ({ position: eb('position', '-', 1) }))
        .execute(),
  ],
  [
    'a position was given to no event',
    ['positions'],
    (db) =>
      db
        .updateTable('event_feed')
        .set((eb) => ({ position: eb('position', '+', 1) }))
        .execute(),
  ],
  [
    'two events have the same position',
    ['positions'],
    async (db) => {
      const { position } = await newestOf(db, 'product.created')
      await copyNewest(db, 'product.out_of_stock', { resource_version: 99, position })
    },
  ],
  [
    'an event never got a position',
    ['late_events'],
    (db) => copyNewest(db, 'product.out_of_stock', { resource_version: 99, occurred_at: OLD }),
  ],
]

describeEachEngine('the audit of the feed', (engine) => {
  const system = useSystem(engine)

  const differing = async (db: Database) => {
    const { findings } = await auditBooks(db, { sweepSeconds: 15 })
    return findings.filter(({ differences }) => differences.length > 0).map(({ check }) => check)
  }

  beforeAll(async () => {
    await newProduct(system)
    const { id } = await newProduct(system, { stock: 5 })
    const customer = await newCustomer(system)
    await system.customers.put(`/customers/${customer.id}`, { name: 'New', email: customer.email })
    const order = await newOrder(system, [{ product_id: id, qty: 5 }], { customer_id: customer.id })
    await system.orders.post(`/orders/${order.id}/confirm`, undefined, { headers: { 'idempotency-key': newKey() } })
    await system.orders.post(`/orders/${order.id}/cancel`)
    await system.orders.post(`/products/${id}/stock-adjustments`, { delta: 2, reason: 'initial stock' })
    await system.orders.patch(`/products/${id}`, { stock: 3 })
    await numberEvents(system.db)
  })

  /** Runs work on the system's rows, and undoes what it did. */
  async function undone(work: (trx: Database) => Promise<void>): Promise<void> {
    const end = new Error('undone')
    const working = system.db.transaction().execute(async (trx) => {
      await work(trx)
      throw end
    })
    await working.catch((error) => {
      if (error !== end) throw error
    })
  }

  it('when nothing was touched, then the books balance', async () => {
    expect(await differing(system.db)).toEqual([])
  })

  it.each(BREAKS)('when %s, then %j differ', async (_, checks, breakFeed) => {
    await undone(async (trx) => {
      await breakFeed(trx)
      expect(await differing(trx)).toEqual(checks)
    })
    expect(await differing(system.db)).toEqual([])
  })

  it('when rows of a former version have no events, then the audit says what to do', async () => {
    await undone(async (trx) => {
      await deleteNewest(trx, 'order.placed')
      const { findings } = await auditBooks(trx, { sweepSeconds: 15 })
      const finding = findings.find(({ check }) => check === 'placed_events')
      expect(finding).toMatchObject({ remedy: expect.stringContaining('npm run events:backfill') })
    })
  })

  it('when the event of an order was made afterwards, then it may be of any version', async () => {
    await undone(async (trx) => {
      await deleteNewest(trx, 'order.placed')
      await changeNewest(trx, 'order.confirmed', { type: 'order.placed', reason: 'backfilled' })
      expect(await differing(trx)).toEqual(['positions'])
    })
  })

  it('when an event was added afterwards, then it may come after a later version', async () => {
    await undone(async (trx) => {
      const { position } = await newestOf(trx, 'order.confirmed')
      const { last } = await trx.selectFrom('event_feed').select('position as last').executeTakeFirstOrThrow()
      await changeNewest(trx, 'order.confirmed', { position: last + 1, reason: 'backfilled' })
      await changeNewest(trx, 'product.updated', { position })
      await trx
        .updateTable('event_feed')
        .set({ position: last + 1 })
        .execute()
      expect(await differing(trx)).toEqual(['positions'])
    })
  })

  describe('when old events were deleted', () => {
    /** Ages the events before a type's newest one, with their orders, and deletes them. */
    async function deleteBefore(trx: Database, type: string): Promise<void> {
      const { position } = await newestOf(trx, type)
      const old = addDays(await readClock(trx), -40)
      await trx.updateTable('events').set({ occurred_at: old }).where('position', '<', position).execute()
      await trx.updateTable('orders').set({ created_at: old }).execute()
      await trx.updateTable('orders').set({ confirmed_at: old }).where('confirmed_at', 'is not', null).execute()
      await trx.updateTable('orders').set({ canceled_at: old }).where('canceled_at', 'is not', null).execute()
      await trx
        .updateTable('stock_adjustments')
        .set({ created_at: old })
        .where('reason', '=', 'initial stock')
        .execute()
      await trx
        .updateTable('event_feed')
        .set({ started_at: addDays(old, -10) })
        .execute()
      await deleteEvents(trx, 30)
    }

    it.each(['order.confirmed', 'order.canceled', 'product.updated'])('up to %s, then that is right', async (type) => {
      await undone(async (trx) => {
        await deleteBefore(trx, type)
        expect(await differing(trx)).toEqual([])
      })
    })

    it('and one of a later order is lost, then that is found', async () => {
      await undone(async (trx) => {
        await deleteBefore(trx, 'order.confirmed')
        await changeOrder(trx, 'order.confirmed', { created_at: YOUNG, canceled_at: YOUNG, confirmed_at: YOUNG })
        expect(await differing(trx)).toEqual(['placed_events'])
      })
    })

    it('all of them, then that is right', async () => {
      await undone(async (trx) => {
        await trx.deleteFrom('events').execute()
        expect(await differing(trx)).toEqual([])
      })
    })
  })

  it('when the demo data is put back, then the books balance, and go on', async () => {
    await resetDemoData(system.db)
    expect(await differing(system.db)).toEqual([])
    await newOrder(system, [{ product_id: 1, qty: 1 }])
    await numberEvents(system.db)
    expect(await differing(system.db)).toEqual([])
  })
})

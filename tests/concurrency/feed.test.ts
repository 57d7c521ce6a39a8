import { DatabaseSync } from 'node:sqlite'
import type { RowDataPacket } from 'mysql2/promise'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { numberAll } from '../../src/events/keeper.ts'
import { lastPosition } from '../../src/platform/events/feed.ts'
import { endOfFeed, type ListedEvent, readOn, typesOf } from '../../testing/feed.ts'
import { startInstance } from '../../testing/instances.ts'
import { forgedCursor } from '../../testing/lists.ts'
import { atOnce, newCustomer, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, openSession, type TestSystem, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

const BACKLOG = 100_000

/** An event of a customer that only this id has, written by hand in a transaction beside the pool. */
const INSERT = `insert into events (type, resource_type, resource_id, resource_version, actor, data, occurred_at)
  values ('customer.created', 'customer', ?, 1, 'system:test', '{}', '2026-01-05 09:00:00.000')`

/** Readers that stand at different places, each with all that it has seen. */
function startReaders(system: TestSystem, cursors: string[]) {
  const readers = cursors.map((cursor) => ({ cursor, seen: [] as ListedEvent[] }))
  return {
    async readAll(): Promise<void> {
      for (const reader of readers) {
        const { events, cursor } = await readOn(system, reader.cursor, '&limit=3')
        reader.seen.push(...events)
        reader.cursor = cursor
      }
    },
    /** What each reader has seen of customers, as ids. */
    customersSeen: () =>
      readers.map(({ seen }) =>
        seen.filter(({ type }) => type === 'customer.created').map(({ resource }) => resource.id),
      ),
    expectNoGap(): void {
      for (const { seen } of readers) expectDense(seen)
    },
  }
}

function expectDense(events: readonly ListedEvent[]): void {
  const positions = events.map(({ position }) => position)
  expect(positions).toEqual(positions.map((_, i) => positions[0] + i))
  expect(new Set(events.map(({ id }) => id)).size).toBe(events.length)
}

describe.skipIf(inject('mysql') === null)('two transactions that commit in another order than they began', () => {
  const system = useSystem('mysql')

  it('when the later one commits first, then all readers get the earlier one too, once', async () => {
    const start = await endOfFeed(system)
    const readers = startReaders(system, [start, start])
    const session = await openSession(system)
    await session.query('begin')
    await session.query(INSERT, [9_000_001])
    const { id: later } = await newCustomer(system)
    const [opened] = await session.query<RowDataPacket[]>('select last_insert_id() as id')
    const made = system.db.selectFrom('events').select('id').where('resource_id', '=', later)
    expect(await made.executeTakeFirst()).toEqual({ id: opened[0]?.id + 1 })

    await readers.readAll()
    expect(readers.customersSeen()).toEqual([[later], [later]])
    const { id: latest } = await newCustomer(system)
    await readers.readAll()
    await session.query('commit')
    await readers.readAll()
    expect(readers.customersSeen()).toEqual([
      [later, latest, 9_000_001],
      [later, latest, 9_000_001],
    ])
    readers.expectNoGap()
    // Who comes now sees them in the same order.
    const { events } = await readOn(system, start, '&types=customer.created')
    expect(events.map(({ resource }) => resource.id)).toEqual([later, latest, 9_000_001])
  })

  it('when the earlier one is rolled back, then nobody waits for it', async () => {
    const start = await endOfFeed(system)
    const session = await openSession(system)
    await session.query('begin')
    await session.query(INSERT, [9_000_002])
    const { id } = await newCustomer(system)
    const { events } = await readOn(system, start)
    await session.query('rollback')
    expect(events.map(({ resource }) => resource.id)).toEqual([id])
    const { id: next } = await newCustomer(system)
    const { events: all } = await readOn(system, start)
    expect(all.map(({ resource }) => resource.id)).toEqual([id, next])
    expectDense(all)
  })

  it('when sessions commit in a mixed order, then readers between get each event once', async () => {
    const readers = startReaders(system, [await endOfFeed(system), await endOfFeed(system)])
    const sessions = await atOnce(6, () => openSession(system))
    for (const [i, session] of sessions.entries()) {
      await session.query('begin')
      await session.query(INSERT, [9_001_000 + i])
    }
    const order = [4, 1, 5, 0, 3, 2]
    for (const i of order) {
      await sessions[i]?.query('commit')
      await readers.readAll()
    }
    const expected = order.map((i) => 9_001_000 + i)
    expect(readers.customersSeen()).toEqual([expected, expected])
    readers.expectNoGap()
  })
})

describe('a second writer of the embedded file', () => {
  const system = useSystem('sqlite')

  it('when a transaction is open, then the next one waits, and readers get both', async () => {
    const start = await endOfFeed(system)
    const readers = startReaders(system, [start, start])
    const session = new DatabaseSync(system.env.database.file)
    onTestFinished(() => session.close())
    session.exec('begin immediate')
    session.prepare(INSERT).run(9_000_001)
    let waited = true
    const waiting = newCustomer(system).finally(() => {
      waited = false
    })
    for (let i = 0; i < 5; i++) await readers.readAll()
    expect([waited, readers.customersSeen()]).toEqual([true, [[], []]])
    session.exec('commit')
    await readers.readAll()
    const { id } = await waiting
    await readers.readAll()
    expect(readers.customersSeen()).toEqual([
      [9_000_001, id],
      [9_000_001, id],
    ])
    readers.expectNoGap()
  })
})

describeEachEngine('the feed under load', (engine) => {
  const system = useSystem(engine)

  it('when several processes place, number and read at once, then each event once', async () => {
    const start = await endOfFeed(system)
    const [product, ...instances] = [
      await newProduct(system, { stock: 10_000 }),
      await startInstance('orders', system),
      await startInstance('orders', system),
    ]
    const apis = [system.orders, ...instances.map(({ api }) => api)]
    const placed: number[] = []
    const body = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const placing = atOnce(30, async (i) => {
      const { body: order, status } = await (apis[i % 3] ?? system.orders).post('/orders', body)
      expect(status).toBe(201)
      placed.push(order.id)
    })
    const readers = apis.map((orders) => ({ system: { ...system, orders }, cursor: start, seen: [] as ListedEvent[] }))
    let isDone = false
    const reading = readers.map(async (reader) => {
      while (!isDone) {
        const { events, cursor } = await readOn(reader.system, reader.cursor)
        reader.seen.push(...events)
        reader.cursor = cursor
      }
    })
    await placing
    isDone = true
    await Promise.all(reading)
    for (const reader of readers) reader.seen.push(...(await readOn(reader.system, reader.cursor)).events)
    for (const { seen } of readers) {
      expectDense(seen)
      const orders = seen.filter(({ type }) => type === 'order.placed').map(({ resource }) => resource.id)
      expect(orders.sort()).toEqual(placed.sort())
    }
  })

  it('when 100,000 events get their positions, then no order waits for that', async () => {
    const before = await endOfFeed(system)
    await writeBacklog(system, BACKLOG)
    const { id } = await newProduct(system, { stock: 10_000 })
    let isDone = false
    const numbering = numberAll(system.db).finally(() => {
      isDone = true
    })
    /** How many positions were given while one order was placed. */
    const given: number[] = []
    while (!isDone) {
      const start = await lastPosition(system.db)
      await newOrder(system, [{ product_id: id, qty: 1 }])
      given.push((await lastPosition(system.db)) - start)
    }
    await numbering
    // Each of some dozens of orders passed by: none took more than a part of the numbering.
    expect(given.length).toBeGreaterThan(20)
    expect(Math.max(...given)).toBeLessThan(BACKLOG / 4)
    const { body } = await system.orders.get(`/events?after=${before}&limit=500`)
    expectDense(body.data)
    const count = await system.db
      .selectFrom('events')
      .select(({ fn }) => fn.countAll<number>().as('n'))
      .execute()
    expect(await lastPosition(system.db)).toBe(Number(count[0]?.n))
    const end = forgedCursor('events', (await lastPosition(system.db)) - 10)
    expect(typesOf((await readOn(system, end)).events)).toHaveLength(10)
  })
})

/** Events without a position, as many writers would leave them at once. */
async function writeBacklog({ db }: TestSystem, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1_000) {
    const rows = Array.from({ length: 1_000 }, (_, n) => ({
      type: 'customer.updated',
      resource_type: 'customer',
      resource_id: 10_000_000 + i + n,
      resource_version: 1,
      customer_id: null,
      actor: 'system:test',
      correlation_id: null,
      traceparent: null,
      reason: null,
      data: '{}',
      occurred_at: '2026-01-05 09:00:00.000',
    }))
    await db.insertInto('events').values(rows).execute()
  }
}

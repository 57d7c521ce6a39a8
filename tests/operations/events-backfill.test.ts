import { sql } from 'kysely'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { sweepFeed } from '../../src/events/keeper.ts'
import { backfillEvents } from '../../src/orders/backfill-events.ts'
import { readClock } from '../../src/platform/database/clock.ts'
import { endOfFeed, eventsOf, type ListedEvent, readOn, typesOf } from '../../testing/feed.ts'
import { readBooks, variablesOf } from '../../testing/fixture.ts'
import { runProgram } from '../../testing/programs.ts'
import { atOnce, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, startSystem, type TestSystem, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

describeEachEngine('npm run events:backfill', (engine) => {
  const system = useSystem(engine)
  const backfill = (...args: string[]) => runProgram('events:backfill', variablesOf(system.env), args)

  /** An order whose events are taken away: an older version would have left it like this. */
  async function olderOrder(on: TestSystem = system, { versions = [] as number[] } = {}) {
    const product = await newProduct(on)
    const { id } = await newOrder(on, [{ product_id: product.id, qty: 1 }])
    await on.orders.post(`/orders/${id}/confirm`, undefined, { headers: { 'idempotency-key': newKey() } })
    await on.orders.patch(`/orders/${id}`, { notes: 'n' })
    const { body } = await on.orders.post(`/orders/${id}/cancel`)
    const own = on.db.deleteFrom('events').where('resource_type', '=', 'order').where('resource_id', '=', id)
    await own.where('resource_version', 'in', versions.length > 0 ? versions : [1, 2, 3, 4]).execute()
    return body
  }

  const historyOf = async (id: number) => (await system.orders.get(`/orders/${id}/history`)).body.data
  const versionsOf = (events: ListedEvent[]) => events.map(({ resource }) => resource.version)

  it('when an older version served meanwhile, then its orders get their events, once', async () => {
    const start = await endOfFeed(system)
    const orders = await atOnce(3, () => olderOrder())
    const partly = await olderOrder(system, { versions: [1, 3] })
    const { code, stdout, stderr } = await backfill()
    expect({ code, stderr, stdout }).toEqual({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/: 14 events added, \d+ orders looked at\.\n$/),
    })
    for (const order of orders) {
      const events = await historyOf(order.id)
      expect(typesOf(events)).toEqual(['order.placed', 'order.confirmed', 'order.updated', 'order.canceled'])
      expect(versionsOf(events)).toEqual([1, 2, 3, 4])
      for (const event of events) {
        expect(event).toMatchObject({ actor: { type: 'system', id: 'backfill' }, correlation_id: null })
        expect(event.data).toEqual({ order, reason: 'backfilled' })
      }
      const [placed, confirmed, , canceled] = events.map(({ timestamp }: ListedEvent) => timestamp)
      expect([placed, confirmed, canceled]).toEqual([order.created_at, order.confirmed_at, order.canceled_at])
    }
    const mixed = await historyOf(partly.id)
    expect(versionsOf(mixed)).toEqual([1, 2, 3, 4])
    expect(mixed.map(({ data }: ListedEvent) => data.reason ?? null)).toEqual([
      'backfilled',
      null,
      'backfilled',
      'requested',
    ])
    const { events } = await readOn(system, start, '&types=order.*')
    expect(events.filter(({ data }) => data.reason === 'backfilled')).toHaveLength(14)
    expect((await backfill()).stdout).toContain(': 0 events added')
    expect((await readOn(system, start, '&types=order.*')).events).toEqual(events)
  })

  it('when an older order has no event, then none; with --all, one that shows it now', async () => {
    const order = await olderOrder()
    await fromBeforeTheFeed(system, order.id)
    expect((await backfill()).stdout).toContain(': 0 events added')
    expect(await historyOf(order.id)).toEqual([])
    expect((await backfill('--all')).stdout).toContain(': 1 events added')
    const { body } = await system.orders.get(`/orders/${order.id}`)
    expect(await historyOf(order.id)).toMatchObject([
      { type: 'order.placed', resource: { version: 4 }, data: { order: body, reason: 'backfilled' } },
    ])
    expect((await backfill('--all')).stdout).toContain(': 0 events added')
  })

  it('when an older order has events, then what follows its first one is added', async () => {
    const order = await olderOrder(system, { versions: [1, 3] })
    await fromBeforeTheFeed(system, order.id)
    expect((await backfill()).stdout).toContain(': 1 events added')
    expect(versionsOf(await historyOf(order.id))).toEqual([2, 3, 4])
    expect((await backfill('--all')).stdout).toContain(': 1 events added')
    expect(typesOf(await historyOf(order.id))[0]).toBe('order.placed')
    expect(versionsOf(await historyOf(order.id))).toEqual([1, 2, 3, 4])
  })

  it('when it was interrupted, then it goes on after an order', async () => {
    const [first, second] = [await olderOrder(), await olderOrder()]
    expect((await backfill('--after', String(first.id))).stdout).toMatch(/: 4 events added, 1 orders looked at/)
    expect([await historyOf(first.id), await historyOf(second.id)]).toMatchObject([[], { length: 4 }])
    expect((await backfill()).stdout).toContain(': 4 events added')
  })

  it.each([['--after', '0'], ['--after', 'x'], ['--after', '-5'], ['--nonsense']])(
    'when it gets %s %s, then it is refused with the help',
    async (...args) => {
      const { code, stderr } = await backfill(...args)
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('npm run events:backfill') })
    },
  )

  describe('at scale', () => {
    it('when several run at once amid changes, then each version has one event', async () => {
      const { system, stop } = await startSystem(engine)
      onTestFinished(stop)
      await manyOrders(system, 1_000)
      const { id: product_id } = await newProduct(system, { stock: 1_000 })
      let isDone = false
      const progress: number[] = []
      const running = Promise.all(
        Array.from({ length: 3 }, () =>
          backfillEvents(system.db, { all: false, after: 0 }, (_, id) => progress.push(id)),
        ),
      ).finally(() => {
        isDone = true
      })
      const changed: number[] = []
      while (!isDone) {
        const { id } = await newOrder(system, [{ product_id, qty: 1 }])
        await system.orders.patch(`/orders/${id}`, { notes: 'n' })
        // One of those that are being looked at.
        await system.orders.patch(`/orders/${900 - changed.length}`, { notes: 'n' })
        changed.push(id)
      }
      const done = await running
      expect(done.reduce((sum, { events }) => sum + events, 0)).toBe(1_000)
      expect(progress.length).toBeGreaterThan(3 * 5)
      const { rows } = await sql<{ id: number; version: number; events: number; versions: number }>`
        select o.id, o.version, count(*) as events, count(distinct resource_version) as versions
        from orders o join events on resource_type = 'order' and resource_id = o.id group by o.id, o.version`.execute(
        system.db,
      )
      const wrong = rows.filter(
        ({ version, events, versions }) => Number(events) !== version || Number(versions) !== version,
      )
      expect(wrong).toEqual([])
      expect(rows.length).toBe(4 + 1_000 + changed.length)
      expect(await backfillEvents(system.db, { all: true, after: 0 }, () => {})).toMatchObject({ events: 0 })
    })

    it('when an older version changed products and customers, then the books balance after it', async () => {
      const { system, stop } = await startSystem(engine)
      onTestFinished(stop)
      const product = await newProduct(system, { stock: 10 })
      const customer = await system.customers.post('/customers', { name: 'A', email: 'a@example.com' })
      await asOlderVersion(system, { product: product.id, customer: customer.body.id })
      const differing = async () =>
        new Set((await readBooks(system.db, system.env)).differences.map(({ check }) => check))
      expect(await differing()).toEqual(new Set(['event_versions', 'stock_events']))
      await backfillEvents(system.db, { all: false, after: 0 }, () => {})
      expect(await differing()).toEqual(new Set())
      await asOlderVersion(system, { product: product.id, customer: customer.body.id })
      expect(await differing()).toEqual(new Set(['stock_events']))
    })

    it('when old events were deleted, then they are not made again', async () => {
      const { system, stop } = await startSystem(engine)
      onTestFinished(stop)
      const product = await newProduct(system)
      await newOrder(system, [{ product_id: product.id, qty: 1 }])
      await system.orders.get('/events')
      const old = '2026-02-01 00:00:00.000'
      const aged = system.db.updateTable('orders').set({ created_at: old, expires_at: '2099-01-01 00:00:00.000' })
      await aged.where('id', '=', 5).execute()
      await system.db.updateTable('events').set({ occurred_at: old }).where('position', '>', 14).execute()
      const { id: next } = await newOrder(system, [{ product_id: product.id, qty: 1 }])
      await system.orders.get('/events')
      const { events: deleted = 0 } = await sweepFeed(system.db, { retentionDays: 30 })
      expect(deleted).toBe(16)
      const events = await eventsOf(system, async () => {
        expect(await backfillEvents(system.db, { all: false, after: 0 }, () => {})).toMatchObject({ events: 0 })
        await system.db
          .deleteFrom('events')
          .where('resource_id', '=', next)
          .where('resource_type', '=', 'order')
          .execute()
      })
      expect(events).toEqual([])
      // Without any event nobody knows what was deleted.
      expect(await backfillEvents(system.db, { all: false, after: 0 }, () => {})).toMatchObject({ events: 0 })
    })
  })
})

/** Lets an order be from before the feed began. */
async function fromBeforeTheFeed({ db }: TestSystem, id: number): Promise<void> {
  const { started_at } = await db.selectFrom('event_feed').select('started_at').executeTakeFirstOrThrow()
  const created_at = `2025${started_at.slice(4)}`
  await db.updateTable('orders').set({ created_at }).where('id', '=', id).execute()
}

/** Adjusts a product's stock and changes a customer as an older version does, without events. */
async function asOlderVersion(
  { db }: TestSystem,
  { product: product_id, customer }: { product: number; customer: number },
): Promise<void> {
  const entry = { product_id, delta: 5, reason: 'counted', principal: 'client:demo', created_at: await readClock(db) }
  await db.insertInto('stock_adjustments').values(entry).execute()
  await db
    .updateTable('products')
    .set((eb) => ({ stock: eb('stock', '+', 5) }))
    .where('id', '=', product_id)
    .execute()
  await db
    .updateTable('customers')
    .set((eb) => ({ version: eb('version', '+', 1) }))
    .where('id', '=', customer)
    .execute()
}

/** Orders as an older version places them, without events. */
async function manyOrders({ db }: TestSystem, count: number): Promise<void> {
  const row = { customer_id: 1, status: 'CREATED', total_cents: 0, confirmed_at: null } as const
  const times = { created_at: '2026-02-01 00:00:00.000', expires_at: '2099-01-01 00:00:00.000' }
  await db
    .insertInto('orders')
    .values(Array.from({ length: count }, () => ({ ...row, ...times })))
    .execute()
}

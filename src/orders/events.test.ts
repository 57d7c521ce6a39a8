import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { endOfFeed, eventsOf, readOn, typesOf } from '../../testing/feed.ts'
import { expectProblem } from '../../testing/problems.ts'
import { atOnce, endHold, newCustomer, newKey, newOrder, newProduct, ordersOf } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Database } from '../platform/database/types.ts'
import { withoutDetails } from './events.ts'

const keyed = (key = newKey()) => ({ headers: { 'idempotency-key': key } })

describeEachEngine('events of orders', (engine) => {
  const system = useSystem(engine)

  const confirm = (id: number, key?: string) => system.orders.post(`/orders/${id}/confirm`, undefined, keyed(key))
  const cancel = (id: number) => system.orders.post(`/orders/${id}/cancel`)
  const historyOf = async ({ id }: { id: number }) => (await system.orders.get(`/orders/${id}/history`)).body.data

  async function newItems(fields: Record<string, unknown> = {}) {
    const product = await newProduct(system, fields)
    return [{ product_id: product.id, qty: 1 }]
  }

  it('when an order is placed, confirmed and canceled, then each is an event', async () => {
    const order = await newOrder(system, await newItems())
    const headers = { 'x-idempotency-key': newKey(), 'x-correlation-id': 'corr-1' }
    const confirmed = await system.orders.post(`/orders/${order.id}/confirm`, undefined, { headers })
    const canceled = await cancel(order.id)
    const events = await historyOf(order)
    expect(events).toMatchObject([
      { type: 'order.placed', resource: { version: 1 } },
      { type: 'order.confirmed', resource: { version: 2 } },
      { type: 'order.canceled', resource: { version: 3 } },
    ])
    const { expires_at } = JSON.parse(JSON.stringify(order))
    expect(events.map(({ data }: { data: unknown }) => data)).toEqual([
      { order },
      { order: confirmed.body, previous: { status: 'CREATED', confirmed_at: null, expires_at } },
      { order: canceled.body, previous: { status: 'CONFIRMED', canceled_at: null }, reason: 'requested' },
    ])
    expect(events[1]).toEqual({
      id: expect.stringMatching(/^evt_\d+$/),
      type: 'order.confirmed',
      timestamp: confirmed.body.confirmed_at,
      position: expect.any(Number),
      resource: { type: 'order', id: order.id, version: 2 },
      actor: { type: 'client', id: 'tests' },
      correlation_id: 'corr-1',
      data: events[1].data,
    })
  })

  it('when an order is placed confirmed, then one event tells it', async () => {
    const items = await newItems()
    const key = newKey()
    const body = { customer_id: 1, items, confirm: true }
    const events = await eventsOf(system, async () => {
      const first = await system.orders.post('/orders', body, keyed(key))
      expect(first.body.status).toBe('CONFIRMED')
      expect((await system.orders.post('/orders', body, keyed(key))).text).toBe(first.text)
    })
    expect(events).toMatchObject([{ type: 'order.placed', data: { order: { status: 'CONFIRMED', version: 1 } } }])
    expect(events[0].data).not.toHaveProperty('previous')
  })

  it('when a hold ends, then the system cancels the order', async () => {
    const items = await newItems({ stock: 1 })
    const order = await newOrder(system, items)
    await endHold(system, order.id)
    const events = await eventsOf(system, () => system.sweeps.releaseExpiredHolds())
    expect(events).toMatchObject([
      { type: 'product.back_in_stock', data: { product: { id: items[0]?.product_id, stock: 1, stock_low_at: null } } },
      { type: 'order.canceled', actor: { type: 'system', id: 'holds' }, data: { reason: 'hold_expired' } },
    ])
    expect(events[1]).toMatchObject({ correlation_id: null, data: { previous: { status: 'CREATED' } } })
  })

  it('when a refused confirm finds an ended hold, then the system cancels the order', async () => {
    const order = await newOrder(system, await newItems())
    await endHold(system, order.id)
    const events = await eventsOf(system, async () => {
      expectProblem(await confirm(order.id), 409, 'order_canceled')
    })
    expect(events).toMatchObject([{ type: 'order.canceled', actor: { type: 'system', id: 'holds' } }])
  })

  it('when details change, then previous has the old values of these alone', async () => {
    const details = { notes: 'old', metadata: { a: '1' }, po_number: newKey() }
    const order = await newOrder(system, await newItems(), details)
    const change = { notes: 'new', metadata: { a: '1' }, requested_delivery_date: '2099-11-30' }
    const { body } = await system.orders.patch(`/orders/${order.id}`, change)
    const [, event] = await historyOf(order)
    expect(event).toMatchObject({ type: 'order.updated', resource: { version: 2 } })
    expect(event.data).toEqual({ order: body, previous: { notes: 'old', requested_delivery_date: null } })
  })

  it('when requests are replayed or refused, then they make no event', async () => {
    const items = await newItems({ stock: 2 })
    const [placing, confirming, updating] = [newKey(), newKey(), newKey()]
    const body = { customer_id: 1, items }
    const { body: order } = await system.orders.post('/orders', body, keyed(placing))
    const change = { notes: 'n' }
    await confirm(order.id, confirming)
    await system.orders.patch(`/orders/${order.id}`, change, keyed(updating))
    const events = await eventsOf(system, async () => {
      const replays = [
        await system.orders.post('/orders', body, keyed(placing)),
        await confirm(order.id, confirming),
        await confirm(order.id),
        await system.orders.patch(`/orders/${order.id}`, change, keyed(updating)),
      ]
      expect(replays.map(({ status }) => status)).toEqual([201, 200, 200, 200])
      expectProblem(await system.orders.post('/orders', { ...body, items: tooMany(items) }), 409, 'insufficient_stock')
      expectProblem(await system.orders.post('/orders', { ...body, customer_id: 9_000_000 }), 422, 'customer_not_found')
      expectProblem(
        await system.orders.patch(`/orders/${order.id}`, change, { headers: { 'if-match': '"1"' } }),
        412,
        'precondition_failed',
      )
      expectProblem(await confirm(9_000_000), 404, 'not_found')
    })
    expect(events).toEqual([])
  })

  it('when confirms and cancels come at once, then the events are one line of versions', async () => {
    const order = await newOrder(system, await newItems())
    await atOnce(20, (i) => (i % 2 === 0 ? confirm(order.id) : cancel(order.id)))
    const events = await historyOf(order)
    const { body } = await system.orders.get(`/orders/${order.id}`)
    expect(events.map(({ resource }: { resource: { version: number } }) => resource.version)).toEqual(
      Array.from({ length: body.version }, (_, i) => i + 1),
    )
    expect(events.at(-1).data.order).toEqual(body)
  })

  it('when ten confirms have one key, then one event', async () => {
    const [order, key] = [await newOrder(system, await newItems()), newKey()]
    const responses = await atOnce(10, () => confirm(order.id, key))
    expect(new Set(responses.map(({ text }) => text)).size).toBe(1)
    expect(typesOf(await historyOf(order))).toEqual(['order.placed', 'order.confirmed'])
  })

  it('when a batch is rolled back for one of its orders, then that one leaves no event', async () => {
    await failOn(system.db, 'poison')
    const [customer, items] = [await newCustomer(system), await newItems()]
    const body = { customer_id: customer.id, items }
    const start = await endOfFeed(system)
    const responses = await atOnce(10, (i) => system.orders.post('/orders', body, keyed(i === 4 ? 'poison' : newKey())))
    const placed = responses.flatMap(({ status, body }) => (status === 201 ? [body.id] : []))
    const { events } = await readOn(system, start)
    expect(placed).toHaveLength(9)
    expect(typesOf(events)).toEqual(Array(9).fill('order.placed'))
    expect(events.map(({ resource }) => resource.id).sort()).toEqual(placed.sort())
    expect(await ordersOf(system, customer.id)).toHaveLength(9)
  })

  describe('when its customer is erased', () => {
    const SHIP_TO = { name: 'Zoe Erasable', line1: 'Erase Road 1', city: 'Erasetown', postal_code: '1', country: 'DE' }

    it('then no event of its orders has personal data, nor what it was before', async () => {
      const customer = await newCustomer(system, { name: 'Zoe Erasable', phone: '555-erase' })
      const details = { ship_to: SHIP_TO, notes: 'for Zoe Erasable', metadata: { contact: 'Zoe Erasable' } }
      const order = await newOrder(system, await newItems(), { customer_id: customer.id, ...details })
      await system.orders.patch(`/orders/${order.id}`, { notes: 'Zoe Erasable again', metadata: { b: 'Erasable' } })
      await confirm(order.id)
      const bare = await newOrder(system, await newItems(), { customer_id: customer.id, notes: 'Erasable' })
      await system.orders.patch(`/orders/${bare.id}`, { notes: '', requested_delivery_date: '2099-11-30' })
      const untouched = await historyOf(await newOrder(system, await newItems(), { notes: 'Erasable' }))
      const events = await eventsOf(system, () => system.customers.post(`/customers/${customer.id}/erase`))
      expect(events).toMatchObject([
        { type: 'customer.updated', actor: { type: 'client', id: 'tests' }, data: { reason: 'erased' } },
        { type: 'order.updated', actor: { type: 'system', id: 'erasure' }, data: { reason: 'erased' } },
      ])
      const history = await historyOf(order)
      expect(typesOf(history)).toEqual(['order.placed', 'order.updated', 'order.confirmed', 'order.updated'])
      expect(history[1].data.previous).toEqual({})
      expect(history[3]).toMatchObject({ resource: { version: 4 } })
      expect(history[3].data).toEqual({
        order: (await system.orders.get(`/orders/${order.id}`)).body,
        reason: 'erased',
      })
      expect((await historyOf(bare))[1].data.previous).toEqual({ requested_delivery_date: null })
      const all = await system.db.selectFrom('events').select('data').where('customer_id', '=', customer.id).execute()
      expect(all).toHaveLength(8)
      expect(JSON.stringify(all)).not.toMatch(/erasable|erase road|erasetown|555-erase/i)
      expect(JSON.stringify(await historyOf({ id: untouched[0].resource.id }))).toContain('Erasable')
    })

    it('then erasing again changes no event', async () => {
      const customer = await newCustomer(system)
      await newOrder(system, await newItems(), { customer_id: customer.id, notes: 'n' })
      const erase = () => system.customers.post(`/customers/${customer.id}/erase`, undefined, keyed())
      const rows = () =>
        system.db.selectFrom('events').selectAll().where('customer_id', '=', customer.id).orderBy('id').execute()
      await erase()
      const before = await rows()
      expect(await eventsOf(system, erase)).toEqual([])
      expect((await rows()).map(({ data }) => data)).toEqual(before.map(({ data }) => data))
    })
  })
})

it('when details are taken out of an event, then all else stays', () => {
  const order = { id: 1, notes: 'n', ship_to: { name: 'x' }, metadata: null, total_cents: 5 }
  const rest = { previous: { notes: 'm', status: 'CREATED' }, reason: 'requested' }
  expect(JSON.parse(withoutDetails(JSON.stringify({ order, ...rest })))).toEqual({
    order: { id: 1, total_cents: 5 },
    previous: { status: 'CREATED' },
    reason: 'requested',
  })
})

/** Lets the database refuse to store a response under this key. */
async function failOn(db: Database, key: string): Promise<void> {
  const bodies = {
    mysql: `for each row begin if new.\`key\` = '${key}' then signal sqlstate '45000'; end if; end`,
    sqlite: `when new.key = '${key}' begin select raise(abort, 'no'); end`,
  }
  await sql.raw(`create trigger fail_on before insert on idempotency_keys ${bodies[dialectOf(db).engine]}`).execute(db)
}

function tooMany(items: { product_id: number; qty: number }[]) {
  return items.map((item) => ({ ...item, qty: 1_000 }))
}

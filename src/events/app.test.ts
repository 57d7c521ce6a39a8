import { describe, expect, it } from 'vitest'
import { endOfFeed, eventsOf, type ListedEvent, readOn, resourceOf, typesOf } from '../../testing/feed.ts'
import { forgedCursor, readPages } from '../../testing/lists.ts'
import { expectFaults, expectProblem } from '../../testing/problems.ts'
import { atOnce, LONG_AGO, newCustomer, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, openSession, startSystem, useSystem } from '../../testing/system.ts'
import { SCOPES } from '../compose/modules.ts'
import { fromRfc3339 } from '../platform/core/time.ts'
import { deleteEvents } from '../platform/events/retention.ts'
import { numberAll, sweepFeed } from './keeper.ts'
import { EVENT_TYPES } from './types.ts'

describeEachEngine('the feed', (engine) => {
  const system = useSystem(engine)

  const ask = (query: string, token?: string) =>
    system.orders.get(`/events${query}`, token === undefined ? {} : { token })

  describe('pages', () => {
    it('when 50 orders are placed at once, then each is there, and positions have no gap', async () => {
      const product = await newProduct(system, { stock: 50, stock_low_at: 10 })
      const customer = await newCustomer(system)
      const start = await endOfFeed(system)
      const items = [{ product_id: product.id, qty: 1 }]
      const orders = await atOnce(50, () => newOrder(system, items, { customer_id: customer.id }))
      const { events, pages } = await readOn(system, start, '&limit=7')
      const positions = events.map(({ position }) => position)
      expect(positions).toEqual(positions.map((_, i) => positions[0] + i))
      const placed = events.filter(({ type }) => type === 'order.placed')
      expect(placed.map(({ resource }) => resource.id).sort()).toEqual(orders.map(({ id }) => id).sort())
      expect(typesOf(events.filter((event) => !placed.includes(event)))).toEqual([
        'product.stock_low',
        'product.out_of_stock',
      ])
      expect(pages).toBe(Math.ceil(52 / 7))
    })

    it('when the page is full, then has_more says whether more follows', async () => {
      const start = await endOfFeed(system)
      for (let i = 0; i < 3; i++) await newCustomer(system)
      const pageOf = async (limit: number) => (await ask(`?after=${start}&limit=${limit}`)).body
      expect([await pageOf(2), await pageOf(3), await pageOf(4)]).toMatchObject([
        { data: { length: 2 }, has_more: true },
        { data: { length: 3 }, has_more: false },
        { data: { length: 3 }, has_more: false },
      ])
    })

    it('when nothing new happens, then the page is empty, and its cursor goes on', async () => {
      const end = await endOfFeed(system)
      const { body } = await ask(`?after=${end}`)
      expect(body).toEqual({ data: [], next_cursor: end, has_more: false })
      await newCustomer(system)
      expect(typesOf((await ask(`?after=${end}`)).body.data)).toEqual(['customer.created'])
    })

    it.each(['', '?after=', '?after=&types=&resource='])(
      'when %j is asked, then from the oldest event',
      async (query) => {
        const { body } = await ask(query)
        expect(body.data[0].position).toBe(1)
        expect(body.data.length).toBeLessThanOrEqual(100)
      },
    )

    it('when the end is asked for, then only what comes from now on', async () => {
      const { body } = await ask('?after=latest&types=product.*')
      expect(body).toEqual({ data: [], next_cursor: expect.any(String), has_more: false })
      const { id } = await newProduct(system)
      const { events } = await readOn(system, body.next_cursor, '&types=product.*')
      expect(events).toMatchObject([{ type: 'product.created', resource: { id } }])
    })

    it.each(['0', '501', '-1', '1.5', '1e2', 'all', '+5', ' 5'])('when the limit is %j, then 400', async (limit) => {
      expectFaults(await ask(`?limit=${encodeURIComponent(limit)}`), ['limit'])
    })

    it.each(['1', '99', '500'])('when the limit is %s, then at most so many', async (limit) => {
      const { status, body } = await ask(`?limit=${limit}`)
      expect(status).toBe(200)
      expect(body.data.length).toBeLessThanOrEqual(Number(limit))
    })

    it('when the query has what it does not know, then the refusal names it', async () => {
      expectFaults(await ask('?type=order.placed'), ['type'])
      expectFaults(await ask('?limit=5&limit=6'), ['limit'])
      expectFaults(await ask('?cursor=x&limit=0'), ['cursor', 'limit'])
    })
  })

  describe('filters', () => {
    /** An order's life between events of a product and a customer. @returns the cursor before it */
    async function someOfEach() {
      const start = await endOfFeed(system)
      const [customer, product] = [await newCustomer(system), await newProduct(system, { stock: 1 })]
      const order = await newOrder(system, [{ product_id: product.id, qty: 1 }], { customer_id: customer.id })
      await system.orders.post(`/orders/${order.id}/cancel`)
      return { start, customer, product, order }
    }

    const ALL = [
      'customer.created',
      'product.created',
      'product.out_of_stock',
      'order.placed',
      'product.back_in_stock',
      'order.canceled',
    ]

    it.each([
      ['order.*', ['order.placed', 'order.canceled']],
      ['order.placed', ['order.placed']],
      ['order.placed,product.out_of_stock', ['product.out_of_stock', 'order.placed']],
      ['order.placed, customer.*', ['customer.created', 'order.placed']],
      ['order.*,order.placed', ['order.placed', 'order.canceled']],
      ['*', ALL],
      ['', ALL],
      ['webhook_endpoint.*', []],
    ])('when types is %j, then only these', async (types, expected) => {
      const { start } = await someOfEach()
      const { events, cursor } = await readOn(system, start, `&types=${encodeURIComponent(types)}`)
      expect(typesOf(events).toSorted()).toEqual(expected.toSorted())
      expect((await readOn(system, cursor)).events).toEqual([])
    })

    it.each([
      ['order.plcaed', '"order.plcaed"'],
      ['order.placed,nonsense,x.*', '"nonsense", "x.*"'],
      ['order.placed,', '""'],
      ['Order.Placed', '"Order.Placed"'],
      ['order', '"order"'],
    ])('when types is %j, then 400 names what no event has', async (types, names) => {
      const response = await ask(`?types=${types}`)
      expectFaults(response, ['types'])
      expect(response.body.errors[0].message).toContain(`Unknown: ${names}.`)
      for (const type of EVENT_TYPES) expect(response.body.errors[0].message).toContain(type)
    })

    it('when a resource is named, then only its events', async () => {
      const { start, order, product, customer } = await someOfEach()
      const read = async (query: string) => typesOf((await readOn(system, start, query)).events)
      expect(await read(resourceOf('order', order))).toEqual(['order.placed', 'order.canceled'])
      expect(await read(resourceOf('customer', customer))).toEqual(['customer.created'])
      expect(await read(resourceOf('product', { id: product.id + 1_000 }))).toEqual([])
      const both = `${resourceOf('product', product)}&types=product.out_of_stock,order.*`
      expect(await read(both)).toEqual(['product.out_of_stock'])
      expect((await readOn(system, start, `${resourceOf('product', product)}&limit=1`)).events).toHaveLength(3)
    })

    it.each(['order', 'order:', 'order:0', 'order:1:2', 'order:-1', ':5', 'order:x', 'order:5,order:6', '5'])(
      'when resource is %j, then 400',
      async (resource) => expectFaults(await ask(`?resource=${resource}`), ['resource']),
    )

    it('when no event is about such a resource, then 400 names the type', async () => {
      const response = await ask('?resource=orders:5')
      expectFaults(response, ['resource'])
      expect(response.body.errors[0].message).toMatch(/^Unknown: "orders". Known are order, product, customer/)
    })

    it('when few of thousands match, then pages are empty, but say that more follows', async () => {
      const { system, stop } = await startSystem(engine)
      try {
        const { id } = await newCustomer(system)
        const start = await endOfFeed(system)
        await manyEvents(system, 12_000, 'product')
        await system.customers.delete(`/customers/${id}`)
        await numberAll(system.db)
        const { events, pages, cursor } = await readOn(system, start, '&types=customer.*')
        expect(typesOf(events)).toEqual(['customer.deleted'])
        expect(pages).toBe(3)
        expect(cursor).toBe(await endOfFeed(system))
        // The customer has few events, so they are found at once; the product has many.
        const own = await readOn(system, start, resourceOf('customer', { id }))
        expect([typesOf(own.events), own.pages]).toEqual([['customer.deleted'], 1])
        const crowd = await readOn(system, start, `${resourceOf('product', { id: 1 })}&types=product.created&limit=500`)
        expect([crowd.events, crowd.pages]).toEqual([[], 3])
        expect((await readOn(system, start, `${resourceOf('product', { id: 1 })}&limit=500`)).events).toHaveLength(
          12_000,
        )
      } finally {
        await stop()
      }
    })
  })

  describe('cursors', () => {
    it.each([
      'nonsense',
      'Latest',
      forgedCursor('orders', 5),
      forgedCursor('history', 5, 'order.placed'),
      forgedCursor('events'),
      forgedCursor('events', -1),
      forgedCursor('events', 1.5),
      forgedCursor('events', '5'),
      forgedCursor('events', 5, 6),
      forgedCursor(['events', 5]),
      `${forgedCursor('events', 5)}%00`,
    ])('when after is %j, then 400 names it', async (after) => {
      expectFaults(await ask(`?after=${after}`), ['after'])
    })

    it('when the feed ends before the cursor, then 400: it is of another database', async () => {
      const { body } = await ask('?after=latest')
      const [, position] = JSON.parse(Buffer.from(body.next_cursor, 'base64url').toString())
      const response = await ask(`?after=${forgedCursor('events', position + 1)}`)
      expectFaults(response, ['after'])
      expect(response.body.errors[0].message).toContain(`position ${position}`)
    })

    it('when events after it are deleted, then 410 with the oldest cursor, and no gap', async () => {
      const { system, stop } = await startSystem(engine)
      try {
        const ids = (await atOnce(5, () => newCustomer(system))).map(({ id }) => id)
        const { body: whole } = await system.orders.get('/events')
        const cursors = whole.data.map(({ position }: ListedEvent) => forgedCursor('events', position))
        // The third is new, so what follows stays although it is old.
        const old = whole.data.filter((_: unknown, i: number) => i !== whole.data.length - 3)
        await ageEvents(system, old)
        expect(await deleteEvents(system.db, 30)).toBe(whole.data.length - 3)
        expect(await deleteEvents(system.db, 30)).toBe(0)
        const expired = await system.orders.get(`/events?after=${cursors[0]}`)
        expectProblem(expired, 410, 'cursor_expired')
        const { oldest_cursor } = expired.body
        expect(oldest_cursor).toBe(cursors.at(-4))
        const kept = whole.data.slice(-3)
        const seen = async (query: string) => (await system.orders.get(`/events${query}`)).body.data.map(positionOf)
        for (const query of [`?after=${oldest_cursor}`, '', '?after=']) {
          expect(await seen(query)).toEqual(kept.map(positionOf))
        }
        expect(await seen(`?after=${cursors.at(-2)}`)).toEqual([positionOf(whole.data.at(-1))])
        await ageEvents(system, kept)
        await deleteEvents(system.db, 30)
        expectProblem(await system.orders.get(`/events?after=${oldest_cursor}`), 410, 'cursor_expired')
        expect((await system.orders.get(`/events?after=${cursors.at(-1)}`)).body).toMatchObject({ data: [] })
        await system.customers.delete(`/customers/${ids[0]}`)
        const { body } = await system.orders.get('/events')
        expect(body.data).toMatchObject([{ position: whole.data.length + 1 }])
      } finally {
        await stop()
      }
    })

    it('when old events are swept, then only where a retention is set', async () => {
      const { system, stop } = await startSystem(engine)
      try {
        await newCustomer(system)
        const { body } = await system.orders.get('/events')
        await ageEvents(system, body.data)
        expect(await sweepFeed(system.db, { retentionDays: undefined })).toEqual({})
        expect(await sweepFeed(system.db, { retentionDays: 30 })).toEqual({ events: body.data.length })
      } finally {
        await stop()
      }
    })
  })

  describe('a bound client', () => {
    async function ownAndOther() {
      const [own, other] = [await newCustomer(system), await newCustomer(system)]
      const token = await system.token({ customerId: own.id, clientId: 'shop' })
      const start = await endOfFeed(system)
      const product = await newProduct(system)
      const items = [{ product_id: product.id, qty: 1 }]
      const [mine, theirs] = [
        await newOrder(system, items, { customer_id: own.id }),
        await newOrder(system, items, { customer_id: other.id }),
      ]
      await system.customers.delete(`/customers/${other.id}`)
      await system.customers.put(`/customers/${own.id}`, { name: 'Own', email: own.email })
      return { own, token, start, product, mine, theirs }
    }

    it('when it reads, then it sees the events of its orders and of products only', async () => {
      const { token, start, product, mine } = await ownAndOther()
      const { events, cursor } = await readOn(system, start, '', token)
      expect(events).toMatchObject([
        { type: 'product.created', resource: { id: product.id } },
        { type: 'order.placed', resource: { id: mine.id } },
      ])
      expect(cursor).toBe(await endOfFeed(system))
    })

    it('when it reads, then it is told who changed its orders, not who changed products', async () => {
      const { token, start } = await ownAndOther()
      const [product, order] = (await readOn(system, start, '', token)).events
      expect(product).toMatchObject({ actor: { type: 'client', id: null }, correlation_id: null })
      expect(order).toMatchObject({ actor: { type: 'client', id: 'tests' }, correlation_id: expect.any(String) })
      const [unhidden] = (await readOn(system, start)).events
      expect(unhidden).toMatchObject({ actor: { id: 'tests' }, correlation_id: expect.any(String) })
    })

    it('when it filters, then it sees nothing more', async () => {
      const { own, token, start, mine, theirs } = await ownAndOther()
      const seen = async (query: string) => typesOf((await readOn(system, start, query, token)).events)
      expect(await seen('&types=*')).toEqual(['product.created', 'order.placed'])
      expect(await seen('&types=customer.*,order.*')).toEqual(['order.placed'])
      expect(await seen(resourceOf('order', mine))).toEqual(['order.placed'])
      expect(await seen(resourceOf('order', theirs))).toEqual([])
      expect(await seen(resourceOf('customer', own))).toEqual([])
    })

    it('when it asks for a history, then only of its own orders', async () => {
      const { token, mine, theirs } = await ownAndOther()
      const history = (id: number) => system.orders.get(`/orders/${id}/history`, { token })
      expect(typesOf((await history(mine.id)).body.data)).toEqual(['order.placed'])
      expectProblem(await history(theirs.id), 404, 'not_found')
      expectProblem(await history(9_000_000), 404, 'not_found')
    })
  })

  describe('the history of an order', () => {
    it('when an order changed, then its events, a page at a time', async () => {
      const product = await newProduct(system)
      const order = await newOrder(system, [{ product_id: product.id, qty: 1 }])
      for (const notes of ['a', 'b', 'c']) await system.orders.patch(`/orders/${order.id}`, { notes })
      await system.orders.post(`/orders/${order.id}/cancel`)
      const { body } = await system.orders.get(`/orders/${order.id}/history`)
      expect(body.next_cursor).toBeNull()
      expect(typesOf(body.data)).toEqual(['order.placed', ...Array(3).fill('order.updated'), 'order.canceled'])
      expect(await readPages(system.orders, `/orders/${order.id}/history?limit=2`)).toEqual(body.data)
      const { events } = await readOn(system, forgedCursor('events', 0), resourceOf('order', order))
      expect(events).toEqual(body.data)
    })

    it.each([
      forgedCursor('events', 1),
      forgedCursor('history', 1),
      forgedCursor('history', 1, 'Ü'),
      forgedCursor('history', 'x', 'order.placed'),
      'nonsense',
    ])('when its cursor is %j, then 400 names it', async (cursor) => {
      expectFaults(await system.orders.get(`/orders/1/history?cursor=${cursor}`), ['cursor'])
    })
  })

  describe('who did it', () => {
    const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

    it('when the orchestrator places an order, then its caller did it, in that request', async () => {
      const [product, token] = [await newProduct(system), await system.token({ clientId: 'shop' })]
      const request = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }], idempotency_key: newKey() }
      const headers = { 'x-correlation-id': 'corr-shop', traceparent: TRACEPARENT }
      const send = () => system.orchestrator.post('/orchestrator/create-and-confirm-order', request, { token, headers })
      const events = await eventsOf(system, async () => {
        expect((await send()).status).toBe(201)
        expect((await send()).headers.get('idempotent-replayed')).toBe('true')
      })
      expect(events).toMatchObject([
        {
          type: 'order.placed',
          actor: { type: 'client', id: 'shop' },
          correlation_id: 'corr-shop',
          data: { order: { status: 'CONFIRMED', version: 1 } },
        },
      ])
      expect(await traceparentOf(events[0])).toBe(TRACEPARENT)
    })

    it('when a request brings no traceparent, then the event has none', async () => {
      const [event] = await eventsOf(system, () => newCustomer(system))
      expect(event).toMatchObject({ actor: { type: 'client', id: 'tests' }, correlation_id: expect.any(String) })
      expect(await traceparentOf(event)).toBeNull()
    })

    async function traceparentOf({ id }: ListedEvent): Promise<string | null | undefined> {
      const found = system.db
        .selectFrom('events')
        .select('traceparent')
        .where('id', '=', Number(id.slice(4)))
      return (await found.executeTakeFirst())?.traceparent
    }
  })

  describe('who may read', () => {
    it.each(['/events', '/orders/1/history'])('when %s is read without its scope, then 403', async (path) => {
      const scopes = SCOPES.filter((scope) => scope !== 'events:read')
      expectProblem(await system.orders.get(path, { token: await system.token({ scopes }) }), 403, 'insufficient_scope')
      expect((await system.orders.get(path, { token: await system.token({ scopes: ['events:read'] }) })).status).toBe(
        200,
      )
      expectProblem(await system.orders.get(path, { token: null }), 401, 'unauthorized')
    })
  })

  if (engine === 'mysql') {
    it('when another session keeps the feed locked, then a reader gets what is numbered', async () => {
      const start = await endOfFeed(system)
      const session = await openSession(system)
      await session.query('begin')
      await session.query('select position from event_feed for update')
      const { id } = await newCustomer(system)
      const { body } = await ask(`?after=${start}`)
      expect(body).toEqual({ data: [], next_cursor: start, has_more: true })
      await session.query('rollback')
      expect((await readOn(system, start)).events).toMatchObject([{ resource: { type: 'customer', id } }])
    })
  }
})

type System = Awaited<ReturnType<typeof startSystem>>['system']

function positionOf({ position }: ListedEvent): number {
  return position
}

/** Lets events be from long ago. */
async function ageEvents({ db }: System, events: readonly ListedEvent[]): Promise<void> {
  const occurred_at = fromRfc3339(LONG_AGO)
  await db.updateTable('events').set({ occurred_at }).where('position', 'in', events.map(positionOf)).execute()
}

/** Events of one resource, with rising versions. */
async function manyEvents({ db }: System, count: number, type: string): Promise<void> {
  for (let version = 100; version < count + 100; version += 1_000) {
    const rows = Array.from({ length: 1_000 }, (_, i) => ({
      type: `${type}.updated`,
      resource_type: type,
      resource_id: 1,
      resource_version: version + i,
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

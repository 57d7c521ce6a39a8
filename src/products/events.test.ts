import { describe, expect, it } from 'vitest'
import { eventsOf, type ListedEvent, resourceOf, typesOf } from '../../testing/feed.ts'
import { expectFaults, expectProblem } from '../../testing/problems.ts'
import { atOnce, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { systemOrigin } from '../platform/events/record.ts'
import { crossings } from './events.ts'

const keyed = (key = newKey()) => ({ headers: { 'idempotency-key': key } })

describeEachEngine('events of products', (engine) => {
  const system = useSystem(engine)

  const adjust = (id: number, delta: number, key?: string) =>
    system.orders.post(`/products/${id}/stock-adjustments`, { delta, reason: 'count' }, keyed(key))
  const change = (id: number, fields: object) => system.orders.patch(`/products/${id}`, fields)
  const order = (id: number, qty: number) => newOrder(system, [{ product_id: id, qty }])
  const get = async (id: number) => (await system.orders.get(`/products/${id}`)).body

  /** The events of a product while some work is done. */
  const eventsFor = ({ id }: { id: number }, work: () => Promise<unknown>) =>
    eventsOf(system, work, resourceOf('product', { id }))

  it('when a product is created, changed and adjusted, then each is an event', async () => {
    let product = { id: 0 }
    const created = await eventsOf(system, async () => {
      product = await newProduct(system, { stock: 10 })
    })
    expect(created).toMatchObject([
      { type: 'product.created', resource: { type: 'product', id: product.id, version: 1 } },
    ])
    expect(created[0].data).toEqual({ product })
    const updated = await eventsFor(product, () => change(product.id, { price_cents: 5, name: 'Other' }))
    expect(typesOf(updated)).toEqual(['product.updated'])
    const previous = { price_cents: 1000, name: expect.stringMatching(/^Product/) }
    expect(updated[0].data).toEqual({ product: await get(product.id), previous })
    const { body: entry } = await adjust(product.id, -3)
    const adjusted = await eventsFor(product, () => adjust(product.id, 2))
    expect(adjusted).toMatchObject([
      {
        type: 'product.stock_adjusted',
        actor: { type: 'client', id: 'tests' },
        resource: { version: 4 },
        data: {
          product: { id: product.id, stock: 9, version: 4 },
          adjustment: { id: entry.id + 1, delta: 2, reason: 'count' },
        },
      },
    ])
  })

  it('when a change sets the count, then it is an adjustment too, with its crossings', async () => {
    const product = await newProduct(system, { stock: 10, stock_low_at: 4 })
    const set = async (stock: number) => typesOf(await eventsFor(product, () => change(product.id, { stock })))
    const both = ['product.updated', 'product.stock_adjusted']
    expect(await set(10)).toEqual(['product.updated'])
    expect(await set(5)).toEqual(both)
    expect(await set(4)).toEqual([...both, 'product.stock_low'])
    expect(await set(3)).toEqual(both)
    expect(await set(0)).toEqual([...both, 'product.out_of_stock'])
    expect(await set(1)).toEqual([...both, 'product.back_in_stock'])
    expect(await set(9)).toEqual(both)
    expect(await set(0)).toEqual([...both, 'product.stock_low', 'product.out_of_stock'])
  })

  it('when orders cross a level, then once, by what they take together', async () => {
    const product = await newProduct(system, { stock: 40, stock_low_at: 15 })
    const events = await eventsFor(product, () => atOnce(30, () => order(product.id, 1)))
    expect(typesOf(events)).toEqual(['product.stock_low'])
    const [event]: ListedEvent[] = events
    expect(event).toMatchObject({ actor: { type: 'system', id: 'stock' }, correlation_id: null })
    const { id, sku, name, stock_low_at } = await get(product.id)
    expect(event.data.product).toEqual({
      id,
      sku,
      name,
      stock_low_at,
      stock: expect.any(Number),
      version: event.resource.version,
    })
    expect(event.data.product.stock).toBeLessThanOrEqual(15)
    expect(typesOf(await eventsFor(product, () => atOnce(10, () => order(product.id, 1))))).toEqual([
      'product.out_of_stock',
    ])
  })

  it('when orders come and go without a crossing, then no event of the product', async () => {
    const product = await newProduct(system, { stock: 10, stock_low_at: 2 })
    const events = await eventsFor(product, async () => {
      const placed = await atOnce(7, () => order(product.id, 1))
      await atOnce(7, (i) => system.orders.post(`/orders/${placed[i]?.id}/cancel`))
      const { body } = await system.orders.post('/orders', {
        customer_id: 1,
        items: [{ product_id: product.id, qty: 11 }],
      })
      expect(body.code).toBe('insufficient_stock')
    })
    expect(events).toEqual([])
  })

  it('when canceled orders return the last pieces, then the product is back, once', async () => {
    const product = await newProduct(system, { stock: 6, name: 'Ü "quoted" \\ name', stock_low_at: 0 })
    const placed = await atOnce(6, () => order(product.id, 1))
    const events = await eventsFor(product, () =>
      atOnce(6, (i) => system.orders.post(`/orders/${placed[i]?.id}/cancel`)),
    )
    expect(typesOf(events)).toEqual(['product.back_in_stock'])
    const { id, sku, name } = await get(product.id)
    expect(events[0].data.product).toMatchObject({ id, sku, name, stock_low_at: 0 })
    expect(events[0].data.product.version).toBe(events[0].resource.version)
  })

  it('when an order has lines of several products, then each has its own crossing', async () => {
    const [a, b, c] = [
      await newProduct(system, { stock: 2, stock_low_at: 1 }),
      await newProduct(system, { stock: 3 }),
      await newProduct(system, { stock: 9 }),
    ]
    const items = [a, b, c, b].map(({ id }, i) => ({ product_id: id, qty: i === 1 ? 2 : 1 }))
    const events = await eventsOf(system, () => newOrder(system, items), '&types=product.*')
    expect(events.map(({ type, resource }) => [type, resource.id]).sort()).toEqual([
      ['product.out_of_stock', b.id],
      ['product.stock_low', a.id],
    ])
  })

  it('when a level is set, moved or removed, then only later falls count', async () => {
    const product = await newProduct(system, { stock: 5 })
    const types = async (work: () => Promise<unknown>) => typesOf(await eventsFor(product, work))
    expect(await types(() => change(product.id, { stock_low_at: 5 }))).toEqual(['product.updated'])
    expect(await types(() => order(product.id, 1))).toEqual([])
    expect(await types(() => change(product.id, { stock_low_at: 3 }))).toEqual(['product.updated'])
    expect(await types(() => order(product.id, 1))).toEqual(['product.stock_low'])
    const [removed] = await eventsFor(product, () => change(product.id, { stock_low_at: -1 }))
    expect(removed).toMatchObject({ data: { product: { stock_low_at: null }, previous: { stock_low_at: 3 } } })
    expect(await get(product.id)).toMatchObject({ stock_low_at: null })
    expect(await types(() => adjust(product.id, 10))).toEqual(['product.stock_adjusted'])
    expect(await types(() => order(product.id, 12))).toEqual([])
  })

  it('when the level is 0, then it is low when it is out', async () => {
    const product = await newProduct(system, { stock: 1, stock_low_at: 0 })
    const events = await eventsFor(product, () => order(product.id, 1))
    expect(typesOf(events)).toEqual(['product.stock_low', 'product.out_of_stock'])
  })

  it('when a request is replayed or refused, then no event', async () => {
    const [product, key] = [await newProduct(system, { stock: 5 }), newKey()]
    await adjust(product.id, 1, key)
    const events = await eventsOf(system, async () => {
      expect((await adjust(product.id, 1, key)).headers.get('idempotent-replayed')).toBe('true')
      expectProblem(await adjust(product.id, -100), 409, 'insufficient_stock')
      expectProblem(await change(product.id, { sku: 'LAP-15' }), 409, 'sku_taken')
    })
    expect(events).toEqual([])
  })

  it.each([
    ['post', -1],
    ['post', 1_000_000_000_001],
    ['patch', -2],
    ['patch', 1.5],
    ['patch', '5'],
  ] as const)('when %s sets the level to %j, then 400', async (method, stock_low_at) => {
    const body = { sku: newKey(), name: 'n', price_cents: 1, stock: 0, stock_low_at }
    const path = method === 'post' ? '/products' : '/products/1'
    expectFaults(await system.orders[method](path, method === 'post' ? body : { stock_low_at }), ['stock_low_at'])
  })
})

describe('crossings', () => {
  const types = (before: number, stock: number, stock_low_at: number | null) =>
    crossings(before, { id: 1, sku: 's', name: 'n', stock, stock_low_at, version: 2 }, systemOrigin('test')).map(
      ({ type }) => type.replace('product.', ''),
    )

  it.each([
    [5, 5, 5, []],
    [6, 5, 5, ['stock_low']],
    [6, 6, 5, []],
    [5, 4, 5, []],
    [4, 6, 5, []],
    [1, 0, null, ['out_of_stock']],
    [0, 0, 0, []],
    [9, 0, 0, ['stock_low', 'out_of_stock']],
    [0, 1, 0, ['back_in_stock']],
    [0, 1, 5, ['back_in_stock']],
    [9, 8, null, []],
  ] as const)('when %i become %i at a level of %j, then %j', (before, stock, level, expected) => {
    expect(types(before, stock, level)).toEqual(expected)
  })
})

import { request } from 'node:http'
import { expect, it } from 'vitest'
import type { ApiRequest, ApiResponse } from '../../testing/api-client.ts'
import { type Fault, startFaultyProxy } from '../../testing/faulty-proxy.ts'
import { differencesIn } from '../../testing/fixture.ts'
import { idsOf, readPages } from '../../testing/lists.ts'
import { expectFaults, expectProblem } from '../../testing/problems.ts'
import {
  ageConfirmation,
  atOnce,
  endHold,
  expireKey,
  newCustomer,
  newKey,
  newOrder,
  newProduct,
  orderOf,
  ordersOf,
  statusCounts,
  stockOf,
} from '../../testing/rows.ts'
import { nowhere, serveOrders } from '../../testing/services.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'
import type { Scope } from '../compose/modules.ts'

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const NOBODY = 9_007_199_254_740_991
const MAX_PRICE = 100_000_000_000

function minutesBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 60_000
}

function keyed(key = newKey()): { headers: Record<string, string> } {
  return { headers: { 'idempotency-key': key } }
}

function place(system: TestSystem, items: unknown, more: Record<string, unknown> = {}, key?: string) {
  const body = { customer_id: 1, items, ...more }
  return system.orders.post('/orders', body, key === undefined ? {} : keyed(key))
}

function confirm(system: TestSystem, orderId: number, key = newKey()): Promise<ApiResponse> {
  return system.orders.post(`/orders/${orderId}/confirm`, undefined, keyed(key))
}

function cancel(system: TestSystem, orderId: number, body?: unknown): Promise<ApiResponse> {
  return system.orders.post(`/orders/${orderId}/cancel`, body)
}

/** An order of 4 of a new product that has a stock of 10. */
async function orderOfFour(system: TestSystem, fields: Record<string, unknown> = {}) {
  const product = await newProduct(system, { stock: 10 })
  const order = await newOrder(system, [{ product_id: product.id, qty: 4 }], fields)
  return { product, order }
}

describeEachEngine('POST /orders', (engine) => {
  const system = useSystem(engine)

  it('when an order is placed, then 201 with Location, lines in order, current prices', async () => {
    const [a, b] = [await newProduct(system, { price_cents: 129_900 }), await newProduct(system, { price_cents: 5 })]
    const [ofA, ofB] = [a, b].map(({ id, sku, name }) => ({ product_id: id, sku, name }))
    const customer = await newCustomer(system)
    const items = [
      { product_id: b.id, qty: 3 },
      { product_id: a.id, qty: 2 },
      { product_id: b.id, qty: 1 },
    ]
    const response = await place(system, items, { customer_id: customer.id })
    expect(response.status).toBe(201)
    expect(response.headers.get('location')).toBe(`orders/${response.body.id}`)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(response.headers.get('idempotent-replayed')).toBeNull()
    expect(response.body).toEqual({
      id: expect.any(Number),
      customer_id: customer.id,
      status: 'CREATED',
      total_cents: 259_820,
      items: [
        { ...ofB, line: 1, qty: 3, unit_price_cents: 5, subtotal_cents: 15 },
        { ...ofA, line: 2, qty: 2, unit_price_cents: 129_900, subtotal_cents: 259_800 },
        { ...ofB, line: 3, qty: 1, unit_price_cents: 5, subtotal_cents: 5 },
      ],
      created_at: expect.stringMatching(TIME),
      confirmed_at: null,
      canceled_at: null,
      expires_at: expect.stringMatching(TIME),
      po_number: null,
      requested_delivery_date: null,
      ship_to: null,
      notes: null,
      metadata: null,
      currency: null,
      placed_by: 'client:tests',
      version: 1,
    })
    expect(minutesBetween(response.body.created_at, response.body.expires_at)).toBe(1440)
    expect((await system.orders.get(`/${response.headers.get('location')}`)).body).toEqual(response.body)
    expect(await Promise.all([a, b].map(({ id }) => stockOf(system, id)))).toEqual([98, 96])
  })

  it('when a price changes later, then the order keeps its original price', async () => {
    const product = await newProduct(system, { price_cents: 1000 })
    const order = await newOrder(system, [{ product_id: product.id, qty: 2 }])
    await system.orders.patch(`/products/${product.id}`, { price_cents: 5000 })
    const { body } = await confirm(system, order.id)
    expect(body.total_cents).toBe(2000)
    expect(body.items).toMatchObject([{ product_id: product.id, qty: 2, unit_price_cents: 1000, subtotal_cents: 2000 }])
    expect((await newOrder(system, [{ product_id: product.id, qty: 2 }])).total_cents).toBe(10_000)
  })

  it('when the request has hold_minutes, then the hold lasts that long', async () => {
    for (const hold_minutes of [1, 60, 10_080]) {
      const { order } = await orderOfFour(system, { hold_minutes })
      const { created_at, expires_at } = await orderOf(system, order.id)
      expect(minutesBetween(created_at, expires_at)).toBe(hold_minutes)
    }
  })

  it('when the customer does not exist, then 422 customer_not_found, nothing is taken', async () => {
    const product = await newProduct(system, { stock: 10 })
    const items = [{ product_id: product.id, qty: 1 }]
    expectProblem(await place(system, items, { customer_id: NOBODY }), 422, 'customer_not_found')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when the customer was deleted, then 422 customer_not_found', async () => {
    const product = await newProduct(system)
    const customer = await newCustomer(system)
    await system.customers.delete(`/customers/${customer.id}`)
    const items = [{ product_id: product.id, qty: 1 }]
    expectProblem(await place(system, items, { customer_id: customer.id }), 422, 'customer_not_found')
  })

  it('when products do not exist, then 422 product_not_found lists each once', async () => {
    const product = await newProduct(system, { stock: 10 })
    const ids = [NOBODY, product.id, NOBODY - 1, NOBODY]
    const response = await place(
      system,
      ids.map((product_id) => ({ product_id, qty: 1 })),
    )
    expectProblem(response, 422, 'product_not_found')
    expect(response.body.product_ids).toEqual([NOBODY, NOBODY - 1])
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when some lines lack stock, then 409 lists those, and nothing is taken at all', async () => {
    const [a, b, c] = await Promise.all([10, 2, 0].map((stock) => newProduct(system, { stock })))
    const customer = await newCustomer(system)
    const items = [a, b, c].map((product) => ({ product_id: product?.id, qty: 3 }))
    const response = await place(system, items, { customer_id: customer.id })
    expectProblem(response, 409, 'insufficient_stock')
    expect(response.body.lines).toEqual([
      { product_id: b?.id, requested: 3, available: 2 },
      { product_id: c?.id, requested: 3, available: 0 },
    ])
    expect(await Promise.all([a, b, c].map((product) => stockOf(system, product?.id ?? 0)))).toEqual([10, 2, 0])
    expect(await ordersOf(system, customer.id)).toEqual([])
  })

  it('when one of many concurrent orders is refused, then the others are placed', async () => {
    const product = await newProduct(system, { stock: 30 })
    const wants = [1, 2, 1000, 3, 0, 4]
    const responses = await Promise.all(wants.map((qty) => place(system, [{ product_id: product.id, qty }])))
    expect(responses.map(({ status }) => status)).toEqual([201, 201, 409, 201, 400, 201])
    expect(await stockOf(system, product.id)).toBe(20)
  })

  it('when the total is 2^53-1 cents, then it is exact, and one cent more is 422', async () => {
    const stock = 1_000_000
    const large = await newProduct(system, { price_cents: MAX_PRICE, stock })
    const rest = await newProduct(system, { price_cents: 99_254_740_991, stock })
    const cent = await newProduct(system, { price_cents: 1, stock })
    const largest = [
      { product_id: large.id, qty: 90_071 },
      { product_id: rest.id, qty: 1 },
    ]
    const response = await place(system, largest)
    expect(response.status).toBe(201)
    expect(response.text).toContain('"total_cents":9007199254740991,')
    expect((await orderOf(system, response.body.id)).total_cents).toBe(9_007_199_254_740_991)
    const more = await place(system, [...largest, { product_id: cent.id, qty: 1 }])
    expectProblem(more, 422, 'amount_too_large')
    expect(await stockOf(system, large.id)).toBe(stock - 90_071)
    expect(await stockOf(system, rest.id)).toBe(stock - 1)
    expect(await stockOf(system, cent.id)).toBe(stock)
  })

  it('when one line alone passes 2^53-1 cents, then 422 amount_too_large', async () => {
    const product = await newProduct(system, { price_cents: MAX_PRICE, stock: 1_000_000 })
    expectProblem(await place(system, [{ product_id: product.id, qty: 1_000_000 }]), 422, 'amount_too_large')
    expect(await stockOf(system, product.id)).toBe(1_000_000)
  })

  it('when an order is at its bounds, then it is accepted', async () => {
    const product = await newProduct(system, { price_cents: 1, stock: 2_000_000 })
    const lines = Array.from({ length: 200 }, () => ({ product_id: product.id, qty: 1 }))
    expect((await place(system, lines)).body.items).toHaveLength(200)
    expect((await place(system, [{ product_id: product.id, qty: 1_000_000 }])).status).toBe(201)
    const free = await newProduct(system, { price_cents: 0 })
    expect((await place(system, [{ product_id: free.id, qty: 1 }])).body.total_cents).toBe(0)
  })

  it.each<[string, Record<string, unknown>, string[]]>([
    ['no lines', { items: [] }, ['items']],
    ['201 lines', { items: Array(201).fill({ product_id: 1, qty: 1 }) }, ['items']],
    ['no items', { items: undefined }, ['items']],
    ['items that are no list', { items: { product_id: 1, qty: 1 } }, ['items']],
    ['qty 0', { items: [{ product_id: 1, qty: 0 }] }, ['items.0.qty']],
    ['qty 1000001', { items: [{ product_id: 1, qty: 1_000_001 }] }, ['items.0.qty']],
    ['qty -1', { items: [{ product_id: 1, qty: -1 }] }, ['items.0.qty']],
    ['qty 1.5', { items: [{ product_id: 1, qty: 1.5 }] }, ['items.0.qty']],
    ['qty as text', { items: [{ product_id: 1, qty: '1' }] }, ['items.0.qty']],
    ['product_id 0', { items: [{ product_id: 0, qty: 1 }] }, ['items.0.product_id']],
    ['product_id past 2^53-1', { items: [{ product_id: 2 ** 53, qty: 1 }] }, ['items.0.product_id']],
    ['a price', { items: [{ product_id: 1, qty: 1, unit_price_cents: 1 }] }, ['items.0.unit_price_cents']],
    ['a total', { total_cents: 1 }, ['total_cents']],
    ['a status', { status: 'CONFIRMED' }, ['status']],
    ['no customer', { customer_id: undefined }, ['customer_id']],
    ['customer_id as text', { customer_id: '1' }, ['customer_id']],
    ['customer_id null', { customer_id: null }, ['customer_id']],
    ['hold_minutes 0', { hold_minutes: 0 }, ['hold_minutes']],
    ['hold_minutes 10081', { hold_minutes: 10_081 }, ['hold_minutes']],
    ['hold_minutes 1.5', { hold_minutes: 1.5 }, ['hold_minutes']],
  ])('when an order has %s, then 400 names the fault', async (_, change, paths) => {
    const order = { customer_id: 1, items: [{ product_id: 1, qty: 1 }], ...change }
    expectFaults(await system.orders.post('/orders', order), paths)
  })

  it('when the body is not JSON, too large, mistyped or missing, then 400, 413 or 415', async () => {
    expectProblem(await system.orders.post('/orders', '{"customer_id":1,'), 400, 'malformed_json')
    expectProblem(await system.orders.post('/orders', ' '.repeat(64 * 1024 + 1)), 413, 'payload_too_large')
    const headers = { 'content-type': 'text/plain' }
    expectProblem(await system.orders.post('/orders', '{}', { headers }), 415, 'unsupported_media_type')
    expectFaults(await system.orders.post('/orders'), ['customer_id', 'items'])
  })
})

describeEachEngine('POST /orders with an idempotency key', (engine) => {
  const system = useSystem(engine)

  it('when a request is retried after a cancel, then the replay has the same bytes', async () => {
    const product = await newProduct(system, { stock: 10 })
    const items = [{ product_id: product.id, qty: 4 }]
    const key = newKey()
    const first = await place(system, items, {}, key)
    await confirm(system, first.body.id)
    await cancel(system, first.body.id)
    const again = await place(system, items, {}, key)
    expect(again.status).toBe(201)
    expect(again.text).toBe(first.text)
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
    expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'))
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when the same request is written differently, then it is the same request', async () => {
    const product = await newProduct(system)
    const { headers } = keyed()
    const items = [{ product_id: product.id, qty: 1 }]
    const first = await system.orders.post('/orders', { customer_id: 1, items }, { headers })
    const written = `{ "items": [ {"qty":1, "product_id":${product.id}} ],\n "customer_id": 1.0 }`
    const again = await system.orders.post('/orders', written, { headers })
    expect(again.text).toBe(first.text)
    expect(again.headers.get('idempotent-replayed')).toBe('true')
  })

  it('when the customer was deleted since, then a retry is still a replay', async () => {
    const product = await newProduct(system)
    const customer = await newCustomer(system)
    const items = [{ product_id: product.id, qty: 1 }]
    const key = newKey()
    const first = await place(system, items, { customer_id: customer.id }, key)
    await system.customers.delete(`/customers/${customer.id}`)
    const again = await place(system, items, { customer_id: customer.id }, key)
    expect([again.status, again.text]).toEqual([201, first.text])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
  })

  it('when Customers is unreachable, then a retry is a replay, and a new request fails', async () => {
    const { api } = await serveOrders(system, { customersBase: await nowhere() })
    const product = await newProduct(system)
    const items = [{ product_id: product.id, qty: 1 }]
    const key = newKey()
    const first = await place(system, items, {}, key)
    const again = await api.post('/orders', { customer_id: 1, items }, keyed(key))
    expect([again.status, again.text]).toEqual([201, first.text])
    const other = await api.post('/orders', { customer_id: 2, items }, keyed(key))
    expectProblem(other, 422, 'idempotency_key_reused')
  })

  it('when the same key comes with another request, then 422 idempotency_key_reused', async () => {
    const product = await newProduct(system, { stock: 10 })
    const items = [{ product_id: product.id, qty: 1 }]
    const key = newKey()
    await place(system, items, {}, key)
    expectProblem(await place(system, [...items, ...items], {}, key), 422, 'idempotency_key_reused')
    expectProblem(await place(system, items, { customer_id: 2 }, key), 422, 'idempotency_key_reused')
    expectProblem(await place(system, items, { hold_minutes: 5 }, key), 422, 'idempotency_key_reused')
    expect(await stockOf(system, product.id)).toBe(9)
  })

  it('when one request comes 10 times at once, then it is one order and one response', async () => {
    const product = await newProduct(system, { stock: 10 })
    const key = newKey()
    const responses = await atOnce(10, () => place(system, [{ product_id: product.id, qty: 1 }], {}, key))
    expect(statusCounts(responses)).toEqual({ 201: 10 })
    expect(new Set(responses.map(({ text }) => text)).size).toBe(1)
    expect(responses.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(9)
    expect(await stockOf(system, product.id)).toBe(9)
  })

  it('when one key comes with 10 requests at once, then one succeeds and nine get 422', async () => {
    const product = await newProduct(system, { stock: 100 })
    const key = newKey()
    const responses = await atOnce(10, (i) => place(system, [{ product_id: product.id, qty: i + 1 }], {}, key))
    expect(statusCounts(responses)).toEqual({ 201: 1, 422: 9 })
    const [taken] = responses.filter(({ status }) => status === 201)
    expect(await stockOf(system, product.id)).toBe(100 - taken?.body.items[0].qty)
  })

  it('when another principal uses the same key, then it is another order', async () => {
    const product = await newProduct(system, { stock: 10 })
    const items = [{ product_id: product.id, qty: 1 }]
    const key = newKey()
    const first = await place(system, items, {}, key)
    const token = await system.token({ clientId: 'another' })
    const other = await system.orders.post('/orders', { customer_id: 1, items }, { ...keyed(key), token })
    expect(other.status).toBe(201)
    expect(other.headers.get('idempotent-replayed')).toBeNull()
    expect(other.body.id).not.toBe(first.body.id)
    expect(await stockOf(system, product.id)).toBe(8)
  })

  it('when an order was refused, then its key succeeds once there is stock', async () => {
    const product = await newProduct(system, { stock: 0 })
    const items = [{ product_id: product.id, qty: 1 }]
    const key = newKey()
    expectProblem(await place(system, items, {}, key), 409, 'insufficient_stock')
    await system.orders.post(`/products/${product.id}/stock-adjustments`, { delta: 5, reason: 'restock' })
    const response = await place(system, items, {}, key)
    expect(response.status).toBe(201)
    expect(response.headers.get('idempotent-replayed')).toBeNull()
    expect(await stockOf(system, product.id)).toBe(4)
  })

  it('when an order was refused, then another request may use its key', async () => {
    const product = await newProduct(system, { stock: 1 })
    const key = newKey()
    expectProblem(await place(system, [{ product_id: product.id, qty: 2 }], {}, key), 409, 'insufficient_stock')
    expect((await place(system, [{ product_id: product.id, qty: 1 }], {}, key)).status).toBe(201)
  })

  it('when a key has expired, then it is free again', async () => {
    const product = await newProduct(system, { stock: 10 })
    const key = newKey()
    const first = await place(system, [{ product_id: product.id, qty: 1 }], {}, key)
    await expireKey(system, key)
    const second = await place(system, [{ product_id: product.id, qty: 2 }], {}, key)
    expect(second.status).toBe(201)
    expect(second.headers.get('idempotent-replayed')).toBeNull()
    expect(second.body.id).not.toBe(first.body.id)
    const again = await place(system, [{ product_id: product.id, qty: 2 }], {}, key)
    expect(again.text).toBe(second.text)
  })

  it('when keys are purged, then the expired go and the others stay', async () => {
    const product = await newProduct(system)
    const [old, young] = [newKey(), newKey()]
    const items = [{ product_id: product.id, qty: 1 }]
    await place(system, items, {}, old)
    const first = await place(system, items, {}, young)
    await expireKey(system, old)
    expect(await system.sweeps.purgeExpiredKeys()).toBeGreaterThanOrEqual(1)
    expect(await system.sweeps.purgeExpiredKeys()).toBe(0)
    const left = await system.db.selectFrom('idempotency_keys').select('key').where('key', 'in', [old, young]).execute()
    expect(left).toEqual([{ key: young }])
    expect((await place(system, items, {}, young)).text).toBe(first.text)
  })

  it('when a key is stored, then it lives 24 hours', async () => {
    const product = await newProduct(system)
    const key = newKey()
    await place(system, [{ product_id: product.id, qty: 1 }], {}, key)
    const times = await system.db
      .selectFrom('idempotency_keys')
      .select(['created_at', 'expires_at'])
      .where('key', '=', key)
      .executeTakeFirstOrThrow()
    expect(minutesBetween(`${times.created_at}Z`, `${times.expires_at}Z`)).toBe(24 * 60)
  })

  it('when the key is invalid, then 400 before anything is done', async () => {
    const product = await newProduct(system, { stock: 10 })
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    for (const key of ['', ' ', 'a b', 'ñ', 'k'.repeat(256), '""', `"${'k'.repeat(256)}"`]) {
      expectProblem(await system.orders.post('/orders', order, keyed(key)), 400, 'invalid_idempotency_key')
    }
    const headers = { 'idempotency-key': 'one', 'x-idempotency-key': 'two' }
    expectProblem(await system.orders.post('/orders', order, { headers }), 400, 'invalid_idempotency_key')
    expect(await stockOf(system, product.id)).toBe(10)
  })
})

describeEachEngine('GET /orders/:id', (engine) => {
  const system = useSystem(engine)

  it('when an order is read, then 200 with its lines', async () => {
    const { product, order } = await orderOfFour(system)
    const { status, body } = await system.orders.get(`/orders/${order.id}`)
    expect(status).toBe(200)
    expect(body).toEqual(order)
    const { id: product_id, sku, name } = product
    expect(body.items).toEqual([
      { product_id, qty: 4, unit_price_cents: 1000, subtotal_cents: 4000, line: 1, sku, name },
    ])
  })

  it('when there is no such order, then 404', async () => {
    expectProblem(await system.orders.get(`/orders/${NOBODY}`), 404, 'not_found')
    expectProblem(await cancel(system, NOBODY), 404, 'not_found')
    expectProblem(await confirm(system, NOBODY), 404, 'not_found')
  })

  it.each(['abc', '0', '-1', '1.5', '01', '1e3', '%00', '9007199254740992', '99999999999999999999'])(
    'when the id is %s, then 400 invalid_id',
    async (id) => {
      expectProblem(await system.orders.get(`/orders/${id}`), 400, 'invalid_id')
      expectProblem(await system.orders.post(`/orders/${id}/cancel`), 400, 'invalid_id')
      expectProblem(await system.orders.post(`/orders/${id}/confirm`, undefined, keyed()), 400, 'invalid_id')
    },
  )

  it('when the path or the method is another, then 404 or 405 with Allow', async () => {
    expectProblem(await system.orders.get('/order'), 404, 'route_not_found')
    const response = await system.orders.put('/orders/1', {})
    expectProblem(response, 405, 'method_not_allowed')
    expect(response.headers.get('allow')?.split(', ')).toContain('GET')
    expect((await system.orders.delete('/orders')).headers.get('allow')?.split(', ').sort()).toEqual([
      'GET',
      'HEAD',
      'POST',
    ])
  })
})

describeEachEngine('GET /orders', (engine) => {
  const system = useSystem(engine)

  /** Orders of a new customer, created at these times; @returns their ids in that order. */
  async function ordersMadeAt(times: string[]) {
    const customer = await newCustomer(system)
    const product = await newProduct(system)
    const ids: number[] = []
    for (const time of times) {
      const order = await newOrder(system, [{ product_id: product.id, qty: 1 }], { customer_id: customer.id })
      const created_at = time.slice(0, 23).replace('T', ' ')
      await system.db.updateTable('orders').set({ created_at }).where('id', '=', order.id).execute()
      ids.push(order.id)
    }
    return { customer, ids }
  }

  async function listed(query: string): Promise<number[]> {
    const { status, body } = await system.orders.get(`/orders?${query}`)
    expect(status).toBe(200)
    return body.data.map(({ id }: { id: number }) => id)
  }

  it('when orders are listed, then they come newest first, without their lines', async () => {
    const { customer, ids } = await ordersMadeAt([
      '2031-01-02T00:00:00.000Z',
      '2031-01-03T00:00:00.000Z',
      '2031-01-01T00:00:00.000Z',
      '2031-01-03T00:00:00.000Z',
    ])
    const [second, third, first, fourth] = ids
    const { body } = await system.orders.get(`/orders?customer_id=${customer.id}`)
    expect(body.data.map(({ id }: { id: number }) => id)).toEqual([fourth, third, second, first])
    expect(body.next_cursor).toBeNull()
    const { items: _, ...summary } = await orderOf(system, fourth ?? 0)
    expect(body.data[0]).toEqual(summary)
  })

  it('when the list has no parameters, then it is a page of 20', async () => {
    const product = await newProduct(system)
    await atOnce(21, () => newOrder(system, [{ product_id: product.id, qty: 1 }]))
    const { body } = await system.orders.get('/orders')
    expect(body.data).toHaveLength(20)
    expect(body.next_cursor).toEqual(expect.any(String))
  })

  it('when the list is filtered by time, then from is inclusive and to exclusive', async () => {
    const { customer, ids } = await ordersMadeAt([
      '2031-01-01T00:00:00.000Z',
      '2031-01-01T00:00:00.001Z',
      '2031-01-02T00:00:00.000Z',
    ])
    const [a, b, c] = ids
    const own = `customer_id=${customer.id}`
    expect(await listed(`${own}&from=2031-01-01T00:00:00.001Z`)).toEqual([c, b])
    expect(await listed(`${own}&to=2031-01-01T00:00:00.001Z`)).toEqual([a])
    expect(await listed(`${own}&from=2031-01-01T00:00:00Z&to=2031-01-02T00:00:00Z`)).toEqual([b, a])
    expect(await listed(`${own}&from=2031-01-01&to=2031-01-02`)).toEqual([b, a])
    expect(await listed(`${own}&from=2031-01-02T02:00:00%2B02:00`)).toEqual([c])
    expect(await listed(`${own}&from=2031-01-02&to=2031-01-01`)).toEqual([])
    expect(await listed(`${own}&from=0000-01-01&to=9999-12-31T23:59:59-23:59`)).toEqual([c, b, a])
    expect(await listed(`${own}&from=9999-12-31T23:59:59-23:59`)).toEqual([])
    expect(await listed(`${own}&to=0000-01-01T00:00:00%2B23:59`)).toEqual([])
  })

  it.each([
    ['2031-03-01T00:00:00.0000001Z', 1],
    ['2031-03-01T00:00:00.000999+00:00', 1],
    ['2031-03-01T00:00:00.001Z', 1],
    ['2031-03-01T00:00:00.0010000001Z', 2],
    ['2031-03-01T02:00:00.0019999+02:00', 2],
  ])('when two lists meet at %s, then each order is in exactly one of them', async (time, count) => {
    const { customer, ids } = await ordersMadeAt(['000', '001', '002'].map((ms) => `2031-03-01T00:00:00.${ms}Z`))
    const [own, at] = [`customer_id=${customer.id}`, encodeURIComponent(time)]
    expect(await listed(`${own}&to=${at}`)).toEqual(ids.slice(0, count).toReversed())
    expect(await listed(`${own}&from=${at}`)).toEqual(ids.slice(count).toReversed())
  })

  it('when a time is finer than milliseconds, then no page skips or repeats an order', async () => {
    const times = ['000', '001', '001', '002', '002'].map((ms) => `2031-03-02T00:00:00.${ms}Z`)
    const { customer, ids } = await ordersMadeAt(times)
    const query = `customer_id=${customer.id}&from=2031-03-02T00:00:00.0005Z&to=2031-03-02T00:00:00.0021Z&limit=1`
    const rows = await readPages(system.orders, `/orders?${query}`)
    expect(idsOf(rows)).toEqual(ids.slice(1).toReversed())
  })

  it('when a plus is not encoded, then the refusal says how to write it', async () => {
    for (const name of ['from', 'to']) {
      const response = await system.orders.get(`/orders?${name}=2026-01-01T00:00:00+02:00`)
      expectFaults(response, [name])
      expect(response.body.errors[0].message).toContain('%2B')
    }
    const other = await system.orders.get('/orders?from=yesterday')
    expect(other.body.errors[0].message).not.toContain('%2B')
  })

  it('when the status is empty, then the list has every status', async () => {
    const { customer, ids } = await ordersMadeAt(['2031-03-03T00:00:00.000Z', '2031-03-04T00:00:00.000Z'])
    expect(await listed(`customer_id=${customer.id}&status=&cursor=`)).toEqual(ids.toReversed())
  })

  it.each(['customer_id', 'from', 'to'])('when %s is empty, then it is refused', async (name) => {
    expectFaults(await system.orders.get(`/orders?${name}=`), [name])
  })

  it.each(['customerId', 'created_after', 'search', 'offset'])(
    'when the parameter is %s, then it is refused',
    async (name) => {
      expectFaults(await system.orders.get(`/orders?${name}=1`), [name])
    },
  )

  it('when the list is filtered by status and customer, then both filters apply', async () => {
    const { customer, ids } = await ordersMadeAt(Array.from({ length: 6 }, (_, i) => `2031-02-0${i + 1}T00:00:00.000Z`))
    const [a, b, c, d, e, f] = ids
    for (const id of [a, b]) await confirm(system, id ?? 0)
    for (const id of [c, d]) await cancel(system, id ?? 0)
    const own = `customer_id=${customer.id}`
    expect(await listed(`${own}&status=CONFIRMED`)).toEqual([b, a])
    expect(await listed(`${own}&status=CANCELED`)).toEqual([d, c])
    expect(await listed(`${own}&status=CREATED`)).toEqual([f, e])
    expect(await listed(`${own}&status=CONFIRMED&from=2031-02-02`)).toEqual([b])
    expect(await listed(`${own}&status=CREATED&from=2031-02-01&to=2031-02-06`)).toEqual([e])
    expect(await listed(`status=CANCELED&from=2031-02-03&to=2031-02-05`)).toEqual([d, c])
    expect(await listed(`from=2031-02-01&to=2031-02-07`)).toEqual([f, e, d, c, b, a])
    expect(await listed(`customer_id=${NOBODY}`)).toEqual([])
  })

  it.each([
    ['of one moment', () => '2025-03-01T00:00:00.000Z'],
    ['of different moments', (i: number) => `2025-03-0${i + 1}T00:00:00.000Z`],
  ])('when orders %s are paged amid changes, then none is missed or repeated', async (_, timeOf) => {
    const { customer, ids } = await ordersMadeAt(Array.from({ length: 7 }, (_, i) => timeOf(i)))
    const product = await newProduct(system)
    const seen: number[] = []
    let query = `?customer_id=${customer.id}&status=CREATED&limit=2`
    for (let page = 0; page < 4; page++) {
      const { body, headers } = await system.orders.get(`/orders${query}`)
      seen.push(...body.data.map(({ id }: { id: number }) => id))
      const link = headers.get('link')
      if (page === 3) {
        expect([body.next_cursor, link]).toEqual([null, null])
        break
      }
      const [, next = ''] = /^<(.*)>; rel="next"$/.exec(link ?? '') ?? []
      expect(new URLSearchParams(next).get('cursor')).toBe(body.next_cursor)
      expect(new URLSearchParams(next).get('limit')).toBe('2')
      query = next
      // One order is added at the top, and one already seen leaves, also the one that the cursor names.
      await newOrder(system, [{ product_id: product.id, qty: 1 }], { customer_id: customer.id })
      await confirm(system, seen.at(page % 2 === 0 ? -1 : -2) ?? 0)
    }
    expect(seen).toEqual([...ids].reverse())
  })

  it('when the cursor is of another list, then 400', async () => {
    await Promise.all([newProduct(system), newProduct(system)])
    const { body } = await system.orders.get('/products?limit=1')
    expectFaults(await system.orders.get(`/orders?cursor=${body.next_cursor}`), ['cursor'])
    const search = await system.orders.get('/products?limit=1&search=product')
    expectFaults(await system.orders.get(`/orders?cursor=${search.body.next_cursor}`), ['cursor'])
  })
})

describeEachEngine('POST /orders/:id/confirm', (engine) => {
  const system = useSystem(engine)

  it('when an order is confirmed, then 200, its hold ends and its stock stays taken', async () => {
    const { product, order } = await orderOfFour(system)
    const { status, body, headers } = await confirm(system, order.id)
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('application/json')
    const confirmed_at = expect.stringMatching(TIME)
    expect(body).toEqual({ ...order, status: 'CONFIRMED', confirmed_at, expires_at: null, version: 2 })
    expect(headers.get('etag')).toBe('"2"')
    expect(await orderOf(system, order.id)).toEqual(body)
    await system.sweeps.releaseExpiredHolds()
    expect(await stockOf(system, product.id)).toBe(6)
  })

  it.each(['idempotency-key', 'x-idempotency-key'])('when the key comes as %s, then it is accepted', async (name) => {
    const { order } = await orderOfFour(system)
    const response = await system.orders.post(`/orders/${order.id}/confirm`, undefined, {
      headers: { [name]: newKey() },
    })
    expect(response.status).toBe(200)
  })

  it('when both headers name one key, bare or quoted, then it is one key', async () => {
    const { order } = await orderOfFour(system)
    const path = `/orders/${order.id}/confirm`
    const key = newKey()
    const headers = { 'idempotency-key': `"${key}"`, 'x-idempotency-key': key }
    const first = await system.orders.post(path, undefined, { headers })
    expect(first.status).toBe(200)
    for (const given of [{ 'x-idempotency-key': key }, { 'idempotency-key': `"${key}"` }, { 'idempotency-key': key }]) {
      const again = await system.orders.post(path, undefined, { headers: given })
      expect(again.headers.get('idempotent-replayed')).toBe('true')
      expect(again.text).toBe(first.text)
    }
  })

  it('when the key is missing, doubled or invalid, then 400 and nothing is confirmed', async () => {
    const { order } = await orderOfFour(system)
    const path = `/orders/${order.id}/confirm`
    expectProblem(await system.orders.post(path), 400, 'idempotency_key_required')
    const two = { 'idempotency-key': 'one', 'x-idempotency-key': 'two' }
    expectProblem(await system.orders.post(path, undefined, { headers: two }), 400, 'invalid_idempotency_key')
    for (const key of ['', 'a b', 'ñ', '\u00ff', 'k'.repeat(256), '""']) {
      expectProblem(await confirm(system, order.id, key), 400, 'invalid_idempotency_key')
    }
    expect(await orderOf(system, order.id)).toMatchObject({ status: 'CREATED' })
  })

  it('when a key is at its bounds, then it is accepted', async () => {
    const visible = Array.from({ length: 94 }, (_, i) => String.fromCharCode(0x21 + i)).join('')
    const unique = newKey()
    for (const key of [`${unique}${'k'.repeat(255 - unique.length)}`, `${unique}${visible}`]) {
      const { order } = await orderOfFour(system)
      expect((await confirm(system, order.id, key)).status).toBe(200)
      expect((await confirm(system, order.id, key)).headers.get('idempotent-replayed')).toBe('true')
    }
  })

  it('when another principal uses the same key, then it is a different key', async () => {
    const [a, b] = [await orderOfFour(system), await orderOfFour(system)]
    const key = newKey()
    await confirm(system, a.order.id, key)
    const token = await system.token({ clientId: 'another' })
    const other = await system.orders.post(`/orders/${b.order.id}/confirm`, undefined, { ...keyed(key), token })
    expect([other.status, other.body.id]).toEqual([200, b.order.id])
    expect(other.headers.get('idempotent-replayed')).toBeNull()
  })

  it('when keys differ only in case, then they are two keys', async () => {
    const [a, b] = [await orderOfFour(system), await orderOfFour(system)]
    const key = newKey()
    expect((await confirm(system, a.order.id, `${key}x`)).status).toBe(200)
    expect((await confirm(system, b.order.id, `${key}X`)).status).toBe(200)
  })

  it('when it was confirmed with another key, then 200 with the order unchanged', async () => {
    const { order } = await orderOfFour(system)
    const first = await confirm(system, order.id)
    const second = await confirm(system, order.id)
    expect(second.status).toBe(200)
    expect(second.body).toEqual(first.body)
    expect(second.headers.get('idempotent-replayed')).toBeNull()
  })

  it('when the order was canceled since, then a replay with its key, 409 with another', async () => {
    const { order } = await orderOfFour(system)
    const key = newKey()
    const first = await confirm(system, order.id, key)
    await cancel(system, order.id)
    const again = await confirm(system, order.id, key)
    expect([again.status, again.text]).toEqual([200, first.text])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expectProblem(await confirm(system, order.id), 409, 'order_canceled')
  })

  it('when the same key comes for another order, then 422 and that order is unchanged', async () => {
    const [a, b] = [await orderOfFour(system), await orderOfFour(system)]
    const key = newKey()
    await confirm(system, a.order.id, key)
    expectProblem(await confirm(system, b.order.id, key), 422, 'idempotency_key_reused')
    expect(await orderOf(system, b.order.id)).toEqual(b.order)
  })

  it('when one key comes for two orders at once, then one is confirmed and one refused', async () => {
    const [a, b] = [await orderOfFour(system), await orderOfFour(system)]
    const key = newKey()
    const responses = await Promise.all([a, b].map(({ order }) => confirm(system, order.id, key)))
    expect(statusCounts(responses)).toEqual({ 200: 1, 422: 1 })
    const statuses = await Promise.all([a, b].map(async ({ order }) => (await orderOf(system, order.id)).status))
    expect(statuses.sort()).toEqual(['CONFIRMED', 'CREATED'])
  })

  it('when a confirm was refused, then its key confirms another order', async () => {
    const [a, b] = [await orderOfFour(system), await orderOfFour(system)]
    await cancel(system, a.order.id)
    const key = newKey()
    expectProblem(await confirm(system, a.order.id, key), 409, 'order_canceled')
    expect((await confirm(system, b.order.id, key)).status).toBe(200)
  })

  it('when the hold ended unswept, then 409 order_canceled and the stock returns once', async () => {
    const { product, order } = await orderOfFour(system)
    await endHold(system, order.id)
    const responses = await atOnce(3, () => confirm(system, order.id))
    for (const response of responses) expectProblem(response, 409, 'order_canceled')
    await system.sweeps.releaseExpiredHolds()
    expect(await orderOf(system, order.id)).toMatchObject({
      status: 'CANCELED',
      confirmed_at: null,
      canceled_at: expect.stringMatching(TIME),
    })
    expect(await stockOf(system, product.id)).toBe(10)
  })
})

describeEachEngine('holds', (engine) => {
  const system = useSystem(engine)
  const MAX_OPEN_HOLDS = 5

  /** An order and a token of a client that is bound to a new customer, with narrow limits. */
  async function boundClient() {
    const orders = { ...system.env.orders, maxHoldMinutes: 30, maxOpenHolds: MAX_OPEN_HOLDS }
    const customer = await newCustomer(system)
    const token = await system.token({ customerId: customer.id, clientId: `bound-${customer.id}` })
    const instances = [await serveOrders(system, { orders }), await serveOrders(system, { orders })]
    const product = await newProduct(system, { stock: 1_000 })
    const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }] }
    const place = (more: Record<string, unknown> = {}, key = newKey(), instance = 0) =>
      instances[instance]?.api.post('/orders', { ...order, ...more }, { token, ...keyed(key) }) ?? Promise.reject()
    return { customer, product, order, token, place }
  }

  it('when a hold ended unswept, then a new order gets its stock', async () => {
    const product = await newProduct(system, { stock: 10 })
    const items = [{ product_id: product.id, qty: 6 }]
    const ended = await newOrder(system, items)
    expectProblem(await place(system, items), 409, 'insufficient_stock')
    await endHold(system, ended.id)
    const other = await newOrder(system, [{ product_id: (await newProduct(system)).id, qty: 1 }])
    expect((await place(system, items)).status).toBe(201)
    expect((await orderOf(system, ended.id)).status).toBe('CANCELED')
    expect((await orderOf(system, other.id)).status).toBe('CREATED')
    expect(await stockOf(system, product.id)).toBe(4)
    expect(await system.sweeps.releaseExpiredHolds()).toBe(0)
  })

  it('when many orders want the stock of ended holds, then exactly that much is sold', async () => {
    const product = await newProduct(system, { stock: 10 })
    const items = [{ product_id: product.id, qty: 1 }]
    const held = await atOnce(10, () => newOrder(system, items))
    for (const { id } of held.slice(0, 7)) await endHold(system, id)
    const responses = await Promise.all([
      ...(await atOnce(20, () => place(system, items))),
      system.orders.get('/health'),
    ])
    expect(statusCounts(responses)).toEqual({ 201: 7, 409: 13, 200: 1 })
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when a bound client exceeds its maximum hold, then 400, and the maximum is fine', async () => {
    const { place } = await boundClient()
    const refused = await place({ hold_minutes: 31 })
    expectProblem(refused, 400, 'validation_failed')
    expect(refused.body.errors).toEqual([{ path: 'hold_minutes', message: expect.stringContaining('30 minutes') }])
    for (const more of [{ hold_minutes: 30 }, {}]) {
      const { body } = await place(more)
      expect(minutesBetween(body.created_at, body.expires_at)).toBe(30)
    }
  })

  it('when a bound customer has too many holds, then 409 until one of them ends', async () => {
    const { place, customer, product, token } = await boundClient()
    const placed = await atOnce(MAX_OPEN_HOLDS, () => place())
    const refused = await place()
    expectProblem(refused, 409, 'too_many_holds')
    expect(refused.body.max_open_holds).toBe(MAX_OPEN_HOLDS)
    expect(await stockOf(system, product.id)).toBe(1_000 - MAX_OPEN_HOLDS)
    const [a, b, c] = placed.map(({ body }) => body.id)
    await confirm(system, a)
    expect((await place()).status).toBe(201)
    await cancel(system, b)
    expect((await place()).status).toBe(201)
    await endHold(system, c)
    expect((await place()).status).toBe(201)
    expectProblem(await place(), 409, 'too_many_holds')
    const items = [{ product_id: product.id, qty: 1 }]
    expect((await system.orders.post('/orders', { customer_id: customer.id, items })).status).toBe(201)
    expect((await system.orders.get('/orders?status=CREATED', { token })).body.data).toHaveLength(MAX_OPEN_HOLDS + 2)
  })

  it('when a bound client floods two instances with holds, then the limit applies', async () => {
    const { place, customer } = await boundClient()
    const responses = await atOnce(40, (i) => place({}, newKey(), i % 2))
    expect(statusCounts(responses)).toEqual({ 201: MAX_OPEN_HOLDS, 409: 40 - MAX_OPEN_HOLDS })
    expect(await ordersOf(system, customer.id)).toHaveLength(MAX_OPEN_HOLDS)
  })

  it('when the limits became narrower since, then a retry is still a replay', async () => {
    const { place, order, token } = await boundClient()
    const [key, body] = [newKey(), { ...order, hold_minutes: 60 }]
    const first = await system.orders.post('/orders', body, { token, ...keyed(key) })
    expect(first.status).toBe(201)
    await atOnce(MAX_OPEN_HOLDS, () => place())
    const again = await place({ hold_minutes: 60 }, key)
    expect([again.status, again.text]).toEqual([201, first.text])
  })
})

describeEachEngine('POST /orders/:id/cancel', (engine) => {
  const system = useSystem(engine)

  it('when a cancel has a key, then it is replayed, and no other order can use the key', async () => {
    const { product, order } = await orderOfFour(system)
    const other = await newOrder(system, [{ product_id: product.id, qty: 1 }])
    const key = newKey()
    const send = (id: number, body?: unknown) => system.orders.post(`/orders/${id}/cancel`, body, keyed(key))
    const [first, ...rest] = await atOnce(5, () => send(order.id))
    expect(first?.status).toBe(200)
    for (const { text } of rest) expect(text).toBe(first?.text)
    const replay = await send(order.id)
    expect([replay.text, replay.headers.get('idempotent-replayed')]).toEqual([first?.text, 'true'])
    expectProblem(await send(other.id), 422, 'idempotency_key_reused')
    expect((await orderOf(system, other.id)).status).toBe('CREATED')
    expect(await stockOf(system, product.id)).toBe(9)
    const bad = await system.orders.post(`/orders/${other.id}/cancel`, {}, keyed('ä'.repeat(2)))
    expectProblem(bad, 400, 'invalid_idempotency_key')
  })

  it('when a CREATED order is canceled, then 200 and its stock returns', async () => {
    const { product, order } = await orderOfFour(system)
    const { status, body } = await cancel(system, order.id)
    expect(status).toBe(200)
    expect(body).toEqual({ ...order, status: 'CANCELED', canceled_at: expect.stringMatching(TIME), version: 2 })
    expect(await orderOf(system, order.id)).toEqual(body)
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when several lines have one product, then a cancel returns all of their stock', async () => {
    const [a, b] = [await newProduct(system), await newProduct(system)]
    const items = [a, b, a].map(({ id }, i) => ({ product_id: id, qty: i + 1 }))
    const order = await newOrder(system, items)
    await cancel(system, order.id)
    expect(await Promise.all([a, b].map(({ id }) => stockOf(system, id)))).toEqual([100, 100])
  })

  it('when a CANCELED order is canceled, then 200, and order and stock are unchanged', async () => {
    const { product, order } = await orderOfFour(system)
    const first = await cancel(system, order.id)
    const second = await cancel(system, order.id)
    expect([second.status, second.text]).toEqual([200, first.text])
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when a CONFIRMED order is canceled in the window, then 200 and its stock returns', async () => {
    const { product, order } = await orderOfFour(system)
    await confirm(system, order.id)
    await ageConfirmation(system, order.id, 9)
    const { status, body } = await cancel(system, order.id)
    expect(status).toBe(200)
    expect(body).toMatchObject({ status: 'CANCELED', confirmed_at: expect.stringMatching(TIME), expires_at: null })
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when a CONFIRMED order is canceled too late, then 409 and it is unchanged', async () => {
    const { product, order } = await orderOfFour(system)
    await confirm(system, order.id)
    await ageConfirmation(system, order.id, 11)
    expectProblem(await cancel(system, order.id), 409, 'cancel_window_passed')
    expect(await orderOf(system, order.id)).toMatchObject({ status: 'CONFIRMED', canceled_at: null })
    expect(await stockOf(system, product.id)).toBe(6)
  })

  it('when the cancel window is configured, then that one applies', async () => {
    const { api } = await serveOrders(system, { orders: { ...system.env.orders, cancelWindowMinutes: 60 } })
    const { order } = await orderOfFour(system)
    await confirm(system, order.id)
    await ageConfirmation(system, order.id, 59)
    expect((await api.post(`/orders/${order.id}/cancel`)).body.status).toBe('CANCELED')
  })

  it('when a cancel has a JSON type and no body, then it counts as without a body', async () => {
    const { order } = await orderOfFour(system)
    const response = await system.orders.call('POST', `/orders/${order.id}/cancel`, {
      headers: { 'content-type': 'application/json' },
    })
    expect(response.status).toBe(200)
    expect(response.body.status).toBe('CANCELED')
  })

  it('when the body is empty, faulty, or mistyped, then 200, 400 or 415', async () => {
    const { order } = await orderOfFour(system)
    expectFaults(await cancel(system, order.id, { if_status: 'CREATED' }), ['if_status'])
    expectFaults(await cancel(system, order.id, { reason: 'none' }), ['reason'])
    expectProblem(await cancel(system, order.id, '{'), 400, 'malformed_json')
    const headers = { 'content-type': 'text/plain' }
    const path = `/orders/${order.id}/cancel`
    expectProblem(await system.orders.post(path, '{}', { headers }), 415, 'unsupported_media_type')
    expect(await orderOf(system, order.id)).toMatchObject({ status: 'CREATED' })
    expect((await cancel(system, order.id, {})).body.status).toBe('CANCELED')
  })

  it('when the hold ended unswept, then a cancel returns the stock once', async () => {
    const { product, order } = await orderOfFour(system)
    await endHold(system, order.id)
    await Promise.all([cancel(system, order.id), system.sweeps.releaseExpiredHolds(), cancel(system, order.id)])
    expect(await orderOf(system, order.id)).toMatchObject({ status: 'CANCELED' })
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when more holds and keys have ended than one pass takes, then all of them go', async () => {
    const customer = await newCustomer(system)
    const product = await newProduct(system, { stock: 600 })
    const items = [{ product_id: product.id, qty: 1 }]
    const keys = Array.from({ length: 501 }, newKey)
    await Promise.all(keys.map((key) => place(system, items, { customer_id: customer.id }, key)))
    expect(await stockOf(system, product.id)).toBe(99)
    const expired = { expires_at: '2020-01-01 00:00:00.000' }
    await system.db.updateTable('orders').set(expired).where('customer_id', '=', customer.id).execute()
    await system.db.updateTable('idempotency_keys').set(expired).where('key', 'in', keys).execute()
    const later = { expires_at: '2021-01-01 00:00:00.000' }
    await system.db
      .updateTable('idempotency_keys')
      .set(later)
      .where('key', '=', keys[0] ?? '')
      .execute()
    expect(await system.sweeps.releaseExpiredHolds()).toBe(501)
    expect(await system.sweeps.purgeExpiredKeys()).toBe(501)
    expect(await stockOf(system, product.id)).toBe(600)
  })

  it('when holds are swept, then only unconfirmed orders with ended holds are canceled', async () => {
    const [ended, held, confirmed] = await atOnce(3, () => orderOfFour(system))
    await confirm(system, confirmed?.order.id ?? 0)
    await endHold(system, ended?.order.id ?? 0)
    expect(await system.sweeps.releaseExpiredHolds()).toBe(1)
    expect(await system.sweeps.releaseExpiredHolds()).toBe(0)
    const statuses = [ended, held, confirmed].map(async (one) => (await orderOf(system, one?.order.id ?? 0)).status)
    expect(await Promise.all(statuses)).toEqual(['CANCELED', 'CREATED', 'CONFIRMED'])
  })
})

describeEachEngine('who may call Orders', (engine) => {
  const system = useSystem(engine)

  it.each<[string, string, Scope]>([
    ['POST', '/orders', 'orders:write'],
    ['GET', '/orders', 'orders:read'],
    ['GET', '/orders/1', 'orders:read'],
    ['POST', '/orders/1/confirm', 'orders:write'],
    ['POST', '/orders/1/cancel', 'orders:write'],
  ])('when %s %s has no token, a bad one, or lacks its scope, then 401, 401 and 403', async (method, path, scope) => {
    const none = await system.orders.call(method, path, { token: null })
    expectProblem(none, 401, 'unauthorized')
    expect(none.headers.get('www-authenticate')).toMatch(/^Bearer/)
    const bad = await system.orders.call(method, path, { token: 'a.b.c' })
    expectProblem(bad, 401, 'invalid_token')
    expect(bad.headers.get('www-authenticate')).toMatch(/^Bearer.*error="invalid_token"/)
    const other: Scope = scope === 'orders:read' ? 'orders:write' : 'orders:read'
    const token = await system.token({ scopes: [other, 'products:read', 'products:write'] })
    const scopeless = await system.orders.call(method, path, { token })
    expectProblem(scopeless, 403, 'insufficient_scope')
    expect(scopeless.headers.get('www-authenticate')).toContain(`scope="${scope}"`)
  })

  it('when the service token is used, then it may read and write orders', async () => {
    const token = system.env.serviceTokens[0] ?? ''
    const product = await newProduct(system)
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const placed = await system.orders.post('/orders', order, { token })
    expect(placed.status).toBe(201)
    expect((await system.orders.get(`/orders/${placed.body.id}`, { token })).status).toBe(200)
  })

  it('when a client is bound to a customer, then every order route works for that one', async () => {
    const customer = await newCustomer(system)
    const token = await system.token({ customerId: customer.id, clientId: 'bound' })
    const product = await newProduct(system, { stock: 10 })
    const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 4 }] }
    const placed = await system.orders.post('/orders', order, { token })
    expect(placed.status).toBe(201)
    const path = `/orders/${placed.body.id}`
    expect((await system.orders.get(path, { token })).body).toEqual(placed.body)
    expect((await system.orders.post(`${path}/confirm`, undefined, { token, ...keyed() })).body.status).toBe(
      'CONFIRMED',
    )
    expect((await system.orders.post(`${path}/cancel`, undefined, { token })).body.status).toBe('CANCELED')
    for (const query of ['', `?customer_id=${customer.id}`, '?status=CANCELED']) {
      const { body } = await system.orders.get(`/orders${query}`, { token })
      expect(body.data.map(({ id }: { id: number }) => id)).toEqual([placed.body.id])
    }
  })

  it('when a client is bound to a customer, then other orders do not exist for it', async () => {
    const [own, other] = [await newCustomer(system), await newCustomer(system)]
    const { product, order } = await orderOfFour(system, { customer_id: other.id })
    const token = await system.token({ customerId: own.id, clientId: 'bound' })
    const path = `/orders/${order.id}`
    const foreign = await system.orders.get(path, { token })
    expectProblem(foreign, 404, 'not_found')
    const missing = await system.orders.get(`/orders/${NOBODY}`, { token })
    expect(foreign.body.detail.replaceAll(String(order.id), '')).toBe(
      missing.body.detail.replaceAll(String(NOBODY), ''),
    )
    expectProblem(await system.orders.post(`${path}/confirm`, undefined, { token, ...keyed() }), 404, 'not_found')
    expectProblem(await system.orders.post(`${path}/cancel`, undefined, { token }), 404, 'not_found')
    const taken = { customer_id: other.id, items: [{ product_id: product.id, qty: 1 }] }
    expectProblem(await system.orders.post('/orders', taken, { token }), 404, 'not_found')
    expectProblem(await system.orders.post('/orders', { ...taken, customer_id: NOBODY }, { token }), 404, 'not_found')
    for (const query of ['', `?customer_id=${other.id}`]) {
      expect((await system.orders.get(`/orders${query}`, { token })).body.data).toEqual([])
    }
    expect(await orderOf(system, order.id)).toEqual(order)
    expect(await stockOf(system, product.id)).toBe(6)
  })
})

describeEachEngine('POST /orders that confirms at once', (engine) => {
  const system = useSystem(engine)

  async function product10() {
    const product = await newProduct(system, { stock: 10, price_cents: 500 })
    return { product, items: [{ product_id: product.id, qty: 4 }] }
  }

  const placeNow = (items: unknown, key: string | null = newKey(), more = {}, request: ApiRequest = {}) =>
    system.orders.post(
      '/orders',
      { customer_id: 1, items, confirm: true, ...more },
      { ...request, headers: { ...request.headers, ...(key !== null && { 'idempotency-key': key }) } },
    )

  it('when an order is placed with confirm, then it is CONFIRMED at once with no hold', async () => {
    const { product, items } = await product10()
    const response = await placeNow(items)
    expect(response.status).toBe(201)
    expect(response.headers.get('location')).toBe(`orders/${response.body.id}`)
    expect(response.body).toMatchObject({ status: 'CONFIRMED', total_cents: 2000, expires_at: null, canceled_at: null })
    expect(response.body.confirmed_at).toBe(response.body.created_at)
    expect(await orderOf(system, response.body.id)).toEqual(response.body)
    expect(await stockOf(system, product.id)).toBe(6)
    expect(await differencesIn(system)).toEqual([])
  })

  it('when it is retried, then the replay has the same bytes', async () => {
    const { product, items } = await product10()
    const key = newKey()
    const first = await placeNow(items, key)
    await cancel(system, first.body.id)
    const again = await placeNow(items, key)
    expect([again.status, again.text]).toEqual([201, first.text])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when there is no key, then 400, and nothing is placed', async () => {
    const { product, items } = await product10()
    expectProblem(await placeNow(items, null), 400, 'idempotency_key_required')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when it has hold_minutes too, then there is still no hold', async () => {
    const { items } = await product10()
    const { body } = await placeNow(items, newKey(), { hold_minutes: 5 })
    expect(body).toMatchObject({ status: 'CONFIRMED', expires_at: null })
  })

  it('when confirm is false, null or absent, then the order is CREATED', async () => {
    const { items } = await product10()
    for (const confirm of [false, null]) {
      expect((await placeNow([{ ...items[0], qty: 1 }], newKey(), { confirm })).body.status).toBe('CREATED')
    }
  })

  it('when one key comes with and without confirm, then they are two requests', async () => {
    const { product, items } = await product10()
    const key = newKey()
    await placeNow(items, key)
    expectProblem(await placeNow(items, key, { confirm: undefined }), 422, 'idempotency_key_reused')
    expect(await stockOf(system, product.id)).toBe(6)
  })

  it('when stock is short, then 409, and the same key succeeds after a restock', async () => {
    const { product } = await product10()
    const [items, key] = [[{ product_id: product.id, qty: 11 }], newKey()]
    expectProblem(await placeNow(items, key), 409, 'insufficient_stock')
    await system.orders.post(`/products/${product.id}/stock-adjustments`, { delta: 1, reason: 'restock' })
    expect((await placeNow(items, key)).body.status).toBe('CONFIRMED')
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when it is canceled within the window, then the stock returns', async () => {
    const { product, items } = await product10()
    const { body } = await placeNow(items)
    expect((await cancel(system, body.id)).body.status).toBe('CANCELED')
    expect(await stockOf(system, product.id)).toBe(10)
    expect(await differencesIn(system)).toEqual([])
  })

  it('when 40 callers with one key come at once, then it is one order and one body', async () => {
    const { product, items } = await product10()
    const key = newKey()
    const responses = await atOnce(40, () => placeNow(items, key))
    expect(new Set(responses.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(responses.filter(({ headers }) => headers.get('idempotent-replayed') === null)).toHaveLength(1)
    expect(await stockOf(system, product.id)).toBe(6)
  })
})

describeEachEngine('POST /internal/orders/placements', (engine) => {
  const system = useSystem(engine)
  const PLACEMENTS = '/internal/orders/placements'
  const MAX_BYTES = 4 * 1024 * 1024
  const CUSTOMER = { id: 1, name: 'ACME Corp', email: 'ops@acme.com', phone: '555-1234' }

  interface Placement {
    key: string
    order: Record<string, unknown>
    correlation_id: string
    on_behalf_of?: string
  }
  interface Result {
    status: number
    replayed: boolean
    body: string
  }

  const token = () => system.env.serviceTokens[0] ?? ''
  const placing = (items: unknown, more = {}, key = newKey()): Placement => ({
    key,
    order: { customer_id: 1, customer: CUSTOMER, items, ...more },
    correlation_id: `call:${newKey()}`,
  })
  const oneUnitOf = ({ id }: { id: number }, more = {}) => placing([{ product_id: id, qty: 1 }], more)
  const dataOf = ({ body }: Result) => JSON.parse(body)

  function take(calls: unknown, api = system.orders): Promise<ApiResponse> {
    return api.post(PLACEMENTS, { calls }, { token: token() })
  }

  async function resultsOf(calls: Placement[]): Promise<Result[]> {
    const response = await take(calls)
    expect(response.status).toBe(200)
    return response.body.results
  }

  it('when orders are placed, then each result has its customer and confirmed order', async () => {
    const product = await newProduct(system, { stock: 10, price_cents: 500 })
    const calls = [2, 3].map((qty) => placing([{ product_id: product.id, qty }]))
    const results = await resultsOf(calls)
    expect(results.map(({ status, replayed }) => [status, replayed])).toEqual([
      [201, false],
      [201, false],
    ])
    for (const [i, result] of results.entries()) {
      const { customer, order } = dataOf(result)
      expect(customer).toEqual(CUSTOMER)
      expect(Object.keys(order)).toEqual(['id', 'status', 'total_cents', 'items'])
      expect(order).toMatchObject({ status: 'CONFIRMED', total_cents: [1000, 1500][i] })
      expect(await orderOf(system, order.id)).toMatchObject(order)
    }
    expect(await stockOf(system, product.id)).toBe(5)
  })

  it('when they come again with another customer text, then each replay is identical', async () => {
    const product = await newProduct(system, { stock: 10 })
    const calls = [oneUnitOf(product), oneUnitOf(product)]
    const first = await resultsOf(calls)
    for (const customer of [CUSTOMER, { ...CUSTOMER, name: 'Renamed' }, null]) {
      const again = await resultsOf(calls.map((call) => ({ ...call, order: { ...call.order, customer } })))
      expect(again).toEqual(first.map((result) => ({ ...result, replayed: true })))
    }
    expect(await stockOf(system, product.id)).toBe(8)
  })

  it('when some are refused, then each as it would be alone, and the rest succeed', async () => {
    const product = await newProduct(system, { stock: 10 })
    const scarce = await newProduct(system, { stock: 2 })
    const dear = await newProduct(system, { price_cents: MAX_PRICE, stock: 1_000_000 })
    const used = oneUnitOf(product)
    await take([used])
    const refused = [
      placing([{ product_id: scarce.id, qty: 3 }]),
      placing([{ product_id: NOBODY, qty: 1 }]),
      oneUnitOf(product, { customer_id: NOBODY }),
      oneUnitOf(product, { customer: null }),
      placing([{ product_id: dear.id, qty: 1_000_000 }]),
      placing([{ product_id: product.id, qty: 2 }], {}, used.key),
    ]
    const good = refused.map(() => oneUnitOf(product))
    const results = await resultsOf(refused.flatMap((call, i) => [call, good[i] ?? call]))
    const codes = results.filter((_, i) => i % 2 === 0).map(({ body }) => trustedCode(body))
    expect(codes).toEqual([
      'insufficient_stock',
      'product_not_found',
      'customer_not_found',
      'customer_not_found',
      'amount_too_large',
      'idempotency_key_reused',
    ])
    expect(results.filter((_, i) => i % 2 === 1).map(({ status }) => status)).toEqual(good.map(() => 201))
    expect(await stockOf(system, product.id)).toBe(10 - 1 - good.length)
    expect(await Promise.all([scarce, dear].map(({ id }) => stockOf(system, id)))).toEqual([2, 1_000_000])
  })

  /** A refusal is a problem document as JSON, not as text. */
  function trustedCode(body: unknown): unknown {
    return typeof body === 'object' && body !== null && 'code' in body ? body.code : body
  }

  it('when one key comes twice in one request, then it is one order and one replay', async () => {
    const product = await newProduct(system, { stock: 10 })
    const call = oneUnitOf(product)
    const results = await resultsOf([call, { ...call, correlation_id: 'duplicate' }])
    expect(results.map(({ status, replayed }) => [status, replayed])).toEqual([
      [201, false],
      [201, true],
    ])
    expect(results[1]?.body).toBe(results[0]?.body)
    expect(await stockOf(system, product.id)).toBe(9)
  })

  it('when one key has two orders in one request, then the second gets 422', async () => {
    const product = await newProduct(system, { stock: 10 })
    const place = oneUnitOf(product)
    const results = await resultsOf([place, placing([{ product_id: product.id, qty: 2 }], {}, place.key)])
    expect(results.map(({ status }) => status)).toEqual([201, 422])
    expect(trustedCode(results[1]?.body)).toBe('idempotency_key_reused')
    expect(await stockOf(system, product.id)).toBe(9)
  })

  it('when the first of two orders with one key is refused, then the second is placed', async () => {
    const product = await newProduct(system, { stock: 10 })
    const refused = placing([{ product_id: product.id, qty: 11 }])
    const results = await resultsOf([refused, placing([{ product_id: product.id, qty: 2 }], {}, refused.key)])
    expect(results.map(({ status }) => status)).toEqual([409, 201])
    expect(await stockOf(system, product.id)).toBe(8)
  })

  it('when 100 calls want 30 units, then 30 get one, and the stock is exact', async () => {
    const product = await newProduct(system, { stock: 30 })
    const results = await resultsOf(Array.from({ length: 100 }, () => oneUnitOf(product)))
    expect(statusCounts(results)).toEqual({ 201: 30, 409: 70 })
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when many large orders of one caller come first, then others are not delayed', async () => {
    const product = await newProduct(system, { stock: 10_000, price_cents: 1 })
    const lines = Array.from({ length: 200 }, () => ({ product_id: product.id, qty: 1 }))
    const flood = Array.from({ length: 20 }, () => ({ ...placing(lines), on_behalf_of: 'client:flood' }))
    const results = await resultsOf([...flood, { ...oneUnitOf(product), on_behalf_of: 'client:quiet' }])
    expect(statusCounts(results)).toEqual({ 201: 21 })
    const ids = results.map((result) => Number(dataOf(result).order.id))
    const quiet = ids[20] ?? 0
    expect(ids.filter((id) => id > quiet).length).toBeGreaterThan(10)
  })

  /** An order as the previous version left it: placed with this key, and maybe confirmed with another one. */
  async function twoSteps({ confirmed }: { confirmed: boolean }) {
    const product = await newProduct(system, { stock: 10, price_cents: 500 })
    const items = [{ product_id: product.id, qty: 1 }]
    const hash = newKey()
    const service = { token: token() }
    const headers = (key: string) => ({ ...service, headers: { 'idempotency-key': key } })
    const placed = await system.orders.post(
      '/orders',
      { customer_id: 1, items, hold_minutes: 15 },
      headers(`create:${hash}`),
    )
    if (confirmed) await system.orders.post(`/orders/${placed.body.id}/confirm`, undefined, headers(`confirm:${hash}`))
    return { product, id: placed.body.id, call: placing(items, {}, `create:${hash}`) }
  }

  it.each([true, false])(
    'when the previous version placed it (confirmed: %s), then it is confirmed',
    async (confirmed) => {
      const { product, id, call } = await twoSteps({ confirmed })
      for (let i = 0; i < 2; i++) {
        const [result] = await resultsOf([call])
        expect(result).toMatchObject({ status: 201, replayed: true })
        const item = { product_id: product.id, qty: 1, unit_price_cents: 500, subtotal_cents: 500 }
        expect(result && dataOf(result)).toEqual({
          customer: CUSTOMER,
          order: { id, status: 'CONFIRMED', total_cents: 500, items: [item] },
        })
      }
      expect(await orderOf(system, id)).toMatchObject({ status: 'CONFIRMED' })
      expect(await stockOf(system, product.id)).toBe(9)
    },
  )

  it('when the token is missing, wrong, or a client’s, then 401 and nothing is done', async () => {
    const product = await newProduct(system, { stock: 10 })
    const calls = [oneUnitOf(product)]
    expectProblem(await system.orders.post(PLACEMENTS, { calls }, { token: null }), 401, 'unauthorized')
    expectProblem(await system.orders.post(PLACEMENTS, { calls }, { token: 'wrong' }), 401, 'invalid_token')
    expectProblem(await system.orders.post(PLACEMENTS, { calls }), 401, 'invalid_token')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it.each<[string, Record<string, unknown>, string[]]>([
    ['no key', { key: undefined }, ['calls.1.key']],
    ['a bad key', { key: 'a b' }, ['calls.1.key']],
    ['a long key', { key: 'k'.repeat(256) }, ['calls.1.key']],
    ['no correlation id', { correlation_id: undefined }, ['calls.1.correlation_id']],
    ['a bad correlation id', { correlation_id: 'a b' }, ['calls.1.correlation_id']],
    ['a long correlation id', { correlation_id: 'x'.repeat(129) }, ['calls.1.correlation_id']],
    ['a bad traceparent', { traceparent: 'yes' }, ['calls.1.traceparent']],
    ['an unknown field', { principal: 'client:other' }, ['calls.1.principal']],
    ['no order', { order: undefined }, ['calls.1.order']],
    ['an empty order', { order: {} }, ['calls.1.order']],
    ['a hold', { order: { customer_id: 1, customer: null, items: [], hold_minutes: 5 } }, ['calls.1.order']],
    [
      'an order with a price',
      { order: { customer_id: 1, customer: null, items: [{ product_id: 1, qty: 1, price_cents: 1 }] } },
      ['calls.1.order'],
    ],
    ['no customer', { order: { customer_id: 1, items: [{ product_id: 1, qty: 1 }] } }, ['calls.1.order.customer']],
  ])('when a call has %s, then 400 names it, and none is done', async (_, change, paths) => {
    const product = await newProduct(system, { stock: 10 })
    const response = await take([oneUnitOf(product), { ...oneUnitOf(product), ...change }])
    expectProblem(response, 400, 'validation_failed')
    const faults: { path: string }[] = response.body.errors
    for (const { path } of faults) expect(paths.some((start) => path.startsWith(start))).toBe(true)
    expect(faults.length).toBeGreaterThan(0)
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when there are no calls, more than 100, or other fields beside them, then 400', async () => {
    const product = await newProduct(system, { stock: 1_000 })
    expectFaults(await take([]), ['calls'])
    expectFaults(await take(undefined), ['calls'])
    expectFaults(await take(Array.from({ length: 101 }, () => oneUnitOf(product))), ['calls'])
    const beside = { calls: [oneUnitOf(product)], principal: 'client:other' }
    expectFaults(await system.orders.post(PLACEMENTS, beside, { token: token() }), ['principal'])
    expect(await stockOf(system, product.id)).toBe(1_000)
  })

  it('when the body is at most 4 MiB, then it is accepted, and beyond that 413', async () => {
    const product = await newProduct(system, { stock: 10_000, price_cents: 1 })
    const lines = Array.from({ length: 30 }, () => ({ product_id: product.id, qty: 1 }))
    const calls = Array.from({ length: 100 }, () => placing(lines))
    const body = JSON.stringify({ calls })
    expect(body.length).toBeGreaterThan(64 * 1024)
    const full = body.padEnd(MAX_BYTES)
    const response = await system.orders.post(PLACEMENTS, full, { token: token() })
    expect(statusCounts(response.body.results)).toEqual({ 201: 100 })
    expectProblem(await system.orders.post(PLACEMENTS, `${full} `, { token: token() }), 413, 'payload_too_large')
    expect(await stockOf(system, product.id)).toBe(7_000)
  })

  it('when the body is chunked, without a length, then the same bounds apply', async () => {
    const product = await newProduct(system, { stock: 10 })
    const inPieces = (body: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = {
          authorization: `Bearer ${token()}`,
          'content-type': 'application/json',
          'transfer-encoding': 'chunked',
        }
        const sending = request(`${system.orders.base}${PLACEMENTS}`, { method: 'POST', headers }, (response) => {
          response.resume()
          resolve(response.statusCode)
        })
        sending.on('error', reject)
        sending.end(body)
      })
    const body = JSON.stringify({ calls: [oneUnitOf(product), oneUnitOf(product)] })
    expect(await inPieces(body)).toBe(200)
    expect(await inPieces(body.padEnd(64 * 1024 + 1))).toBe(200)
    expect(await inPieces(body.padEnd(MAX_BYTES + 1))).toBe(413)
    expect(await stockOf(system, product.id)).toBe(8)
  })

  it('when several calls come, then one log line names all correlation ids', async () => {
    const product = await newProduct(system)
    const calls = [oneUnitOf(product), oneUnitOf(product), oneUnitOf(product, { customer_id: NOBODY })]
    const before = system.log.length
    await take(calls)
    const lines = system.log.slice(before).map((line) => JSON.parse(line))
    expect(lines.filter(({ msg, route }) => msg === 'request' && route === PLACEMENTS)).toMatchObject([
      { status: 200, principal: 'service', together: calls.map(({ correlation_id }) => correlation_id) },
    ])
    expect(lines.filter(({ msg }) => msg === 'failed')).toEqual([])
  })

  it('when calls come for several callers, then each order is of its own caller', async () => {
    const product = await newProduct(system)
    const calls = ['client:a', 'client:b'].map((on_behalf_of) => ({ ...oneUnitOf(product), on_behalf_of }))
    const results = await resultsOf(calls)
    for (const [i, result] of results.entries()) {
      const row = system.db.selectFrom('orders').select(['placed_by', 'correlation_id'])
      const { placed_by, correlation_id } = await row
        .where('id', '=', dataOf(result).order.id)
        .executeTakeFirstOrThrow()
      expect({ placed_by, correlation_id }).toEqual({
        placed_by: calls[i]?.on_behalf_of,
        correlation_id: calls[i]?.correlation_id,
      })
    }
  })
})

describeEachEngine('Orders whose Customers is at fault', (engine) => {
  const system = useSystem(engine)
  const SECRET = 'the database at 10.0.0.7 said no'

  async function placeThrough(customersBase: string, httpTimeoutMs = 5_000) {
    const product = await newProduct(system, { stock: 10 })
    const { api, log } = await serveOrders(system, { customersBase, httpTimeoutMs })
    const customer = await newCustomer(system)
    const items = [{ product_id: product.id, qty: 1 }]
    const response = await api.post('/orders', { customer_id: customer.id, items }, keyed())
    return { response, log, product, customer }
  }

  async function expectRefusal(placing: ReturnType<typeof placeThrough>, status: number, code: string): Promise<void> {
    const { response, log, product, customer } = await placing
    expectProblem(response, status, code)
    expect(response.text).not.toMatch(/10\.0\.0\.7|127\.0\.0\.1|ECONN|fetch|<html|\.ts\b/i)
    expect(Object.keys(response.body).sort()).toEqual(['code', 'detail', 'request_id', 'status', 'title', 'type'])
    const failed = log.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'failed')
    expect(failed).toMatchObject([
      { level: 50, code, correlation_id: response.body.request_id, err: expect.anything() },
    ])
    expect(await stockOf(system, product.id)).toBe(10)
    expect(await ordersOf(system, customer.id)).toEqual([])
  }

  it('when Customers cannot be reached, then 503, and nothing is taken', async () => {
    await expectRefusal(placeThrough(await nowhere()), 503, 'unavailable')
  })

  it('when Customers times out, then 504, and nothing is taken', async () => {
    const proxy = await startFaultyProxy(system.customers.base, () => 'hang')
    await expectRefusal(placeThrough(proxy.base, 50), 504, 'deadline_exceeded')
  })

  const html = { 'content-type': 'text/html' }
  it.each<[string, Fault]>([
    ['a page', { status: 200, body: '<html>Welcome</html>', headers: html }],
    ['a page that is not found', { status: 404, body: '<html>Nothing</html>', headers: html }],
    ['another shape', { status: 200, body: '{"id":1,"name":5}' }],
    ['null', { status: 200, body: 'null' }],
    ['a redirect', { status: 302, body: '', headers: { location: 'http://10.0.0.7/' } }],
    ['a fault', { status: 500, body: JSON.stringify({ code: 'internal_error', detail: SECRET, stack: SECRET }) }],
    ['a fault with a page', { status: 500, body: `<html>${SECRET}</html>`, headers: html }],
    ['that our token is wrong', { status: 401, body: JSON.stringify({ code: 'invalid_token', detail: SECRET }) }],
    ['that it has no such path', { status: 404, body: JSON.stringify({ code: 'route_not_found', detail: SECRET }) }],
    ['502 for what it needs', { status: 502, body: JSON.stringify({ code: 'upstream_failed', detail: SECRET }) }],
  ])('when Customers responds with %s, then 502, and nothing is taken', async (_, fault) => {
    const proxy = await startFaultyProxy(system.customers.base, () => fault)
    await expectRefusal(placeThrough(proxy.base), 502, 'upstream_failed')
  })

  it('when Customers is unavailable, then 503 without its reason, and nothing is taken', async () => {
    const body = JSON.stringify({ code: 'unavailable', detail: SECRET, host: '10.0.0.7' })
    const proxy = await startFaultyProxy(system.customers.base, () => ({ status: 503, body }))
    await expectRefusal(placeThrough(proxy.base), 503, 'unavailable')
  })

  it('when Customers fails for a moment, then the order is placed all the same', async () => {
    const faults: Fault[] = [{ status: 503, body: '' }, 'refuse', 'lose the answer', 'none']
    const proxy = await startFaultyProxy(system.customers.base, (_, earlier) => faults[earlier] ?? 'none')
    const { response, product } = await placeThrough(proxy.base)
    expect(response.status).toBe(201)
    expect(proxy.seen).toHaveLength(4)
    expect(await stockOf(system, product.id)).toBe(9)
  })

  it('when a keyed order met the fault, then a retry is placed once it is gone', async () => {
    let broken = true
    const proxy = await startFaultyProxy(system.customers.base, () => (broken ? { status: 500, body: '' } : 'none'))
    const { api } = await serveOrders(system, { customersBase: proxy.base })
    const product = await newProduct(system, { stock: 10 })
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const { headers } = keyed()
    expectProblem(await api.post('/orders', order, { headers }), 502, 'upstream_failed')
    broken = false
    const response = await api.post('/orders', order, { headers })
    expect([response.status, response.headers.get('idempotent-replayed')]).toEqual([201, null])
    expect(await stockOf(system, product.id)).toBe(9)
  })

  it('when many orders of one customer come at once, then they share one lookup', async () => {
    const gate = Promise.withResolvers<'none'>()
    const proxy = await startFaultyProxy(system.customers.base, () => gate.promise)
    const { api } = await serveOrders(system, { customersBase: proxy.base })
    const product = await newProduct(system)
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const responses = atOnce(10, () => api.post('/orders', order))
    gate.resolve('none')
    expect(statusCounts(await responses)).toEqual({ 201: 10 })
    expect(proxy.seen.length).toBeLessThan(10)
  })

  it('when a customer is deleted during its lookup, then no order is placed for it', async () => {
    const customer = await newCustomer(system)
    const asItWas = (await system.customers.get(`/customers/${customer.id}`)).text
    const [asked, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<Fault>()]
    const proxy = await startFaultyProxy(system.customers.base, async (_, earlier) => {
      if (earlier > 0) return 'none'
      asked.resolve()
      return gate.promise
    })
    const { api } = await serveOrders(system, { customersBase: proxy.base })
    const product = await newProduct(system)
    const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }] }
    const before = api.post('/orders', order)
    await asked.promise
    await system.customers.delete(`/customers/${customer.id}`)
    expectProblem(await api.post('/orders', order), 422, 'customer_not_found')
    gate.resolve({ status: 200, body: asItWas })
    expectProblem(await before, 422, 'customer_not_found')
    expect(await stockOf(system, product.id)).toBe(100)
  })

  it('when an order comes with trace headers, then Customers gets them and our token', async () => {
    const proxy = await startFaultyProxy(system.customers.base, () => 'none')
    const { api } = await serveOrders(system, { customersBase: `${proxy.base}/` })
    const product = await newProduct(system)
    const trace = {
      'x-correlation-id': 'flow:42',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    }
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const response = await api.post('/orders', order, { headers: trace })
    expect(response.headers.get('x-correlation-id')).toBe('flow:42')
    expect(proxy.seen).toMatchObject([
      {
        method: 'GET',
        path: '/internal/customers/1',
        headers: { ...trace, authorization: `Bearer ${system.env.serviceTokens[0]}` },
      },
    ])
  })
})

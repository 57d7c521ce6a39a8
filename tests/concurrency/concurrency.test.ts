import { expect, it, vi } from 'vitest'
import { readClock } from '../../src/platform/database/clock.ts'
import type { ApiResponse } from '../../testing/api-client.ts'
import { startFaultyProxy } from '../../testing/faulty-proxy.ts'
import { startInstance } from '../../testing/instances.ts'
import { expectFaults, expectProblem } from '../../testing/problems.ts'
import {
  atOnce,
  endHold,
  newCustomer,
  newKey,
  newOrder,
  newProduct,
  orderOf,
  ordersOf,
  statusCounts,
  stockOf,
} from '../../testing/rows.ts'
import { serveOrders } from '../../testing/services.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'

// Known mistakes of such systems, in the order of the table of the assignment.

const CREATE_AND_CONFIRM = '/dev/orchestrator/create-and-confirm-order'
const ROUNDS = 8

function orchestrate(system: TestSystem, body: Record<string, unknown>): Promise<ApiResponse> {
  return system.orchestrator.post(CREATE_AND_CONFIRM, body, { token: null })
}

function confirm(system: TestSystem, orderId: number, key = newKey()): Promise<ApiResponse> {
  return system.orders.post(`/orders/${orderId}/confirm`, undefined, { headers: { 'idempotency-key': key } })
}

function bodies(responses: ApiResponse[]): Set<string> {
  return new Set(responses.map((response) => response.text))
}

/** Lines of two products, in an order that differs from one request to the next. */
function crossingLines(i: number, [a, b]: [{ id: number }, { id: number }]) {
  const lines = [
    { product_id: a.id, qty: 1 },
    { product_id: b.id, qty: 1 },
  ]
  return i % 2 === 0 ? lines : lines.reverse()
}

describeEachEngine('pitfalls', (engine) => {
  const system = useSystem(engine)

  it('when 200 orders want 20 units at once, then 20 are placed and 180 refused', async () => {
    const product = await newProduct(system, { stock: 20 })
    const customer = await newCustomer(system)
    const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }] }
    const responses = await atOnce(200, () => system.orders.post('/orders', order))
    expect(statusCounts(responses)).toEqual({ 201: 20, 409: 180 })
    expect(await stockOf(system, product.id)).toBe(0)
    expect(await ordersOf(system, customer.id)).toHaveLength(20)
  })

  it('when 200 orchestrator calls want 20 units at once, then exactly 20 succeed', async () => {
    const product = await newProduct(system, { stock: 20 })
    const customer = await newCustomer(system)
    const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }] }
    const responses = await atOnce(200, () => orchestrate(system, { ...order, idempotency_key: newKey() }))
    expect(statusCounts(responses)).toEqual({ 201: 20, 409: 180 })
    expect(await stockOf(system, product.id)).toBe(0)
    const orders = await ordersOf(system, customer.id)
    expect(orders.map(({ status }) => status)).toEqual(Array(20).fill('CONFIRMED'))
  })

  it('when the orchestrator gets one key 20 times at once, then one order and one body', async () => {
    const product = await newProduct(system, { stock: 20 })
    const customer = await newCustomer(system)
    const body = {
      customer_id: customer.id,
      items: [{ product_id: product.id, qty: 2 }],
      idempotency_key: newKey(),
      correlation_id: 'same',
    }
    const responses = await atOnce(20, () => orchestrate(system, body))
    expect(statusCounts(responses)).toEqual({ 201: 20 })
    expect(bodies(responses).size).toBe(1)
    expect(await ordersOf(system, customer.id)).toHaveLength(1)
    expect(await stockOf(system, product.id)).toBe(18)
  })

  it('when the orchestrator gets one key 20 times in turn, then 19 are replays', async () => {
    const product = await newProduct(system, { stock: 20 })
    const customer = await newCustomer(system)
    const body = {
      customer_id: customer.id,
      items: [{ product_id: product.id, qty: 2 }],
      idempotency_key: newKey(),
      correlation_id: 'same',
    }
    const responses: ApiResponse[] = []
    for (let i = 0; i < 20; i++) responses.push(await orchestrate(system, body))
    expect(statusCounts(responses)).toEqual({ 201: 20 })
    expect(bodies(responses).size).toBe(1)
    const replayed = responses.map((response) => response.headers.get('idempotent-replayed'))
    expect(replayed).toEqual([null, ...Array(19).fill('true')])
    expect(await ordersOf(system, customer.id)).toHaveLength(1)
    expect(await stockOf(system, product.id)).toBe(18)
  })

  it('when two lines of a product exceed its stock together, then nothing is taken', async () => {
    const product = await newProduct(system, { stock: 10 })
    const customer = await newCustomer(system)
    const items = [
      { product_id: product.id, qty: 6 },
      { product_id: product.id, qty: 5 },
    ]
    const response = await system.orders.post('/orders', { customer_id: customer.id, items })
    expectProblem(response, 409, 'insufficient_stock')
    expect(response.body.lines).toEqual([{ product_id: product.id, requested: 11, available: 10 }])
    expect(await stockOf(system, product.id)).toBe(10)
    expect(await ordersOf(system, customer.id)).toEqual([])
  })

  it('when two lines of a product need exactly its stock, then both are taken', async () => {
    const product = await newProduct(system, { stock: 10 })
    await newOrder(system, [
      { product_id: product.id, qty: 6 },
      { product_id: product.id, qty: 4 },
    ])
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when 60 orders with opposite line orders come at once, then all succeed', async () => {
    const pair: [{ id: number }, { id: number }] = [await newProduct(system), await newProduct(system)]
    const responses = await atOnce(60, (i) =>
      system.orders.post('/orders', { customer_id: 1, items: crossingLines(i, pair) }),
    )
    expect(statusCounts(responses)).toEqual({ 201: 60 })
    expect(await Promise.all(pair.map(({ id }) => stockOf(system, id)))).toEqual([40, 40])
  })

  it.each(['CREATED', 'CONFIRMED'])(
    'when a %s order is canceled 10 times at once, then its stock returns once',
    async (status) => {
      const product = await newProduct(system, { stock: 10 })
      const order = await newOrder(system, [{ product_id: product.id, qty: 4 }])
      if (status === 'CONFIRMED') await confirm(system, order.id)
      const responses = await atOnce(10, () => system.orders.post(`/orders/${order.id}/cancel`))
      expect(statusCounts(responses)).toEqual({ 200: 10 })
      expect(bodies(responses).size).toBe(1)
      expect(await stockOf(system, product.id)).toBe(10)
    },
  )

  it('when a cancel and a confirm come at once, then the stock returns once', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const product = await newProduct(system, { stock: 10 })
      const order = await newOrder(system, [{ product_id: product.id, qty: 4 }])
      const cancel = () => system.orders.post(`/orders/${order.id}/cancel`)
      const [canceled, confirmed] = await inEitherOrder(round, cancel, () => confirm(system, order.id))
      expect(canceled.status).toBe(200)
      const { status, confirmed_at } = await orderOf(system, order.id)
      expect(status).toBe('CANCELED')
      expect(confirmed.status).toBe(confirmed_at === null ? 409 : 200)
      expect(await stockOf(system, product.id)).toBe(10)
    }
  })

  it('when a hold ends and a confirm comes at once, then exactly one of them wins', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const product = await newProduct(system, { stock: 40 })
      const ids = (await atOnce(5, () => newOrder(system, [{ product_id: product.id, qty: 4 }]))).map(({ id }) => id)
      // The hold ends while the calls are on their way, each round a little later.
      const expires_at = new Date(Date.parse(`${await readClock(system.db)}Z`) + round * 4).toISOString()
      await system.db
        .updateTable('orders')
        .set({ expires_at: expires_at.slice(0, 23).replace('T', ' ') })
        .where('id', 'in', ids)
        .execute()
      const [confirmed] = await Promise.all([
        Promise.all(ids.map((id) => confirm(system, id))),
        atOnce(5, () => system.sweeps.releaseExpiredHolds()),
      ])
      const statuses = await Promise.all(ids.map(async (id) => (await orderOf(system, id)).status))
      const outcomes = confirmed.map(({ status }) => (status === 200 ? 'CONFIRMED' : 'CANCELED'))
      expect(statuses).toEqual(outcomes)
      for (const response of confirmed) if (response.status !== 200) expectProblem(response, 409, 'order_canceled')
      const taken = 4 * statuses.filter((status) => status === 'CONFIRMED').length
      expect(await stockOf(system, product.id)).toBe(40 - taken)
    }
  })

  it('when a canceled order is confirmed, then 409, and its stock is not taken again', async () => {
    const product = await newProduct(system, { stock: 10 })
    const order = await newOrder(system, [{ product_id: product.id, qty: 4 }])
    await system.orders.post(`/orders/${order.id}/cancel`)
    expectProblem(await confirm(system, order.id), 409, 'order_canceled')
    expect(await orderOf(system, order.id)).toMatchObject({ status: 'CANCELED', confirmed_at: null })
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when an order is confirmed 10 times at once with one key, then there is one body', async () => {
    const product = await newProduct(system)
    for (let round = 0; round < ROUNDS; round++) {
      const [order, other] = await atOnce(2, () => newOrder(system, [{ product_id: product.id, qty: 1 }]))
      const key = newKey()
      // These ten wait for the other confirm, and so share a transaction.
      const busy = confirm(system, other?.id ?? 0)
      const responses = await atOnce(10, () => confirm(system, order?.id ?? 0, key))
      expect((await busy).status).toBe(200)
      expect(statusCounts(responses)).toEqual({ 200: 10 })
      expect(bodies(responses).size).toBe(1)
      expect(responses.filter((response) => response.headers.get('idempotent-replayed') === 'true')).toHaveLength(9)
    }
  })

  it('when an order is confirmed 10 times at once with 10 keys, then there is one body', async () => {
    const product = await newProduct(system)
    const order = await newOrder(system, [{ product_id: product.id, qty: 1 }])
    const responses = await atOnce(10, () => confirm(system, order.id))
    expect(statusCounts(responses)).toEqual({ 200: 10 })
    expect(bodies(responses).size).toBe(1)
  })

  it('when a key confirms one order and then another, then the second is refused', async () => {
    const product = await newProduct(system)
    const [first, other] = await atOnce(2, () => newOrder(system, [{ product_id: product.id, qty: 1 }]))
    const key = newKey()
    await confirm(system, first?.id ?? 0, key)
    expectProblem(await confirm(system, other?.id ?? 0, key), 422, 'idempotency_key_reused')
    expect(await orderOf(system, other?.id ?? 0)).toMatchObject({ status: 'CREATED' })
  })

  it('when a key is used to place another order, then 422 and nothing is taken', async () => {
    const product = await newProduct(system, { stock: 10 })
    const headers = { 'idempotency-key': newKey() }
    const order = (qty: number) => ({ customer_id: 1, items: [{ product_id: product.id, qty }] })
    await system.orders.post('/orders', order(1), { headers })
    expectProblem(await system.orders.post('/orders', order(2), { headers }), 422, 'idempotency_key_reused')
    expect(await stockOf(system, product.id)).toBe(9)
  })

  it('when the orchestrator places an order, then its key is a hash of the caller’s', async () => {
    const product = await newProduct(system, { stock: 10 })
    const key = newKey()
    const body = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }], idempotency_key: key }
    const { status, body: response } = await orchestrate(system, body)
    expect(status).toBe(201)
    const { id } = response.data.order
    expect(await orderOf(system, id)).toMatchObject({ status: 'CONFIRMED', expires_at: null })
    const records = await system.db
      .selectFrom('idempotency_keys')
      .select(['operation', 'key'])
      .where('target_id', '=', id)
      .where('target_type', '=', 'order')
      .execute()
    expect(records).toMatchObject([{ operation: 'orders.place' }])
    expect(records[0]?.key).not.toContain(key)
  })

  it('when one key is used to place an order and to confirm it, then both happen', async () => {
    const product = await newProduct(system)
    const headers = { 'idempotency-key': newKey() }
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const placed = await system.orders.post('/orders', order, { headers })
    const confirmed = await system.orders.post(`/orders/${placed.body.id}/confirm`, undefined, { headers })
    expect(confirmed.body).toMatchObject({ id: placed.body.id, status: 'CONFIRMED' })
  })

  it('when the orchestrator gets no key, then the order is confirmed without a hold', async () => {
    const product = await newProduct(system, { stock: 10 })
    const customer = await newCustomer(system)
    const body = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }] }
    expect((await orchestrate(system, body)).status).toBe(201)
    expect(await ordersOf(system, customer.id)).toMatchObject([{ status: 'CONFIRMED' }])
    expect(await stockOf(system, product.id)).toBe(9)
  })

  it('when an order is confirmed without a key, then 400 comes before anything is done', async () => {
    const product = await newProduct(system)
    const order = await newOrder(system, [{ product_id: product.id, qty: 1 }])
    const response = await system.orders.post(`/orders/${order.id}/confirm`)
    expectProblem(response, 400, 'idempotency_key_required')
    expect(await orderOf(system, order.id)).toMatchObject({ status: 'CREATED', confirmed_at: null })
  })

  it.each([
    ['limit', ['abc', '0', '-1', '101', '1.5', '1e1', '%00', '']],
    ['cursor', ['%00', 'abc', '%F0%9F%A6%86', 'bnVsbA', 'W10', 'e30']],
  ])('when the %s of any list is nonsense, then 400', async (name, values) => {
    for (const value of values) {
      expectFaults(await system.orders.get(`/orders?${name}=${value}`), [name])
      expectFaults(await system.orders.get(`/products?${name}=${value}`), [name])
      expectFaults(await system.customers.get(`/customers?${name}=${value}`), [name])
    }
  })

  it.each([
    ['from', ['yesterday', '%00', '2026-13-01', '2026-02-30', '10', '']],
    ['to', ['tomorrow', '%00', '2026-01-01T25:00:00Z', '2026-01-01%2000:00:00']],
    ['status', ['PAID', 'created', '%00', '%20']],
    ['customer_id', ['abc', '0', '-1', '1.5', '9007199254740993', '%00', '']],
  ])('when the filter %s of orders is nonsense, then 400', async (name, values) => {
    for (const value of values) expectFaults(await system.orders.get(`/orders?${name}=${value}`), [name])
  })

  it('when an order is not valid, then the problem names every field and has no stack', async () => {
    const items = [
      { product_id: 'one', qty: 1 },
      { product_id: 1, qty: 0 },
    ]
    const response = await system.orders.post('/orders', { customer_id: -1, items, unit_price_cents: 1 })
    expectFaults(response, ['customer_id', 'items.0.product_id', 'items.1.qty', 'unit_price_cents'])
    expect(response.text).not.toMatch(/<|\.ts\b|node_modules|\bat /)
  })

  it('when a customer with orders is deleted, then 204, and its orders stay', async () => {
    const product = await newProduct(system)
    const customer = await newCustomer(system)
    const order = await newOrder(system, [{ product_id: product.id, qty: 1 }], { customer_id: customer.id })
    expect((await system.customers.delete(`/customers/${customer.id}`)).status).toBe(204)
    expectProblem(await system.customers.get(`/customers/${customer.id}`), 404, 'not_found')
    expect(await orderOf(system, order.id)).toMatchObject({ id: order.id, customer_id: customer.id })
  })

  it('when a list has a limit, then it has that many rows', async () => {
    await Promise.all([newCustomer(system), newProduct(system)])
    const product = await newProduct(system)
    await atOnce(3, () => newOrder(system, [{ product_id: product.id, qty: 1 }]))
    const lists = await Promise.all([
      system.orders.get('/orders?limit=2'),
      system.orders.get('/orders?limit=2&status=CREATED&customer_id=1&from=2026-01-01'),
      system.orders.get('/products?limit=2'),
      system.orders.get('/products?limit=2&search=product'),
      system.customers.get('/customers?limit=2'),
      system.customers.get('/customers?limit=1&search=customer'),
    ])
    expect(lists.map(({ status, body }) => [status, body.data.length])).toEqual([
      [200, 2],
      [200, 2],
      [200, 2],
      [200, 2],
      [200, 2],
      [200, 1],
    ])
  })

  it.each(['before', 'after'] as const)(
    'when the orchestrator is killed %s its order is placed, then a retry completes it',
    async (moment) => {
      const product = await newProduct(system, { stock: 10 })
      const customer = await newCustomer(system)
      // The orchestrator retries after a lost response: its second call shows that the order is placed.
      const proxy = await startFaultyProxy(system.orders.base, (_, earlier) =>
        moment === 'after' && earlier === 0 ? 'lose the answer' : 'hang',
      )
      const doomed = await startInstance('orchestrator', system, { ORDERS_API_BASE: proxy.base })
      const items = [{ product_id: product.id, qty: 4 }]
      const body = { customer_id: customer.id, items, idempotency_key: newKey() }
      const lost = doomed.api.post(CREATE_AND_CONFIRM, body, { token: null }).catch(() => 'no response')
      await vi.waitFor(() => expect(proxy.seen).toHaveLength(moment === 'before' ? 1 : 2))
      await doomed.kill()
      expect(await lost).toBe('no response')

      const { status, body: response } = await orchestrate(system, body)
      expect(status).toBe(201)
      expect(await ordersOf(system, customer.id)).toMatchObject([{ id: response.data.order.id, status: 'CONFIRMED' }])
      expect(await stockOf(system, product.id)).toBe(6)
    },
  )

  it('when a hold is never confirmed, then it expires and its stock returns once', async () => {
    const product = await newProduct(system, { stock: 10 })
    const order = await newOrder(system, [{ product_id: product.id, qty: 4 }])
    await system.sweeps.releaseExpiredHolds()
    expect(await orderOf(system, order.id)).toMatchObject({ status: 'CREATED' })
    await endHold(system, order.id)
    await atOnce(5, () => system.sweeps.releaseExpiredHolds())
    expect(await orderOf(system, order.id)).toMatchObject({ status: 'CANCELED', confirmed_at: null })
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when Orders is killed amid 60 orders, then retries of all make 60 orders', async () => {
    const product = await newProduct(system, { stock: 100 })
    const customer = await newCustomer(system)
    const doomed = await startInstance('orders', system)
    const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }] }
    const keys = Array.from({ length: 60 }, newKey)
    const place = (api: TestSystem['orders'], key: string) =>
      api.post('/orders', order, { headers: { 'idempotency-key': key } })
    const first = keys.map((key) => place(doomed.api, key))
    await Promise.any(first)
    await doomed.kill()
    const before = await Promise.allSettled(first)

    const responses = await Promise.all(keys.map((key) => place(system.orders, key)))
    expect(statusCounts(responses)).toEqual({ 201: 60 })
    for (const [i, earlier] of before.entries()) {
      if (earlier.status === 'fulfilled') expect(responses[i]?.text).toBe(earlier.value.text)
    }
    expect(bodies(responses).size).toBe(60)
    expect(await ordersOf(system, customer.id)).toHaveLength(60)
    expect(await stockOf(system, product.id)).toBe(40)
  })
})

describeEachEngine('pitfalls of a small pool', (engine) => {
  const system = useSystem(engine, { DB_POOL: '2' })

  it('when there are far more requests than connections, then none of them hangs', async () => {
    const product = await newProduct(system, { stock: 1000 })
    const orders = await atOnce(40, () => newOrder(system, [{ product_id: product.id, qty: 1 }]))
    const responses = await Promise.all([
      ...orders.map(({ id }) => confirm(system, id)),
      ...orders.map(({ id }) => system.orders.get(`/orders/${id}`)),
      atOnce(40, () => newOrder(system, [{ product_id: product.id, qty: 1 }])),
      atOnce(40, () => newProduct(system)),
      atOnce(40, () => newCustomer(system)),
    ])
    const changed = responses.filter((response) => 'status' in response)
    expect(statusCounts(changed)).toEqual({ 200: 80 })
    expect(await stockOf(system, product.id)).toBe(920)
  })

  it('when Customers is slow, then 40 waiting orders hold no connection and finish', async () => {
    const product = await newProduct(system)
    const customers = await atOnce(40, () => newCustomer(system))
    const gate = Promise.withResolvers<'none'>()
    const proxy = await startFaultyProxy(system.customers.base, () => gate.promise)
    const slow = await serveOrders(system, { customersBase: proxy.base, httpTimeoutMs: 20_000 })
    const items = [{ product_id: product.id, qty: 1 }]
    const waiting = Promise.all(customers.map(({ id }) => slow.api.post('/orders', { customer_id: id, items })))
    const askedFor = () => proxy.seen.flatMap(({ path, body }) => (body === '' ? [path] : JSON.parse(body).calls))
    await vi.waitFor(() => expect(askedFor()).toHaveLength(40), { timeout: 10_000 })

    await atOnce(10, () => newProduct(system))
    expect(await stockOf(system, product.id)).toBe(100)
    gate.resolve('none')
    expect(statusCounts(await waiting)).toEqual({ 201: 40 })
    expect(await stockOf(system, product.id)).toBe(60)
  })
})

describeEachEngine('pitfalls of two instances', (engine) => {
  const system = useSystem(engine)

  it('when 200 orders want 20 units at two instances, then 20 are placed, 180 refused', async () => {
    const secondInstance = await startInstance('orders', system)
    const product = await newProduct(system, { stock: 20 })
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const responses = await atOnce(200, (i) =>
      (i % 2 === 0 ? system.orders : secondInstance.api).post('/orders', order),
    )
    expect(statusCounts(responses)).toEqual({ 201: 20, 409: 180 })
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when 60 orders with opposite lines come to two instances, then all succeed', async () => {
    const secondInstance = await startInstance('orders', system)
    const pair: [{ id: number }, { id: number }] = [await newProduct(system), await newProduct(system)]
    const responses = await atOnce(60, (i) =>
      (i % 4 < 2 ? system.orders : secondInstance.api).post('/orders', {
        customer_id: 1,
        items: crossingLines(i, pair),
      }),
    )
    expect(statusCounts(responses)).toEqual({ 201: 60 })
    expect(await Promise.all(pair.map(({ id }) => stockOf(system, id)))).toEqual([40, 40])
  })

  it.each([2, 20])(
    'when one key comes %i times at once to two instances, then one order and one body',
    async (count) => {
      const secondInstance = await startInstance('orders', system)
      for (let round = 0; round < ROUNDS; round++) {
        const product = await newProduct(system, { stock: 10 })
        const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
        const headers = { 'idempotency-key': newKey() }
        const responses = await atOnce(count, (i) =>
          (i % 2 === 0 ? system.orders : secondInstance.api).post('/orders', order, { headers }),
        )
        expect(statusCounts(responses)).toEqual({ 201: count })
        expect(bodies(responses).size).toBe(1)
        expect(await stockOf(system, product.id)).toBe(9)
      }
    },
  )

  it('when one key comes 20 times at once for the last unit, then none is refused', async () => {
    const secondInstance = await startInstance('orders', system)
    for (let round = 0; round < ROUNDS; round++) {
      const product = await newProduct(system, { stock: 1 })
      const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
      const headers = { 'idempotency-key': newKey() }
      const responses = await atOnce(20, (i) =>
        (i % 2 === 0 ? system.orders : secondInstance.api).post('/orders', order, { headers }),
      )
      expect(statusCounts(responses)).toEqual({ 201: 20 })
      expect(bodies(responses).size).toBe(1)
    }
  })

  it('when cancel and confirm reach two instances, then the stock returns once', async () => {
    const secondInstance = await startInstance('orders', system)
    for (let round = 0; round < ROUNDS; round++) {
      const product = await newProduct(system, { stock: 10 })
      const order = await newOrder(system, [{ product_id: product.id, qty: 4 }])
      const cancel = () => secondInstance.api.post(`/orders/${order.id}/cancel`)
      const [canceled, confirmed] = await inEitherOrder(round, cancel, () => confirm(system, order.id))
      const { status, confirmed_at } = await orderOf(system, order.id)
      expect([canceled.status, status]).toEqual([200, 'CANCELED'])
      expect(confirmed.status).toBe(confirmed_at === null ? 409 : 200)
      expect(await stockOf(system, product.id)).toBe(10)
    }
  })

  it('when orders are placed and canceled in opposite order, then nothing deadlocks', async () => {
    const secondInstance = await startInstance('orders', system)
    const products = await atOnce(6, () => newProduct(system, { stock: 1_000 }))
    const lines = products.map(({ id }) => ({ product_id: id, qty: 1 }))
    const orders = await atOnce(30, (i) => newOrder(system, i % 2 === 0 ? lines : lines.toReversed()))
    const api = (i: number) => (i % 2 === 0 ? system.orders : secondInstance.api)
    const [canceled, placed] = await Promise.all([
      Promise.all(orders.map(({ id }, i) => api(i).post(`/orders/${id}/cancel`))),
      atOnce(30, (i) =>
        api(i + 1).post('/orders', { customer_id: 1, items: i % 2 === 0 ? lines.toReversed() : lines }),
      ),
    ])
    expect([statusCounts(canceled), statusCounts(placed)]).toEqual([{ 200: 30 }, { 201: 30 }])
    for (const { id } of products) expect(await stockOf(system, id)).toBe(970)
  })
})

/** Starts both at once; which one is first changes from round to round. */
async function inEitherOrder<A, B>(round: number, a: () => Promise<A>, b: () => Promise<B>): Promise<[A, B]> {
  if (round % 2 === 0) return Promise.all([a(), b()])
  const [second, first] = await Promise.all([b(), a()])
  return [first, second]
}

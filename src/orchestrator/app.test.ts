import { expect, it, vi } from 'vitest'
import type { ApiClient, ApiRequest, ApiResponse } from '../../testing/api-client.ts'
import { differencesIn } from '../../testing/books.ts'
import { at, type Fault, type FaultOf, type FaultyProxy, startFaultyProxy } from '../../testing/faulty-proxy.ts'
import { expectFailure } from '../../testing/problems.ts'
import {
  atOnce,
  newCustomer,
  newKey,
  newProduct,
  orderOf,
  ordersOf,
  statusCounts,
  stockOf,
} from '../../testing/rows.ts'
import { nowhere, serveOrchestrator } from '../../testing/services.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'

const PATH = '/orchestrator/create-and-confirm-order'
const NOBODY = 9_007_199_254_740_991
const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/

/** A call as anybody makes it, without a token. */
function call(api: ApiClient, body: unknown, request: ApiRequest = {}): Promise<ApiResponse> {
  return api.post(`/dev${PATH}`, body, { token: null, ...request })
}

/** A customer and a product of a test's own, and a request for 4 of its 10 pieces. */
async function fourOfTen(system: TestSystem) {
  const [customer, product] = await Promise.all([newCustomer(system), newProduct(system, { stock: 10 })])
  const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 4 }] }
  return { customer, product, order, request: { ...order, idempotency_key: newKey() } }
}

describeEachEngine('a fresh system', (engine) => {
  const system = useSystem(engine)

  it('when the first order is created and confirmed, then the answer is the one that the documents show', async () => {
    const body = {
      customer_id: 1,
      items: [{ product_id: 1, qty: 2 }],
      idempotency_key: 'abc-123',
      correlation_id: 'req-789',
    }
    const { status, headers, text } = await call(system.orchestrator, body)
    expect(status).toBe(201)
    expect(headers.get('content-type')).toBe('application/json')
    expect(headers.get('x-correlation-id')).toBe('req-789')
    expect(text).toBe(
      JSON.stringify({
        success: true,
        correlationId: 'req-789',
        data: {
          customer: { id: 1, name: 'ACME Corp', email: 'ops@acme.com', phone: '555-1234' },
          order: {
            id: 5,
            status: 'CONFIRMED',
            total_cents: 259_800,
            items: [{ product_id: 1, qty: 2, unit_price_cents: 129_900, subtotal_cents: 259_800 }],
          },
        },
      }),
    )
  })
})

describeEachEngine('create and confirm', (engine) => {
  const system = useSystem(engine)

  it('when an order is created and confirmed, then it is CONFIRMED in Orders too, and its stock is taken', async () => {
    const { customer, product, request } = await fourOfTen(system)
    const { status, body } = await call(system.orchestrator, request)
    expect(status).toBe(201)
    expect(body.data.customer).toEqual({
      id: customer.id,
      name: expect.any(String),
      email: customer.email,
      phone: null,
    })
    const order = await orderOf(system, body.data.order.id)
    expect(order).toMatchObject({ ...body.data.order, customer_id: customer.id, expires_at: null })
    expect(await stockOf(system, product.id)).toBe(6)
  })

  it('when it is called with and without the stage before its path, then it is the same route', async () => {
    const { request } = await fourOfTen(system)
    const staged = await system.orchestrator.post(`/dev${PATH}`, { ...request, correlation_id: 'same' })
    const plain = await system.orchestrator.post(PATH, { ...request, correlation_id: 'same' })
    expect([plain.status, plain.text]).toEqual([201, staged.text])
  })

  it('when the same request is sent again, then it gets the same bytes, marked as a replay, whatever became of the order', async () => {
    const { product, request } = await fourOfTen(system)
    const first = await call(system.orchestrator, { ...request, correlation_id: 'same' })
    await system.orders.post(`/orders/${first.body.data.order.id}/cancel`)
    const again = await call(system.orchestrator, { ...request, correlation_id: 'same' })
    expect([again.status, again.text]).toEqual([201, first.text])
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when the same request comes with another correlation id, then it is the same order, under the new id', async () => {
    const { request } = await fourOfTen(system)
    const first = await call(system.orchestrator, { ...request, correlation_id: 'first' })
    const again = await call(system.orchestrator, { ...request, correlation_id: 'second' })
    expect(again.body).toEqual({ ...first.body, correlationId: 'second' })
    expect(again.headers.get('idempotent-replayed')).toBe('true')
  })

  it('when the key comes in the body, in a header, or in both, then it is one key', async () => {
    const { order } = await fourOfTen(system)
    const key = newKey()
    const responses = [
      await call(system.orchestrator, { ...order, idempotency_key: key }),
      await call(system.orchestrator, order, { headers: { 'idempotency-key': key } }),
      await call(system.orchestrator, order, { headers: { 'x-idempotency-key': `"${key}"` } }),
      await call(system.orchestrator, { ...order, idempotency_key: key }, { headers: { 'idempotency-key': key } }),
    ]
    expect(responses.map(({ status }) => status)).toEqual([201, 201, 201, 201])
    expect(new Set(responses.map(({ body }) => body.data.order.id)).size).toBe(1)
    expect(responses.map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true', 'true', 'true'])
  })

  it('when there is no key, then each request is an order of its own', async () => {
    const { customer, product, order } = await fourOfTen(system)
    const responses = [await call(system.orchestrator, order), await call(system.orchestrator, order)]
    for (const { status, headers } of responses) {
      expect({ status, replayed: headers.get('idempotent-replayed') }).toEqual({ status: 201, replayed: null })
    }
    const orders = await ordersOf(system, customer.id)
    expect(orders.map(({ status }) => status)).toEqual(['CONFIRMED', 'CONFIRMED'])
    expect(await stockOf(system, product.id)).toBe(2)
  })

  it('when the body and the header name different keys, or a bad one, then 400 and nothing is done', async () => {
    const { product, order } = await fourOfTen(system)
    const different = { headers: { 'idempotency-key': 'other' } }
    const two = await call(system.orchestrator, { ...order, idempotency_key: newKey() }, different)
    expectFailure(two, 400, 'invalid_idempotency_key')
    for (const idempotency_key of ['', 'a b', 'ñ', 'k'.repeat(256)]) {
      expectFailure(await call(system.orchestrator, { ...order, idempotency_key }), 400, 'invalid_idempotency_key')
    }
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when the same key comes with another order, then 422 idempotency_key_reused, and nothing is taken', async () => {
    const { product, request } = await fourOfTen(system)
    await call(system.orchestrator, request)
    const other = { ...request, items: [{ product_id: product.id, qty: 1 }] }
    expectFailure(await call(system.orchestrator, other), 422, 'idempotency_key_reused')
    expectFailure(await call(system.orchestrator, { ...request, customer_id: 2 }), 422, 'idempotency_key_reused')
    expect(await stockOf(system, product.id)).toBe(6)
  })

  it('when another principal uses the same key, then it is another order', async () => {
    const { customer, request } = await fourOfTen(system)
    const first = await call(system.orchestrator, request)
    const second = await call(system.orchestrator, request, { token: await system.token({ clientId: 'another' }) })
    expect(second.status).toBe(201)
    expect(second.headers.get('idempotent-replayed')).toBeNull()
    expect(second.body.data.order.id).not.toBe(first.body.data.order.id)
    expect(await ordersOf(system, customer.id)).toHaveLength(2)
  })

  it.each([{ correlation_id: 'same' }, {}])(
    'when the same request comes 100 times while its customer is renamed and deleted, then it is one order and one body (%j)',
    async (fields) => {
      const { customer, product, request } = await fourOfTen(system)
      const send = () => call(system.orchestrator, { ...request, ...fields })
      const [first] = await atOnce(1, send)
      const path = `/customers/${customer.id}`
      const renaming = system.customers.put(path, { name: 'Renamed', email: `new-${customer.email}` })
      const [, ...responses] = await Promise.all([renaming, ...Array.from({ length: 50 }, send)])
      await system.customers.delete(path)
      responses.push(...(await atOnce(49, send)))
      expect(new Set(responses.map(({ status, text }) => `${status} ${text}`))).toEqual(new Set([`201 ${first?.text}`]))
      expect(await ordersOf(system, customer.id)).toMatchObject([{ status: 'CONFIRMED' }])
      expect(await stockOf(system, product.id)).toBe(6)
    },
  )

  it('when the customer was deleted, then a new request is refused, and so is another one with an old key', async () => {
    const { customer, product, request } = await fourOfTen(system)
    await call(system.orchestrator, request)
    await system.customers.delete(`/customers/${customer.id}`)
    const fresh = await call(system.orchestrator, { ...request, idempotency_key: newKey() })
    expectFailure(fresh, 422, 'customer_not_found')
    const other = { ...request, items: [{ product_id: product.id, qty: 1 }] }
    expectFailure(await call(system.orchestrator, other), 422, 'idempotency_key_reused')
  })
})

describeEachEngine('the correlation id', (engine) => {
  const system = useSystem(engine)

  it.each([
    ['the body and the header name one', { correlation_id: 'body' }, { 'x-correlation-id': 'header' }, /^body$/],
    ['the header names one', {}, { 'x-correlation-id': 'he.ad:er_1-2' }, /^he\.ad:er_1-2$/],
    ['nobody names one', {}, {}, UUID],
    ['the header names a bad one', {}, { 'x-correlation-id': 'a b' }, UUID],
    ['the header names a long one', {}, { 'x-correlation-id': 'x'.repeat(129) }, UUID],
  ])('when %s, then it is in the answer’s body and header', async (_, fields, headers, expected) => {
    const { request } = await fourOfTen(system)
    const response = await call(system.orchestrator, { ...request, ...fields }, { headers })
    expect(response.status).toBe(201)
    expect(response.body.correlationId).toMatch(expected)
    expect(response.headers.get('x-correlation-id')).toBe(response.body.correlationId)
  })

  it('when nobody names one, then the same key has the same, and another principal or key another', async () => {
    const { request } = await fourOfTen(system)
    const token = await system.token({ clientId: 'another' })
    const responses = [
      await call(system.orchestrator, request),
      await call(system.orchestrator, request),
      await call(system.orchestrator, request, { token }),
      await call(system.orchestrator, { ...request, idempotency_key: newKey(), items: request.items.slice(0, 0) }),
    ]
    const [first, again, ...others] = responses.map(({ body }) => body.correlationId)
    expect(again).toBe(first)
    expect(new Set([first, ...others]).size).toBe(3)
    expect(first).not.toContain(request.idempotency_key)
  })

  it('when a request is refused by a step, then its correlation id is in the refusal', async () => {
    const { request } = await fourOfTen(system)
    const response = await call(system.orchestrator, { ...request, customer_id: NOBODY, correlation_id: 'refused-1' })
    expectFailure(response, 422, 'customer_not_found')
    expect(response.body.correlationId).toBe('refused-1')
  })

  it('when a flow is done, then every line that was logged of it, in every service, carries its id', async () => {
    const { request } = await fourOfTen(system)
    const before = system.log.length
    await call(system.orchestrator, { ...request, correlation_id: 'flow-1' })
    const lines = system.log.slice(before).map((line) => JSON.parse(line))
    expect(lines.map(({ route }) => route).sort()).toEqual([
      '/internal/customers/:id',
      '/internal/orders/placements',
      '/internal/orders/placements',
      '/orchestrator/create-and-confirm-order',
    ])
    expect(new Set(lines.map(({ correlation_id }) => correlation_id))).toEqual(new Set(['flow-1']))
  })

  it('when a traceparent comes, then every neighbour that is called gets it, and the correlation id', async () => {
    const customers = await startFaultyProxy(system.customers.base, () => 'none')
    const orders = await startFaultyProxy(system.orders.base, () => 'none')
    const bases = { customersBase: customers.base, ordersBase: orders.base }
    const { api } = await serveOrchestrator(system, bases)
    const { request } = await fourOfTen(system)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const headers = { traceparent, 'x-correlation-id': 'traced-1' }
    expect((await call(api, request, { headers })).status).toBe(201)
    expect(customers.seen.map(({ path }) => path)).toEqual([`/internal/customers/${request.customer_id}`])
    expect(orders.seen.map(({ path }) => path)).toEqual(['/internal/orders/placements'])
    const authorization = `Bearer ${system.env.serviceTokens[0]}`
    for (const seen of [...customers.seen, ...orders.seen]) {
      expect(seen.headers).toMatchObject({ ...headers, authorization })
    }
  })
})

describeEachEngine('what the orchestrator refuses', (engine) => {
  const system = useSystem(engine)

  it('when the customer does not exist, then 422 and nothing is taken', async () => {
    const { product, request } = await fourOfTen(system)
    const response = await call(system.orchestrator, { ...request, customer_id: NOBODY })
    expectFailure(response, 422, 'customer_not_found')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when a product does not exist, then 422 lists it', async () => {
    const { request } = await fourOfTen(system)
    const items = [{ product_id: NOBODY, qty: 1 }, ...request.items]
    const response = await call(system.orchestrator, { ...request, items })
    expectFailure(response, 422, 'product_not_found')
    expect(response.body.error.product_ids).toEqual([NOBODY])
    expect(response.body.product_ids).toEqual([NOBODY])
  })

  it('when there is too little stock, then 409 says of what, and the same key succeeds after a restock', async () => {
    const { product, request } = await fourOfTen(system)
    const wanted = { ...request, items: [{ product_id: product.id, qty: 11 }] }
    const response = await call(system.orchestrator, wanted)
    expectFailure(response, 409, 'insufficient_stock')
    expect(response.body.error.lines).toEqual([{ product_id: product.id, requested: 11, available: 10 }])
    await system.orders.post(`/products/${product.id}/stock-adjustments`, { delta: 1, reason: 'restock' })
    expect((await call(system.orchestrator, wanted)).status).toBe(201)
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when the total would pass 2^53-1 cents, then 422 amount_too_large', async () => {
    const { request } = await fourOfTen(system)
    const product = await newProduct(system, { price_cents: 100_000_000_000, stock: 1_000_000 })
    const items = [{ product_id: product.id, qty: 1_000_000 }]
    expectFailure(await call(system.orchestrator, { ...request, items }), 422, 'amount_too_large')
  })

  it.each<[string, Record<string, unknown>, string[]]>([
    ['no lines', { items: [] }, ['items']],
    ['201 lines', { items: Array(201).fill({ product_id: 1, qty: 1 }) }, ['items']],
    ['qty 0', { items: [{ product_id: 1, qty: 0 }] }, ['items.0.qty']],
    ['a price', { items: [{ product_id: 1, qty: 1, unit_price_cents: 1 }] }, ['items.0.unit_price_cents']],
    ['a hold', { hold_minutes: 60 }, ['hold_minutes']],
    ['no customer', { customer_id: undefined }, ['customer_id']],
    ['a key that is no text', { idempotency_key: 5 }, ['idempotency_key']],
    ['a bad correlation id', { correlation_id: 'a b' }, ['correlation_id']],
  ])('when a request has %s, then 400 names the fault', async (_, change, paths) => {
    const request = { customer_id: 1, items: [{ product_id: 1, qty: 1 }], idempotency_key: newKey(), ...change }
    const response = await call(system.orchestrator, request)
    expectFailure(response, 400, 'validation_failed')
    for (const errors of [response.body.errors, response.body.error.errors]) {
      expect(errors.map(({ path }: { path: string }) => path)).toEqual(paths)
    }
  })

  it('when the body, the type, the size, the path or the method is wrong, then that is said in the same shape', async () => {
    const { orchestrator } = system
    expectFailure(await call(orchestrator, '{'), 400, 'malformed_json')
    const headers = { 'content-type': 'text/plain' }
    expectFailure(await call(orchestrator, '{}', { headers }), 415, 'unsupported_media_type')
    expectFailure(await call(orchestrator, ' '.repeat(64 * 1024 + 1)), 413, 'payload_too_large')
    expectFailure(await orchestrator.get('/orchestrator'), 404, 'route_not_found')
    const response = await orchestrator.get(`/dev${PATH}`)
    expectFailure(response, 405, 'method_not_allowed')
    expect(response.headers.get('allow')).toBe('POST')
  })
})

describeEachEngine('who may call the orchestrator', (engine) => {
  const system = useSystem(engine, { ORCHESTRATOR_PUBLIC: 'false' })

  it('when it is not open and no token comes, or a bad one, then 401 before anything is done', async () => {
    const { product, request } = await fourOfTen(system)
    const none = await call(system.orchestrator, request)
    expectFailure(none, 401, 'unauthorized')
    expect(none.headers.get('www-authenticate')).toMatch(/^Bearer/)
    expectFailure(await call(system.orchestrator, request, { token: 'a.b.c' }), 401, 'invalid_token')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when it is open and a bad token comes, then 401 all the same', async () => {
    const { api } = await serveOrchestrator(system, { orchestrator: { ...system.env.orchestrator, public: true } })
    const { request } = await fourOfTen(system)
    expectFailure(await call(api, request, { token: 'a.b.c' }), 401, 'invalid_token')
    expect((await call(api, request)).status).toBe(201)
  })

  it('when the token lacks orders:write, then 403', async () => {
    const { request } = await fourOfTen(system)
    const token = await system.token({ scopes: ['orders:read', 'customers:read'] })
    expectFailure(await call(system.orchestrator, request, { token }), 403, 'insufficient_scope')
  })

  it('when the token has orders:write alone, then that is enough', async () => {
    const { request } = await fourOfTen(system)
    const token = await system.token({ scopes: ['orders:write'] })
    expect((await call(system.orchestrator, request, { token })).status).toBe(201)
  })

  it('when a bound client orders for its customer, then 201, and for another, 404 as if there were none', async () => {
    const [own, other] = [await fourOfTen(system), await fourOfTen(system)]
    const token = await system.token({ scopes: ['orders:write'], customerId: own.customer.id, clientId: 'bound' })
    expect((await call(system.orchestrator, own.request, { token })).status).toBe(201)
    const foreign = await call(system.orchestrator, other.request, { token })
    expectFailure(foreign, 404, 'not_found')
    const missing = await call(system.orchestrator, { ...other.request, customer_id: NOBODY }, { token })
    expectFailure(missing, 404, 'not_found')
    expect(foreign.body.detail.replace(/\d+/, '')).toBe(missing.body.detail.replace(/\d+/, ''))
    expect(await stockOf(system, other.product.id)).toBe(10)
  })
})

describeEachEngine('the orchestrator amid faults', (engine) => {
  const system = useSystem(engine)

  /** An orchestrator that reaches Orders through a proxy that breaks what it is told to. */
  async function throughFaultyOrders(faultOf: FaultOf, { deadlineMs = 10_000, httpTimeoutMs = 5_000 } = {}) {
    const proxy = await startFaultyProxy(system.orders.base, faultOf)
    const orchestrator = { ...system.env.orchestrator, deadlineMs }
    const { api, log } = await serveOrchestrator(system, { ordersBase: proxy.base, httpTimeoutMs, orchestrator })
    return { api, log, proxy }
  }

  async function expectOneLiveOrder({ customer, product }: Awaited<ReturnType<typeof fourOfTen>>): Promise<void> {
    const live = (await ordersOf(system, customer.id)).filter(({ status }) => status !== 'CANCELED')
    expect(live).toMatchObject([{ status: 'CONFIRMED' }])
    expect(await stockOf(system, product.id)).toBe(6)
  }

  const PLACEMENTS = '/internal/orders/placements'

  /** The keys of all calls that came. */
  function keysOf(proxy: FaultyProxy): Set<string> {
    return new Set(proxy.seenAt(PLACEMENTS).flatMap(({ body }) => JSON.parse(body).calls.map(keyOf)))
  }

  function keyOf({ key }: { key: string }): string {
    return key
  }

  const internal = (status: number): Fault => ({ status, body: '{"code":"internal_error","detail":"10.0.0.7"}' })

  it('when Orders cannot be reached, then 503', async () => {
    const { api } = await serveOrchestrator(system, { ordersBase: await nowhere() })
    const { request } = await fourOfTen(system)
    expectFailure(await call(api, request), 503, 'unavailable')
  })

  it('when Customers cannot be reached, then 503, nothing is taken, and the log names it and no database', async () => {
    const customersBase = await nowhere()
    const { api, log } = await serveOrchestrator(system, { customersBase })
    const { product, request } = await fourOfTen(system)
    expectFailure(await call(api, request), 503, 'unavailable')
    expect(await stockOf(system, product.id)).toBe(10)
    const failed = log.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'failed')
    expect(failed).toHaveLength(1)
    expect(failed[0].err.message).toContain(`${customersBase} cannot be reached`)
    expect(failed[0]).not.toHaveProperty('why')
  })

  it('when Customers is away, then an order that was placed is answered again, with the same bytes', async () => {
    const { request } = await fourOfTen(system)
    const first = await call(system.orchestrator, request)
    const hanging = await startFaultyProxy(system.customers.base, () => 'hang')
    for (const customersBase of [await nowhere(), hanging.base]) {
      const { api } = await serveOrchestrator(system, { customersBase, httpTimeoutMs: 300 })
      const again = await call(api, request)
      expect([again.status, again.text]).toEqual([201, first.text])
    }
  })

  it('when Customers answers 500, then 502 that does not say why, and the log does', async () => {
    const proxy = await startFaultyProxy(system.customers.base, () => internal(500))
    const { api, log } = await serveOrchestrator(system, { customersBase: proxy.base })
    const { product, request } = await fourOfTen(system)
    const response = await call(api, request)
    expectFailure(response, 502, 'upstream_failed')
    expect(response.text).not.toMatch(/10\.0\.0\.7|127\.0\.0\.1|500/)
    const failed = log.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'failed')
    expect(failed).toMatchObject([{ correlation_id: response.body.correlationId, code: 'upstream_failed' }])
    expect(JSON.stringify(failed)).toContain('500')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when Customers does not answer, then 504', async () => {
    const proxy = await startFaultyProxy(system.customers.base, () => 'hang')
    const orchestrator = { ...system.env.orchestrator, deadlineMs: 200 }
    const { api } = await serveOrchestrator(system, { customersBase: proxy.base, orchestrator, httpTimeoutMs: 29_000 })
    const { request } = await fourOfTen(system)
    expectFailure(await call(api, request), 504, 'deadline_exceeded')
  })

  it('when Orders does not answer at all, then 504 once the deadline has passed', async () => {
    const { api } = await throughFaultyOrders(() => 'hang', { deadlineMs: 300, httpTimeoutMs: 29_000 })
    const { request } = await fourOfTen(system)
    expectFailure(await call(api, request), 504, 'deadline_exceeded')
  })

  it('when Orders does not answer the first call in time, then it is asked again with the same key', async () => {
    const slowOnce: FaultOf = (_, earlier) => (earlier === 0 ? 'hang' : 'none')
    const { api, proxy } = await throughFaultyOrders(slowOnce, { httpTimeoutMs: 300 })
    const own = await fourOfTen(system)
    expect((await call(api, own.request)).status).toBe(201)
    expect([proxy.seen.length, keysOf(proxy).size]).toEqual([2, 1])
    await expectOneLiveOrder(own)
  })

  it('when a request without a key loses answers of Orders, then its retries are one order', async () => {
    const loseFirst: FaultOf = (_, earlier) => (earlier === 0 ? 'lose the answer' : 'none')
    const { api, proxy } = await throughFaultyOrders(loseFirst)
    const own = await fourOfTen(system)
    expect((await call(api, own.order)).status).toBe(201)
    expect([proxy.seen.length, keysOf(proxy).size]).toEqual([2, 1])
    await expectOneLiveOrder(own)
  })

  it('when Orders answers 503 twice and then works, then 201, one order, and the same key on each try', async () => {
    const { api, proxy } = await throughFaultyOrders((_, earlier) => (earlier < 2 ? internal(503) : 'none'))
    const own = await fourOfTen(system)
    expect((await call(api, own.request)).status).toBe(201)
    expect([proxy.seen.length, keysOf(proxy).size]).toEqual([3, 1])
    await expectOneLiveOrder(own)
  })

  it.each([429, 502, 503, 504])('when Orders answers %s and then works, then 201 and one order', async (status) => {
    const { api, proxy } = await throughFaultyOrders((_, earlier) => (earlier === 0 ? internal(status) : 'none'))
    const own = await fourOfTen(system)
    expect((await call(api, own.request)).status).toBe(201)
    expect(keysOf(proxy).size).toBe(1)
    await expectOneLiveOrder(own)
  })

  it.each(['refuse', 'lose the answer'] as const)(
    'when the connection to Orders breaks once (%s), then it is tried again: 201 and one order',
    async (fault) => {
      const { api, proxy } = await throughFaultyOrders((_, earlier) => (earlier === 0 ? fault : 'none'))
      const own = await fourOfTen(system)
      const response = await call(api, own.request)
      expect(response.status).toBe(201)
      expect(proxy.seen).toHaveLength(2)
      await expectOneLiveOrder(own)
      expect(response.body.data.order).toMatchObject({ status: 'CONFIRMED', total_cents: 4000 })
    },
  )

  it('when the order is placed but every answer is lost, then 503, and the same request later finds that order', async () => {
    const { api } = await throughFaultyOrders(() => 'lose the answer')
    const own = await fourOfTen(system)
    expectFailure(await call(api, own.request), 503, 'unavailable')
    const [placed] = await ordersOf(system, own.customer.id)
    expect(placed?.status).toBe('CONFIRMED')
    const response = await call(system.orchestrator, own.request)
    expect(response.body.data.order.id).toBe(placed?.id)
    expect(response.headers.get('idempotent-replayed')).toBe('true')
    await expectOneLiveOrder(own)
  })

  it('when Orders fails for good, then 502 and nothing is left, and the same request makes one order once it works', async () => {
    let broken = true
    const { api } = await throughFaultyOrders(() => (broken ? internal(500) : 'none'))
    const own = await fourOfTen(system)
    for (let i = 0; i < 3; i++) expectFailure(await call(api, own.request), 502, 'upstream_failed')
    expect(await ordersOf(system, own.customer.id)).toEqual([])
    expect(await stockOf(system, own.product.id)).toBe(10)
    broken = false
    const response = await call(api, own.request)
    expect([response.status, response.headers.get('idempotent-replayed')]).toEqual([201, null])
    const again = await call(api, own.request)
    expect(again.text).toBe(response.text)
    await expectOneLiveOrder(own)
  })

  it.each<[string, Fault]>([
    ['a page', { status: 200, body: '<h1>Sorry</h1>' }],
    ['no results', { status: 200, body: '{"results":[]}' }],
    ['an order instead of its text', { status: 200, body: '{"results":[{"status":201,"replayed":false,"body":{}}]}' }],
  ])('when Orders answers with %s, then 502', async (_, fault) => {
    const { api } = await throughFaultyOrders(() => fault)
    const { request } = await fourOfTen(system)
    expectFailure(await call(api, request), 502, 'upstream_failed')
  })

  it('when many callers with one key meet an Orders that fails now and then, then there is one order at the end', async () => {
    const { api } = await throughFaultyOrders((_, earlier) => (earlier % 3 === 0 ? internal(500) : 'none'))
    const own = await fourOfTen(system)
    const responses = await Promise.all(Array.from({ length: 6 }, () => call(api, own.request)))
    for (const { status } of responses) expect([201, 502]).toContain(status)
    expect((await call(system.orchestrator, own.request)).status).toBe(201)
    await expectOneLiveOrder(own)
  })

  it('when Orders is at its limit, then 503 says when to try again, and no more than that', async () => {
    const refusal = { code: 'overloaded', detail: 'the queue of 10.0.0.7 is full', retry_after: 7, queue: 5000 }
    const { api } = await throughFaultyOrders(() => ({ status: 503, body: JSON.stringify(refusal) }))
    const { request } = await fourOfTen(system)
    const response = await call(api, request)
    expectFailure(response, 503, 'overloaded')
    expect(response.headers.get('retry-after')).toBe('7')
    expect(response.text).not.toMatch(/10\.0\.0\.7|5000/)
  })

  it('when Orders refuses, then that is not tried again', async () => {
    const { api, proxy } = await throughFaultyOrders(() => 'none')
    const { product, request } = await fourOfTen(system)
    const items = [{ product_id: product.id, qty: 11 }]
    expectFailure(await call(api, { ...request, items }), 409, 'insufficient_stock')
    expect(proxy.seen).toHaveLength(1)
  })
})

describeEachEngine('many callers of the orchestrator at once', (engine) => {
  const system = useSystem(engine)
  const CALLERS = 40

  /**
   * Callers who each have a customer and a key of their own, and want one piece of one product. They all come to an
   * orchestrator that reaches the others through faults, and go on to them at one moment.
   */
  async function manyCallers(faultOf: FaultOf, { stock = 100, timeoutMs = 5_000 } = {}) {
    const gate = Promise.withResolvers<'none'>()
    const customers = await startFaultyProxy(system.customers.base, () => gate.promise)
    const orders = await startFaultyProxy(system.orders.base, faultOf)
    const { api } = await serveOrchestrator(system, {
      customersBase: customers.base,
      ordersBase: orders.base,
      httpTimeoutMs: timeoutMs,
    })
    const product = await newProduct(system, { stock })
    const requests = (await atOnce(CALLERS, () => newCustomer(system))).map(({ id }) => ({
      customer_id: id,
      items: [{ product_id: product.id, qty: 1 }],
      idempotency_key: newKey(),
    }))
    const calling = Promise.all(requests.map((request) => call(api, request)))
    const askedFor = () => customers.seen.flatMap(({ path, body }) => (body === '' ? [path] : JSON.parse(body).calls))
    await vi.waitFor(() => expect(askedFor()).toHaveLength(CALLERS), { timeout: 4_000 })
    gate.resolve('none')
    return { responses: await calling, requests, product, orders }
  }

  /** The first request to a path is met by this fault, and no other. */
  function firstAt(ending: string, fault: Fault): FaultOf {
    return ({ path }, earlier) => (path.endsWith(ending) && earlier === 0 ? fault : 'none')
  }

  function expectDoneOrDocumented(response: ApiResponse): void {
    const codes: Record<number, string> = { 502: 'upstream_failed', 503: 'unavailable', 504: 'deadline_exceeded' }
    if (response.status === 201) expect(response.body.data.order.status).toBe('CONFIRMED')
    else expectFailure(response, response.status, codes[response.status] ?? 'none of these')
  }

  /** Sends all requests again, by a way without faults, and expects one order each, exact stock, and balanced books. */
  async function expectEachDoneOnce({ responses, requests, product }: Awaited<ReturnType<typeof manyCallers>>) {
    const again = await Promise.all(requests.map((request) => call(system.orchestrator, request)))
    expect(statusCounts(again)).toEqual({ 201: CALLERS })
    for (const [i, first] of responses.entries()) {
      if (first.status === 201) expect(again[i]?.body.data).toEqual(first.body.data)
    }
    const live = await Promise.all(
      requests.map(async ({ customer_id }) =>
        (await ordersOf(system, customer_id)).filter(({ status }) => status !== 'CANCELED'),
      ),
    )
    expect(live).toMatchObject(again.map(({ body }) => [{ id: body.data.order.id, status: 'CONFIRMED' }]))
    expect(await stockOf(system, product.id)).toBe(100 - CALLERS)
    expect(await differencesIn(system)).toEqual([])
  }

  const failing = (status: number): Fault => ({ status, body: '{"code":"internal_error","detail":"10.0.0.7"}' })

  it('when nothing is at fault, then their calls travel together, and each has its order', async () => {
    const called = await manyCallers(() => 'none')
    expect(statusCounts(called.responses)).toEqual({ 201: CALLERS })
    expect(called.orders.seenAt('/placements')).not.toEqual([])
    expect(called.orders.seen.length).toBeLessThan(2 * CALLERS)
    await expectEachDoneOnce(called)
  })

  it.each<[string, Fault]>([
    ['loses its answer', 'lose the answer'],
    ['ends before it arrives', 'refuse'],
    ['is answered 503', failing(503)],
  ])(
    'when the first shared request to Orders %s, then each caller gets its one order all the same',
    async (_, fault) => {
      const called = await manyCallers(firstAt('/placements', fault))
      expect(called.orders.seenAt('/placements')).not.toEqual([])
      expect(statusCounts(called.responses)).toEqual({ 201: CALLERS })
      await expectEachDoneOnce(called)
    },
  )

  it('when the first shared request to Orders is never answered, then each caller gets its one order all the same', async () => {
    const called = await manyCallers(firstAt('/placements', 'hang'), { timeoutMs: 1_500 })
    expect(called.orders.seenAt('/placements')).not.toEqual([])
    for (const response of called.responses) expectDoneOrDocumented(response)
    await expectEachDoneOnce(called)
  })

  it('when the first shared request to Orders is answered 500, then those in it get 502, and the others their orders', async () => {
    const called = await manyCallers(firstAt('/placements', failing(500)))
    const [first] = called.orders.seenAt('/placements')
    const inIt = JSON.parse(first?.body ?? '{"calls":[]}').calls.length
    expect(inIt).toBeGreaterThan(1)
    for (const response of called.responses) expectDoneOrDocumented(response)
    expect(statusCounts(called.responses)).toEqual({ 502: inIt, ...(inIt < CALLERS && { 201: CALLERS - inIt }) })
    await expectEachDoneOnce(called)
  })

  it('when Orders does not take several calls in one request, then each goes alone', async () => {
    const tooMany: FaultOf = ({ body }) =>
      JSON.parse(body).calls.length > 1 ? { status: 413, body: '{"code":"payload_too_large","detail":"No."}' } : 'none'
    const called = await manyCallers(tooMany)
    expect(statusCounts(called.responses)).toEqual({ 201: CALLERS })
    await expectEachDoneOnce(called)
  })

  it('when Orders does not know the route, as the version before does not, then each caller gets 502, and nothing is done', async () => {
    const unknown: Fault = { status: 404, body: '{"code":"route_not_found","detail":"Nothing."}' }
    const called = await manyCallers(at('/placements', unknown))
    expect(statusCounts(called.responses)).toEqual({ 502: CALLERS })
    await expectEachDoneOnce(called)
  })

  it('when shared requests keep failing in every way, then each caller is told so or gets its order, and a retry completes', async () => {
    const cycle: Fault[] = ['lose the answer', failing(503), failing(500), 'refuse', 'none']
    const called = await manyCallers(({ path }, earlier) =>
      path.endsWith('/placements') ? (cycle[earlier % cycle.length] ?? 'none') : 'none',
    )
    for (const response of called.responses) expectDoneOrDocumented(response)
    await expectEachDoneOnce(called)
  })

  it('when every shared request loses its answer, then each caller is told so or gets its order, and a retry completes', async () => {
    const called = await manyCallers(at('/placements', 'lose the answer'))
    for (const response of called.responses) expectDoneOrDocumented(response)
    await expectEachDoneOnce(called)
  })

  it('when they want more than there is and the first shared answer is lost, then exactly what there is is sold', async () => {
    const stock = 15
    const { responses, requests, product } = await manyCallers(firstAt('/placements', 'lose the answer'), { stock })
    expect(statusCounts(responses)).toEqual({ 201: stock, 409: CALLERS - stock })
    const again = await Promise.all(requests.map((request) => call(system.orchestrator, request)))
    expect(again.map(({ status }) => status)).toEqual(responses.map(({ status }) => status))
    expect(await stockOf(system, product.id)).toBe(0)
    expect(await differencesIn(system)).toEqual([])
  })
})

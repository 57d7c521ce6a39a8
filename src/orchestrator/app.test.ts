import { expect, it, vi } from 'vitest'
import type { ApiClient, ApiRequest, ApiResponse } from '../../testing/api-client.ts'
import { at, type Fault, type FaultOf, type FaultyProxy, startFaultyProxy } from '../../testing/faulty-proxy.ts'
import { differencesIn } from '../../testing/fixture.ts'
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

/** A call without a token, as ORCHESTRATOR_PUBLIC allows. */
function call(api: ApiClient, body: unknown, request: ApiRequest = {}): Promise<ApiResponse> {
  return api.post(`/dev${PATH}`, body, { token: null, ...request })
}

/** The text of a response without its ids, which are random. */
function withoutIds({ text, body }: ApiResponse): string {
  return text.replaceAll(body.correlationId, '')
}

/** A new customer, a new product with a stock of 10, and a request for 4 of it. */
async function fourOfTen(system: TestSystem) {
  const [customer, product] = await Promise.all([newCustomer(system), newProduct(system, { stock: 10 })])
  const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 4 }] }
  return { customer, product, order, request: { ...order, idempotency_key: newKey() } }
}

describeEachEngine('a fresh system', (engine) => {
  const system = useSystem(engine)

  it('when the first order is created and confirmed, then it is as documented', async () => {
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

  it('when it is called, then Orders has the order CONFIRMED and its stock is taken', async () => {
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

  it('when the path has a stage before it or not, then it is the same route', async () => {
    const { request } = await fourOfTen(system)
    const staged = await system.orchestrator.post(`/dev${PATH}`, { ...request, correlation_id: 'same' })
    const plain = await system.orchestrator.post(PATH, { ...request, correlation_id: 'same' })
    expect([plain.status, plain.text]).toEqual([201, staged.text])
  })

  it('when a request is retried after a cancel, then the replay has the same bytes', async () => {
    const { product, request } = await fourOfTen(system)
    const first = await call(system.orchestrator, { ...request, correlation_id: 'same' })
    await system.orders.post(`/orders/${first.body.data.order.id}/cancel`)
    const again = await call(system.orchestrator, { ...request, correlation_id: 'same' })
    expect([again.status, again.text]).toEqual([201, first.text])
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when a retry has another correlation id, then only that id changes', async () => {
    const { request } = await fourOfTen(system)
    const first = await call(system.orchestrator, { ...request, correlation_id: 'first' })
    const again = await call(system.orchestrator, { ...request, correlation_id: 'second' })
    expect(again.body).toEqual({ ...first.body, correlationId: 'second' })
    expect(again.headers.get('idempotent-replayed')).toBe('true')
  })

  it('when the key comes in the body, a header, or both, then it is one key', async () => {
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

  it('when there is no key, then each request is a new order', async () => {
    const { customer, product, order } = await fourOfTen(system)
    const responses = [await call(system.orchestrator, order), await call(system.orchestrator, order)]
    for (const { status, headers } of responses) {
      expect({ status, replayed: headers.get('idempotent-replayed') }).toEqual({ status: 201, replayed: null })
    }
    const orders = await ordersOf(system, customer.id)
    expect(orders.map(({ status }) => status)).toEqual(['CONFIRMED', 'CONFIRMED'])
    expect(await stockOf(system, product.id)).toBe(2)
  })

  it('when the body and the header name different keys, or a bad one, then 400', async () => {
    const { product, order } = await fourOfTen(system)
    const different = { headers: { 'idempotency-key': 'other' } }
    const two = await call(system.orchestrator, { ...order, idempotency_key: newKey() }, different)
    expectFailure(two, 400, 'invalid_idempotency_key')
    for (const idempotency_key of ['', 'a b', 'ñ', 'k'.repeat(256)]) {
      expectFailure(await call(system.orchestrator, { ...order, idempotency_key }), 400, 'invalid_idempotency_key')
    }
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when the same key comes with another order, then 422 idempotency_key_reused', async () => {
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
    'when 100 retries come amid a rename and a delete, then one order and one body (%j)',
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

  it('when the customer was deleted, then new requests and reused keys are refused', async () => {
    const { customer, product, request } = await fourOfTen(system)
    await call(system.orchestrator, request)
    await system.customers.delete(`/customers/${customer.id}`)
    const fresh = await call(system.orchestrator, { ...request, idempotency_key: newKey() })
    expectFailure(fresh, 422, 'customer_not_found')
    const other = { ...request, items: [{ product_id: product.id, qty: 1 }] }
    expectFailure(await call(system.orchestrator, other), 422, 'idempotency_key_reused')
  })
})

describeEachEngine('the details of an orchestrated order', (engine) => {
  const system = useSystem(engine)

  const DETAILS = {
    po_number: 'PO-4711',
    ship_to: { name: 'ACME', line1: 'Dock Road 12', city: 'Hamburg', postal_code: '20457', country: 'DE' },
    requested_delivery_date: '2099-11-30',
    notes: 'Ring at gate 3.',
    metadata: JSON.parse('{"__proto__":"x","a":"1"}'),
    currency: 'USD',
  }

  it('when a request has details, then the order has them, and the answer adds the PO number', async () => {
    const { product, request } = await fourOfTen(system)
    const token = await system.token({ clientId: 'shop' })
    const response = await call(system.orchestrator, { ...request, ...DETAILS }, { token })
    expect(response.status).toBe(201)
    const { order } = response.body.data
    const line = { product_id: product.id, qty: 4, unit_price_cents: 1000, subtotal_cents: 4000 }
    expect(JSON.stringify(order)).toBe(
      JSON.stringify({ id: order.id, status: 'CONFIRMED', total_cents: 4000, items: [line], po_number: 'PO-4711' }),
    )
    const { ship_to, ...others } = DETAILS
    expect(await orderOf(system, order.id)).toMatchObject({ ...others, placed_by: 'client:shop', version: 1 })
    expect((await orderOf(system, order.id)).ship_to).toEqual({ ...ship_to, line2: null, region: null })
    const again = await call(system.orchestrator, { ...request, ...DETAILS }, { token })
    expect([again.text, again.headers.get('idempotent-replayed')]).toEqual([response.text, 'true'])
  })

  it('when a request has no PO number, then its answer has no such member', async () => {
    const { request } = await fourOfTen(system)
    const { body } = await call(system.orchestrator, { ...request, notes: 'n' })
    expect(Object.keys(body.data.order)).toEqual(['id', 'status', 'total_cents', 'items'])
  })

  it.each(Object.keys(DETAILS))('when only %s differs, then the same key is refused', async (name) => {
    const { request } = await fourOfTen(system)
    const { status } = await call(system.orchestrator, { ...request, ...DETAILS })
    expect(status).toBe(201)
    const other = await call(system.orchestrator, { ...request, ...DETAILS, [name]: undefined })
    expectFailure(other, 422, 'idempotency_key_reused')
  })

  it('when the PO number is taken, then 409 with the order that has it', async () => {
    const { request } = await fourOfTen(system)
    const first = await call(system.orchestrator, { ...request, po_number: 'A-1' })
    const second = await call(system.orchestrator, { ...request, po_number: 'a-1', idempotency_key: newKey() })
    expectFailure(second, 409, 'po_number_taken')
    expect(second.body.order_id).toBe(first.body.data.order.id)
    expect(second.body.error.order_id).toBe(first.body.data.order.id)
  })

  it.each<[string, number, object]>([
    ['currency_mismatch', 422, { currency: 'EUR' }],
    ['validation_failed', 400, { requested_delivery_date: '2020-01-01' }],
    ['validation_failed', 400, { po_number: '' }],
  ])('when details are wrong, then %s %i: %j', async (code, status, details) => {
    const { product, request } = await fourOfTen(system)
    expectFailure(await call(system.orchestrator, { ...request, ...details }), status, code)
    expect(await stockOf(system, product.id)).toBe(10)
  })
})

describeEachEngine('the correlation id', (engine) => {
  const system = useSystem(engine)

  it.each([
    ['the body and the header name one', { correlation_id: 'body' }, { 'x-correlation-id': 'header' }, /^body$/],
    ['the header names one', {}, { 'x-correlation-id': 'he.ad:er_1-2' }, /^he\.ad:er_1-2$/],
    ['none is named', {}, {}, UUID],
    ['the header names a bad one', {}, { 'x-correlation-id': 'a b' }, UUID],
    ['the header names a long one', {}, { 'x-correlation-id': 'x'.repeat(129) }, UUID],
  ])('when %s, then it is in the body and the header of the response', async (_, fields, headers, expected) => {
    const { request } = await fourOfTen(system)
    const response = await call(system.orchestrator, { ...request, ...fields }, { headers })
    expect(response.status).toBe(201)
    expect(response.body.correlationId).toMatch(expected)
    expect(response.headers.get('x-correlation-id')).toBe(response.body.correlationId)
  })

  it('when none is named, then it depends on the key and the principal', async () => {
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

  it('when a flow is done, then every log line of every service carries its id', async () => {
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

  it('when a traceparent comes, then every upstream gets it and the correlation id', async () => {
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

  it('when stock is short, then 409, and the same key succeeds after a restock', async () => {
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
    ['a key that is not text', { idempotency_key: 5 }, ['idempotency_key']],
    ['a bad correlation id', { correlation_id: 'a b' }, ['correlation_id']],
  ])('when a request has %s, then 400 names the fault', async (_, change, paths) => {
    const request = { customer_id: 1, items: [{ product_id: 1, qty: 1 }], idempotency_key: newKey(), ...change }
    const response = await call(system.orchestrator, request)
    expectFailure(response, 400, 'validation_failed')
    for (const errors of [response.body.errors, response.body.error.errors]) {
      expect(errors.map(({ path }: { path: string }) => path)).toEqual(paths)
    }
  })

  it('when body, type, size, path or method is wrong, then the problem has one shape', async () => {
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

  it('when it is not public and the token is missing or bad, then 401 first', async () => {
    const { product, request } = await fourOfTen(system)
    const none = await call(system.orchestrator, request)
    expectFailure(none, 401, 'unauthorized')
    expect(none.headers.get('www-authenticate')).toMatch(/^Bearer/)
    expectFailure(await call(system.orchestrator, request, { token: 'a.b.c' }), 401, 'invalid_token')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when it is public and the token is bad, then 401', async () => {
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

  it('when a client is bound to a customer, then orders for any other get 404', async () => {
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

  /** An orchestrator that reaches Orders through a faulty proxy. */
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

  /** The keys of all calls that reached Orders. */
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

  it('when Customers is unreachable, then 503, and the log names its address', async () => {
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

  it('when Customers is down, then a placed order is still replayed, byte for byte', async () => {
    const { request } = await fourOfTen(system)
    const first = await call(system.orchestrator, request)
    const hanging = await startFaultyProxy(system.customers.base, () => 'hang')
    for (const customersBase of [await nowhere(), hanging.base]) {
      const { api } = await serveOrchestrator(system, { customersBase, httpTimeoutMs: 300 })
      const again = await call(api, request)
      expect([again.status, again.text]).toEqual([201, first.text])
    }
  })

  it('when Customers responds 500, then 502, and only the log says why', async () => {
    const proxy = await startFaultyProxy(system.customers.base, () => internal(500))
    const { api, log } = await serveOrchestrator(system, { customersBase: proxy.base })
    const { product, request } = await fourOfTen(system)
    const response = await call(api, request)
    expectFailure(response, 502, 'upstream_failed')
    expect(withoutIds(response)).not.toMatch(/10\.0\.0\.7|127\.0\.0\.1|500/)
    const failed = log.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'failed')
    expect(failed).toMatchObject([{ correlation_id: response.body.correlationId, code: 'upstream_failed' }])
    expect(JSON.stringify(failed)).toContain('500')
    expect(await stockOf(system, product.id)).toBe(10)
  })

  it('when Customers does not respond, then 504', async () => {
    const proxy = await startFaultyProxy(system.customers.base, () => 'hang')
    const orchestrator = { ...system.env.orchestrator, deadlineMs: 200 }
    const { api } = await serveOrchestrator(system, { customersBase: proxy.base, orchestrator, httpTimeoutMs: 29_000 })
    const { request } = await fourOfTen(system)
    expectFailure(await call(api, request), 504, 'deadline_exceeded')
  })

  it('when Orders does not respond at all, then 504 once the deadline has passed', async () => {
    const { api } = await throughFaultyOrders(() => 'hang', { deadlineMs: 300, httpTimeoutMs: 29_000 })
    const { request } = await fourOfTen(system)
    expectFailure(await call(api, request), 504, 'deadline_exceeded')
  })

  it('when the first call to Orders times out, then the retry has the same key', async () => {
    const slowOnce: FaultOf = (_, earlier) => (earlier === 0 ? 'hang' : 'none')
    const { api, proxy } = await throughFaultyOrders(slowOnce, { httpTimeoutMs: 1_000 })
    const own = await fourOfTen(system)
    expect((await call(api, own.request)).status).toBe(201)
    expect([proxy.seen.length, keysOf(proxy).size]).toEqual([2, 1])
    await expectOneLiveOrder(own)
  })

  it('when a request without a key loses a response of Orders, then it is one order', async () => {
    const loseFirst: FaultOf = (_, earlier) => (earlier === 0 ? 'lose the answer' : 'none')
    const { api, proxy } = await throughFaultyOrders(loseFirst)
    const own = await fourOfTen(system)
    expect((await call(api, own.order)).status).toBe(201)
    expect([proxy.seen.length, keysOf(proxy).size]).toEqual([2, 1])
    await expectOneLiveOrder(own)
  })

  it('when Orders responds 503 twice, then 201, one order, and one key for all tries', async () => {
    const { api, proxy } = await throughFaultyOrders((_, earlier) => (earlier < 2 ? internal(503) : 'none'))
    const own = await fourOfTen(system)
    expect((await call(api, own.request)).status).toBe(201)
    expect([proxy.seen.length, keysOf(proxy).size]).toEqual([3, 1])
    await expectOneLiveOrder(own)
  })

  it.each([429, 502, 503, 504])('when Orders responds %s once, then 201 and one order', async (status) => {
    const { api, proxy } = await throughFaultyOrders((_, earlier) => (earlier === 0 ? internal(status) : 'none'))
    const own = await fourOfTen(system)
    expect((await call(api, own.request)).status).toBe(201)
    expect(keysOf(proxy).size).toBe(1)
    await expectOneLiveOrder(own)
  })

  it.each(['refuse', 'lose the answer'] as const)(
    'when the connection to Orders breaks once (%s), then 201 and one order',
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

  it('when every response is lost, then 503, and a later retry finds the order', async () => {
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

  it('when Orders keeps failing, then 502, and a later retry makes one order', async () => {
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
  ])('when Orders responds with %s, then 502', async (_, fault) => {
    const { api } = await throughFaultyOrders(() => fault)
    const { request } = await fourOfTen(system)
    expectFailure(await call(api, request), 502, 'upstream_failed')
  })

  it('when many retries of one key meet a flaky Orders, then there is one order', async () => {
    const { api } = await throughFaultyOrders((_, earlier) => (earlier % 3 === 0 ? internal(500) : 'none'))
    const own = await fourOfTen(system)
    const responses = await Promise.all(Array.from({ length: 6 }, () => call(api, own.request)))
    for (const { status } of responses) expect([201, 502]).toContain(status)
    expect((await call(system.orchestrator, own.request)).status).toBe(201)
    await expectOneLiveOrder(own)
  })

  it('when Orders is overloaded, then 503 with Retry-After and no retries', async () => {
    const refusal = { code: 'overloaded', detail: 'the queue of 10.0.0.7 is full', retry_after: 7, queue: 5000 }
    const { api } = await throughFaultyOrders(() => ({ status: 503, body: JSON.stringify(refusal) }))
    const { request } = await fourOfTen(system)
    const response = await call(api, request)
    expectFailure(response, 503, 'overloaded')
    expect(response.headers.get('retry-after')).toBe('7')
    expect(withoutIds(response)).not.toMatch(/10\.0\.0\.7|5000/)
  })

  it('when Orders refuses a request, then it is not retried', async () => {
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
   * Callers with a customer and a key each, who all order 1 of one product at the same moment, through an orchestrator
   * behind faulty proxies.
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

  /** Applies the fault to the first request of this path only. */
  function firstAt(ending: string, fault: Fault): FaultOf {
    return ({ path }, earlier) => (path.endsWith(ending) && earlier === 0 ? fault : 'none')
  }

  function expectDoneOrDocumented(response: ApiResponse): void {
    const codes: Record<number, string> = { 502: 'upstream_failed', 503: 'unavailable', 504: 'deadline_exceeded' }
    if (response.status === 201) expect(response.body.data.order.status).toBe('CONFIRMED')
    else expectFailure(response, response.status, codes[response.status] ?? 'none of these')
  }

  /** Retries all requests without faults, and expects one order each, exact stock, and balanced books. */
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

  it('when there are no faults, then calls share a request, and each has its order', async () => {
    const called = await manyCallers(() => 'none')
    expect(statusCounts(called.responses)).toEqual({ 201: CALLERS })
    expect(called.orders.seenAt('/placements')).not.toEqual([])
    expect(called.orders.seen.length).toBeLessThan(2 * CALLERS)
    await expectEachDoneOnce(called)
  })

  it.each<[string, Fault]>([
    ['loses its response', 'lose the answer'],
    ['is cut before it arrives', 'refuse'],
    ['gets 503', failing(503)],
  ])('when the first shared request to Orders %s, then each caller gets its one order', async (_, fault) => {
    const called = await manyCallers(firstAt('/placements', fault))
    expect(called.orders.seenAt('/placements')).not.toEqual([])
    expect(statusCounts(called.responses)).toEqual({ 201: CALLERS })
    await expectEachDoneOnce(called)
  })

  it('when the first shared request gets no response, then each caller gets one order', async () => {
    const called = await manyCallers(firstAt('/placements', 'hang'), { timeoutMs: 1_500 })
    expect(called.orders.seenAt('/placements')).not.toEqual([])
    for (const response of called.responses) expectDoneOrDocumented(response)
    await expectEachDoneOnce(called)
  })

  it('when the first shared request gets 500, then its callers get 502, the others 201', async () => {
    const called = await manyCallers(firstAt('/placements', failing(500)))
    const [first] = called.orders.seenAt('/placements')
    const inIt = JSON.parse(first?.body ?? '{"calls":[]}').calls.length
    expect(inIt).toBeGreaterThan(1)
    for (const response of called.responses) expectDoneOrDocumented(response)
    expect(statusCounts(called.responses)).toEqual({ 502: inIt, ...(inIt < CALLERS && { 201: CALLERS - inIt }) })
    await expectEachDoneOnce(called)
  })

  it('when Orders refuses shared requests, then each call goes alone', async () => {
    const tooMany: FaultOf = ({ body }) =>
      JSON.parse(body).calls.length > 1 ? { status: 413, body: '{"code":"payload_too_large","detail":"No."}' } : 'none'
    const called = await manyCallers(tooMany)
    expect(statusCounts(called.responses)).toEqual({ 201: CALLERS })
    await expectEachDoneOnce(called)
  })

  it('when Orders is older and lacks the route, then each caller gets 502', async () => {
    const unknown: Fault = { status: 404, body: '{"code":"route_not_found","detail":"Nothing."}' }
    const called = await manyCallers(at('/placements', unknown))
    expect(statusCounts(called.responses)).toEqual({ 502: CALLERS })
    await expectEachDoneOnce(called)
  })

  it('when shared requests fail in every way, then retries complete every order', async () => {
    const cycle: Fault[] = ['lose the answer', failing(503), failing(500), 'refuse', 'none']
    const called = await manyCallers(({ path }, earlier) =>
      path.endsWith('/placements') ? (cycle[earlier % cycle.length] ?? 'none') : 'none',
    )
    for (const response of called.responses) expectDoneOrDocumented(response)
    await expectEachDoneOnce(called)
  })

  it('when every shared request loses its response, then retries complete every order', async () => {
    const called = await manyCallers(at('/placements', 'lose the answer'))
    for (const response of called.responses) expectDoneOrDocumented(response)
    await expectEachDoneOnce(called)
  })

  it('when demand exceeds stock and the first response is lost, then none is oversold', async () => {
    const stock = 15
    const { responses, requests, product } = await manyCallers(firstAt('/placements', 'lose the answer'), { stock })
    expect(statusCounts(responses)).toEqual({ 201: stock, 409: CALLERS - stock })
    const again = await Promise.all(requests.map((request) => call(system.orchestrator, request)))
    expect(again.map(({ status }) => status)).toEqual(responses.map(({ status }) => status))
    expect(await stockOf(system, product.id)).toBe(0)
    expect(await differencesIn(system)).toEqual([])
  })
})

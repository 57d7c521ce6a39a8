import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { ApiClient, ApiResponse } from '../../testing/api-client.ts'
import { type FaultyProxy, startFaultyProxy } from '../../testing/faulty-proxy.ts'
import { expectFailure, expectProblem } from '../../testing/problems.ts'
import { atOnce, newCustomer, newKey, newProduct, ordersOf, statusCounts, stockOf } from '../../testing/rows.ts'
import { serveOrchestrator, serveOrders } from '../../testing/services.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const CREATE_AND_CONFIRM = '/dev/orchestrator/create-and-confirm-order'
const MOST = 3

describeEachEngine('a service with a limit of 3 requests in flight', (engine) => {
  const system = useSystem(engine, { MAX_REQUESTS: String(MOST) })

  /** A Customers that withholds each response until it is released. */
  async function heldCustomers() {
    const gates = new Map<string, PromiseWithResolvers<'none'>>()
    const gateOf = (id: number | string) => {
      const gate = gates.get(String(id)) ?? Promise.withResolvers<'none'>()
      gates.set(String(id), gate)
      return gate
    }
    const proxy = await startFaultyProxy(system.customers.base, ({ path }) => {
      const [, id] = /^\/internal\/customers\/(\d+)$/.exec(path) ?? []
      return id === undefined ? 'none' : gateOf(id).promise
    })
    return { proxy, letGo: (id: number) => gateOf(id).resolve('none') }
  }

  /** The number of lookups of these customers. */
  const askedFor = (proxy: FaultyProxy, ids: number[]) =>
    vi.waitFor(
      () => {
        const paths = proxy.seen.map(({ path }) => path).filter((path) => path.startsWith('/internal/customers/'))
        expect(paths).toEqual(ids.map((id) => `/internal/customers/${id}`))
      },
      { timeout: 10_000 },
    )

  /** An Orders that is full: each request has its own caller and waits for its own customer. */
  async function fullOrders() {
    const { proxy, letGo } = await heldCustomers()
    const { api } = await serveOrders(system, { customersBase: proxy.base, httpTimeoutMs: 20_000 })
    const product = await newProduct(system, { stock: 10 })
    const ids: number[] = []
    const responses: Promise<ApiResponse>[] = []
    for (let i = 0; i < MOST; i++) {
      ids.push((await newCustomer(system)).id)
      // Sent one after the other, so that each looks up its customer alone.
      const token = await system.token({ clientId: `caller-${i}` })
      responses.push(
        api.post('/orders', { customer_id: ids[i], items: [{ product_id: product.id, qty: 1 }] }, { token }),
      )
      await askedFor(proxy, ids)
    }
    const letAllGo = () => {
      for (const id of ids) letGo(id)
    }
    onTestFinished(letAllGo)
    return { api, product, proxy, ids, responses, letGo, letAllGo }
  }

  function expectOverloaded(response: ApiResponse): void {
    expectProblem(response, 503, 'overloaded')
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.body.retry_after).toBe(1)
  }

  it('when the limit is reached, then any other request gets 503 with Retry-After', async () => {
    const { api, responses, letAllGo } = await fullOrders()
    const correlation = { headers: { 'x-correlation-id': 'one-more' } }
    const more = [
      await api.get('/orders/1', correlation),
      await api.post('/orders', { customer_id: 1, items: [] }),
      await api.get('/products', { token: null }),
      await api.get('/dev/products'),
      await api.get('/nowhere'),
      await api.call('DELETE', '/orders'),
    ]
    for (const response of more) expectOverloaded(response)
    expect(more[0]?.headers.get('x-correlation-id')).toBe('one-more')
    letAllGo()
    expect(statusCounts(await Promise.all(responses))).toEqual({ 201: MOST })
  })

  it('when the limit is reached, then health probes still get responses', async () => {
    const { api } = await fullOrders()
    for (const path of ['/health', '/ready', '/dev/health', '/dev/ready']) {
      const { status, body } = await api.get(path, { token: null })
      expect({ status, said: body.status }).toEqual({ status: 200, said: 'ok' })
    }
  })

  it('when one request ends, then the next is served, and the one after it is not', async () => {
    const { api, proxy, ids, responses, letGo, product } = await fullOrders()
    expectOverloaded(await api.get('/orders/1'))
    letGo(ids[1] ?? 0)
    expect((await responses[1])?.status).toBe(201)
    expect((await api.get('/orders/1')).status).toBe(200)
    expect(await stockOf(system, product.id)).toBe(9)
    const next = (await newCustomer(system)).id
    const waiting = api.post('/orders', { customer_id: next, items: [{ product_id: product.id, qty: 1 }] })
    await askedFor(proxy, [...ids, next])
    expectOverloaded(await api.get('/orders/1'))
    letGo(next)
    expect((await waiting).status).toBe(201)
    expect((await api.get('/orders/1')).status).toBe(200)
  })

  it('when some requests were refused, then they did nothing and succeed later', async () => {
    const { api, ids, responses, letAllGo, product } = await fullOrders()
    const order = { customer_id: ids[0], items: [{ product_id: product.id, qty: 1 }] }
    const headers = { 'idempotency-key': newKey() }
    for (const response of await atOnce(5, () => api.post('/orders', order, { headers }))) expectOverloaded(response)
    letAllGo()
    await Promise.all(responses)
    const response = await api.post('/orders', order, { headers })
    expect([response.status, response.headers.get('idempotent-replayed')]).toEqual([201, null])
    expect(await stockOf(system, product.id)).toBe(10 - MOST - 1)
  })

  it('when requests end in refusals and faults, then each frees its slot', async () => {
    const { api } = await serveOrders(system, { maxInFlight: 1 })
    for (let i = 0; i < 3; i++) {
      expectProblem(await api.get('/orders/abc'), 400, 'invalid_id')
      expectProblem(await api.get('/orders/1', { token: null }), 401, 'unauthorized')
      expectProblem(await api.get('/nowhere'), 404, 'route_not_found')
      expectProblem(await api.call('DELETE', '/orders'), 405, 'method_not_allowed')
      expectProblem(await api.post('/orders', '{'), 400, 'malformed_json')
      expectProblem(await api.post('/orders', ' '.repeat(64 * 1024 + 1)), 413, 'payload_too_large')
    }
    expect((await api.get('/orders/1')).status).toBe(200)
  })

  it.each([
    ['of a stated length', 'content-length: 50\r\n\r\n{"gr'],
    ['in chunks', 'transfer-encoding: chunked\r\n\r\n4\r\n{"gr'],
  ])('when callers halt or hang up amid a body %s, then they hold no slot', async (_, rest) => {
    const { api, log } = await serveOrders(system, { maxInFlight: 1 })
    const { hostname, port } = new URL(api.base)
    const halting = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const socket = connect(Number(port), hostname)
        onTestFinished(() => void socket.destroy())
        await once(socket, 'connect')
        socket.write(`POST /auth/token HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n${rest}`)
        return socket
      }),
    )
    for (let i = 0; i < 10; i++) expect((await api.get('/orders/1')).status).toBe(200)
    for (const socket of halting) socket.destroy()
    const ended = () => log.filter((line) => line.includes('"method":"POST"'))
    await vi.waitFor(() => expect(ended()).toHaveLength(5), { timeout: 10_000 })
    expect(log.filter((line) => line.includes('"level":50') || line.includes('"level":"error"'))).toEqual([])
    expect((await api.get('/orders/1')).status).toBe(200)
  })

  it('when far more come than the limit, then each is served or refused, and all retry', async () => {
    const product = await newProduct(system, { stock: 1_000 })
    const customer = await newCustomer(system)
    const { api } = await serveOrders(system, {})
    const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }] }
    const keys = Array.from({ length: 40 }, newKey)
    const place = (key: string) => api.post('/orders', order, { headers: { 'idempotency-key': key } })
    const first = await Promise.all(keys.map(place))
    for (const response of first) if (response.status !== 201) expectOverloaded(response)
    expect(first.some(({ status }) => status === 201)).toBe(true)
    const placed = first.filter(({ status }) => status === 201).length
    expect(await ordersOf(system, customer.id)).toHaveLength(placed)
    for (const key of keys) expect((await place(key)).status).toBe(201)
    expect(await ordersOf(system, customer.id)).toHaveLength(40)
    expect(await stockOf(system, product.id)).toBe(960)
  })

  it('when it is the orchestrator, then it refuses in its own envelope', async () => {
    const { proxy, letGo } = await heldCustomers()
    const { api } = await serveOrchestrator(system, { customersBase: proxy.base, maxInFlight: 1 })
    const [product, customer] = [await newProduct(system), await newCustomer(system)]
    onTestFinished(() => letGo(customer.id))
    const items = [{ product_id: product.id, qty: 1 }]
    const call = (on: ApiClient) =>
      on.post(
        CREATE_AND_CONFIRM,
        { customer_id: customer.id, items, idempotency_key: newKey() },
        // With a token the orchestrator would look up its client in Customers too.
        { token: null },
      )
    const waiting = call(api)
    await askedFor(proxy, [customer.id])
    for (const response of [await call(api), await api.get('/nowhere'), await api.get(CREATE_AND_CONFIRM)]) {
      expectFailure(response, 503, 'overloaded')
      expect(response.headers.get('retry-after')).toBe('1')
    }
    expect((await api.get('/health')).status).toBe(200)
    letGo(customer.id)
    expect((await waiting).status).toBe(201)
    expect((await call(api)).status).toBe(201)
  })

  describe('when one caller floods it', () => {
    const SHARE = 2

    /** An Orders with waiting customers, where one caller has used up its share. */
    async function floodedOrders(send: (order: object, api: ApiClient) => Promise<ApiResponse>) {
      const { proxy, letGo } = await heldCustomers()
      const orders = await serveOrders(system, { customersBase: proxy.base, maxInFlight: 2 * SHARE })
      const product = await newProduct(system, { stock: 100 })
      const orderOf = (customerId: number) => ({
        customer_id: customerId,
        items: [{ product_id: product.id, qty: 1 }],
      })
      const ids: number[] = []
      const responses: Promise<ApiResponse>[] = []
      for (let i = 0; i < SHARE; i++) {
        ids.push((await newCustomer(system)).id)
        responses.push(send(orderOf(ids[i] ?? 0), orders.api))
        await askedFor(proxy, ids)
      }
      const letAllGo = () => {
        for (const id of ids) letGo(id)
      }
      onTestFinished(letAllGo)
      const free = (await newCustomer(system)).id
      letGo(free)
      return { ...orders, responses, letAllGo, order: orderOf(free) }
    }

    const tokenOf = (clientId: string) => system.token({ clientId })

    it('then that caller gets 503, and others are served', async () => {
      const flood = await tokenOf('flood')
      const { api, responses, letAllGo, order, log } = await floodedOrders((order, api) =>
        api.post('/orders', order, { token: flood }),
      )
      for (let i = 0; i < 3; i++) {
        const more = await atOnce(20, () => api.post('/orders', order, { token: flood }))
        for (const response of more) expectOverloaded(response)
        expectOverloaded(await api.get('/products', { token: flood }))
        expect((await api.post('/orders', order)).status).toBe(201)
        expect((await api.get('/orders/1')).status).toBe(200)
      }
      letAllGo()
      expect(statusCounts(await Promise.all(responses))).toEqual({ 201: SHARE })
      expect((await api.post('/orders', order, { token: flood })).status).toBe(201)
      expect(log.filter((line) => line.includes('"level":50'))).toEqual([])
    })

    it('then its further requests are refused unread', async () => {
      const flood = await tokenOf('flood')
      const { api, log, order } = await floodedOrders((order, api) => api.post('/orders', order, { token: flood }))
      expectOverloaded(await api.post('/orders', order, { token: flood }))
      const lines = log.length
      expectOverloaded(await api.post('/orders', '{', { token: flood }))
      expectOverloaded(await api.get('/nowhere', { token: flood }))
      expect(log.slice(lines)).toEqual([])
      expect((await api.get('/health', { token: flood })).status).toBe(200)
      expectProblem(await api.post('/orders', '{'), 400, 'malformed_json')
      expectProblem(await api.get('/orders/1', { token: null }), 401, 'unauthorized')
    })

    it('then naming another caller does not help', async () => {
      const flood = await tokenOf('flood')
      const headers = { 'x-on-behalf-of': 'client:quiet' }
      const { api, log, order } = await floodedOrders((order, api) =>
        api.post('/orders', order, { token: flood, headers }),
      )
      expectOverloaded(await api.post('/orders', order, { token: flood, headers }))
      expect((await api.post('/orders', order, { token: await tokenOf('quiet') })).status).toBe(201)
      expect(log.join('')).not.toContain('on_behalf_of')
    })

    it('then a calling service gets the refusal, and its other callers are served', async () => {
      const service = { token: system.env.serviceTokens[0] ?? '' }
      const as = (caller: string) => ({ ...service, headers: { 'x-on-behalf-of': `client:${caller}` } })
      const { api, log, order } = await floodedOrders((order, api) => api.post('/orders', order, as('flood')))
      expectOverloaded(await api.post('/orders', order, as('flood')))
      expectOverloaded(await api.get('/orders/1', { token: await tokenOf('flood') }))
      expect((await api.post('/orders', order, as('quiet'))).status).toBe(201)
      expect((await api.post('/orders', order, service)).status).toBe(201)
      expect(log.find((line) => line.includes('"status":201'))).toContain('"on_behalf_of":"client:quiet"')
    })

    it('then in a shared request only that caller’s calls are refused', async () => {
      const flood = await tokenOf('flood')
      const { api, order, log } = await floodedOrders((order, api) => api.post('/orders', order, { token: flood }))
      const callers = ['client:flood', 'client:quiet', undefined]
      const calls = callers.map((on_behalf_of) => ({
        key: newKey(),
        correlation_id: newKey(),
        order: { ...order, customer: { id: 1, name: 'A', email: 'a@example.com', phone: null } },
        on_behalf_of,
      }))
      const token = system.env.serviceTokens[0] ?? ''
      const { body } = await api.post('/internal/orders/placements', { calls }, { token })
      expect(body.results).toMatchObject([
        { status: 503, body: { code: 'overloaded', retry_after: 1 } },
        { status: 201 },
        { status: 201 },
      ])
      expect(log.filter((line) => line.includes('"level":50'))).toEqual([])
    })

    it('then the orchestrator’s calls count for that caller', async () => {
      const flood = await tokenOf('flood')
      const service = { token: system.env.serviceTokens[0] ?? '', headers: { 'x-on-behalf-of': 'client:flood' } }
      const { api, responses, letAllGo, order } = await floodedOrders((order, api) =>
        api.post('/orders', order, service),
      )
      const { api: orchestrator } = await serveOrchestrator(system, { ordersBase: api.base, maxInFlight: 100 })
      const send = (token: string) =>
        orchestrator.post(CREATE_AND_CONFIRM, { ...order, idempotency_key: newKey() }, { token })
      const refused = await send(flood)
      expectFailure(refused, 503, 'overloaded')
      expect(refused.headers.get('retry-after')).toBe('1')
      const others = await atOnce(4, async (i) => send(await tokenOf(`${i}`)))
      expect(statusCounts(others)).toEqual({ 201: 4 })
      letAllGo()
      expect(statusCounts(await Promise.all(responses))).toEqual({ 201: SHARE })
      expect((await send(flood)).status).toBe(201)
    })

    it('then the orchestrator keeps slots for its other callers', async () => {
      const { proxy, letGo } = await heldCustomers()
      const { api } = await serveOrchestrator(system, { customersBase: proxy.base, maxInFlight: 2 * SHARE })
      const product = await newProduct(system)
      const [held, free] = [await newCustomer(system), await newCustomer(system)]
      letGo(free.id)
      onTestFinished(() => letGo(held.id))
      const send = async (customer: { id: number }, clientId: string) => {
        const items = [{ product_id: product.id, qty: 1 }]
        const body = { customer_id: customer.id, items, idempotency_key: newKey() }
        return api.post(CREATE_AND_CONFIRM, body, { token: await tokenOf(clientId) })
      }
      const refused: ApiResponse[] = []
      const flood = Array.from({ length: 10 }, () => send(held, 'flood').then((response) => refused.push(response)))
      await vi.waitFor(() => expect(refused).toHaveLength(10 - SHARE), { timeout: 10_000 })
      for (const response of refused) expectFailure(response, 503, 'overloaded')
      expect((await send(free, 'quiet')).status).toBe(201)
      letGo(held.id)
      await Promise.all(flood)
      expect((await send(free, 'flood')).status).toBe(201)
    })
  })
})

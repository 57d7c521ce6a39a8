import { request } from 'node:http'
import { describe, expect, it } from 'vitest'
import { expectFaults, expectProblem } from '../../testing/problems.ts'
import { newCustomer, newKey, newOrder, newProduct, orderOf } from '../../testing/rows.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'

const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'

const oneUnit = async (system: TestSystem) => {
  const { id } = await newProduct(system)
  return { customer_id: 1, items: [{ product_id: id, qty: 1 }] }
}

describeEachEngine('null for an optional field', (engine) => {
  const system = useSystem(engine)

  it('when a hold is null, then it is the default, and the same request', async () => {
    const order = await oneUnit(system)
    const headers = { 'idempotency-key': newKey() }
    const first = await system.orders.post('/orders', order, { headers })
    const again = await system.orders.post('/orders', { ...order, hold_minutes: null }, { headers })
    expect([again.status, again.text]).toEqual([201, first.text])
    const other = await system.orders.post('/orders', { ...order, hold_minutes: null })
    const minutes = (Date.parse(other.body.expires_at) - Date.parse(other.body.created_at)) / 60_000
    expect(minutes).toBe(system.env.orders.holdMinutes)
  })

  it('when a phone is null, then it is the same request as without one', async () => {
    const customer = { name: 'Ann', email: `${newKey()}@example.com` }
    const headers = { 'idempotency-key': newKey() }
    const first = await system.customers.post('/customers', { ...customer, phone: null }, { headers })
    const again = await system.customers.post('/customers', customer, { headers })
    expect([first.body.phone, again.text]).toEqual([null, first.text])
  })

  it('when fields of a change are null, then they stay unchanged', async () => {
    const { id } = await newProduct(system, { stock: 7, price_cents: 5 })
    const path = `/products/${id}`
    const headers = { 'idempotency-key': newKey() }
    const first = await system.orders.patch(path, { name: 'New', stock: null, price_cents: null }, { headers })
    expect(first.body).toMatchObject({ name: 'New', stock: 7, price_cents: 5, version: 2 })
    expect((await system.orders.patch(path, { name: 'New' }, { headers })).text).toBe(first.text)
    expectFaults(await system.orders.patch(path, { name: null }), [''])
    expectFaults(await system.orders.patch(path, { name: null, stock: null, price_cents: null }), [''])
  })

  it('when key and correlation id are null in a body, then the headers count', async () => {
    const headers = { 'idempotency-key': newKey(), 'x-correlation-id': 'from-the-header' }
    const order = await oneUnit(system)
    const first = await system.orchestrator.post(CREATE_AND_CONFIRM, order, { headers })
    const body = { ...order, idempotency_key: null, correlation_id: null }
    const again = await system.orchestrator.post(CREATE_AND_CONFIRM, body, { headers })
    expect([again.status, again.text]).toEqual([201, first.text])
    expect(again.body.correlationId).toBe('from-the-header')
  })

  it('when a scope is null, then the token has all of them', async () => {
    const client = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }
    const ask = (more: object) => system.orders.post('/auth/token', { ...client, ...more }, { token: null })
    expect((await ask({ scope: null })).body.scope).toBe((await ask({})).body.scope)
    expectProblem(await ask({ client_secret: null }), 401, 'invalid_client')
  })

  it('when the traceparent of a batched call is null, then it counts as absent', async () => {
    const calls = [{ id: 1, correlation_id: 'call-1', traceparent: null }]
    const token = system.env.serviceTokens[0] ?? ''
    expect((await system.customers.post('/internal/customers/lookups', { calls }, { token })).status).toBe(200)
  })

  it('when a field is required, then null is refused', async () => {
    const [{ id: product }, order] = [await newProduct(system), await oneUnit(system)]
    expectFaults(await system.orders.post('/orders', { ...order, customer_id: null }), ['customer_id'])
    expectFaults(await system.customers.post('/customers', { name: null, email: null }), ['email', 'name'])
    const path = `/products/${product}/stock-adjustments`
    expectFaults(await system.orders.post(path, { delta: null, reason: null }), ['delta', 'reason'])
  })
})

const TYPES = [
  undefined,
  'application/json',
  'application/x-www-form-urlencoded',
  'text/plain',
  'multipart/form-data; boundary=x',
  'nonsense',
]
const STEPS = ['confirm', 'cancel'] as const

describe('an optional body', () => {
  const system = useSystem('sqlite')
  const newOne = async () => (await newOrder(system, (await oneUnit(system)).items)).id
  const headersOf = (type: string | undefined) => ({
    'idempotency-key': newKey(),
    ...(type !== undefined && { 'content-type': type }),
  })

  /** Sends raw bytes without the headers that HTTP clients add. */
  async function send(method: string, url: string, headers: Record<string, string>, body = ''): Promise<number> {
    const authorization = `Bearer ${await system.token()}`
    return new Promise((resolve, reject) => {
      const outgoing = request(url, { method, headers: { authorization, ...headers } }, (incoming) => {
        incoming.resume().on('end', () => resolve(incoming.statusCode ?? 0))
      })
      outgoing.on('error', reject).end(body)
    })
  }

  it.each(STEPS.flatMap((step) => TYPES.map((type) => [step, type] as const)))(
    'when a %s has no bytes and type %s, then it is done',
    async (step, type) => {
      const id = await newOne()
      const response = await system.orders.call('POST', `/orders/${id}/${step}`, { headers: headersOf(type) })
      expect([response.status, response.body.id]).toEqual([200, id])
    },
  )

  it.each(STEPS.flatMap((step) => TYPES.map((type) => [step, type] as const)))(
    'when a %s has no bytes, in chunks, and type %s, then it is done',
    async (step, type) => {
      const url = `${system.orders.base}/orders/${await newOne()}/${step}`
      expect(await send('POST', url, { ...headersOf(type), 'transfer-encoding': 'chunked' })).toBe(200)
      expect(await send('POST', url, { ...headersOf(type), 'content-length': '0' })).toBe(200)
    },
  )

  it.each(STEPS)('when a %s has an empty object, then it is done', async (step) => {
    const id = await newOne()
    expect((await system.orders.post(`/orders/${id}/${step}`, {}, { headers: headersOf(undefined) })).status).toBe(200)
  })

  it.each(STEPS)('when the body of a %s is null, then it is done', async (step) => {
    const id = await newOne()
    const headers = { ...headersOf('application/json') }
    expect(await send('POST', `${system.orders.base}/orders/${id}/${step}`, headers, 'null')).toBe(200)
  })

  it.each(TYPES.filter((type) => type !== 'application/json'))(
    'when a cancel has a body of type %s, then 415 and nothing changes',
    async (type) => {
      const id = await newOne()
      const url = `${system.orders.base}/orders/${id}/cancel`
      expect(await send('POST', url, headersOf(type), '{}')).toBe(415)
      expect(await orderOf(system, id)).toMatchObject({ status: 'CREATED' })
    },
  )

  it.each(TYPES)('when a route takes no body, then a body of type %s is not read', async (type) => {
    const { base } = system.orders
    expect(await send('POST', `${base}/orders/${await newOne()}/confirm`, headersOf(type), 'x=1')).toBe(200)
    expect(await send('GET', `${base}/orders/1`, { ...headersOf(type), 'content-length': '3' }, 'x=1')).toBe(200)
    const { id } = await newCustomer(system)
    const url = `${system.customers.base}/customers/${id}`
    expect(await send('DELETE', url, { ...headersOf(type), 'content-length': '3' }, 'x=1')).toBe(204)
  })
})

import { randomBytes } from 'node:crypto'
import { describe, expect, it, onTestFinished } from 'vitest'
import { serve } from '../../src/platform/http/server.ts'
import type { ApiRequest, ApiResponse } from '../../testing/api-client.ts'
import { contractCheck } from '../../testing/contract-check.ts'
import { forgedCursor } from '../../testing/lists.ts'
import { type Operation, operationsOf, readDocuments, sampleOf } from '../../testing/openapi.ts'
import { newCustomer, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { serveOrchestrator, serveOrders } from '../../testing/services.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { LOOPBACK } from '../../testing/webhooks.ts'

const documents = await readDocuments()
const operations = operationsOf(documents)
const { expectDocumented } = contractCheck(documents)

/** Faults of the service itself or of an upstream, which other tests provoke. */
const FAULTS = ['internal_error', 'upstream_failed', 'unavailable', 'overloaded', 'deadline_exceeded']
const NOBODY = 999_999_999
/** Nothing listens there, and nothing is sent. */
const ENDPOINT = { url: 'http://127.0.0.1:9', event_types: ['order.*'] }
const MAX_BODY = 64 * 1024
const MAX_INTERNAL_BODY = 4 * 1024 * 1024

/** The documented outcomes of an operation: `success`, `not_modified`, and the code of each refusal. */
function outcomesOf({ responses }: Operation): [status: number, outcome: string][] {
  const outcomes = Object.entries(responses).flatMap(([status, { content }]): [number, string][] => {
    const codes = Object.keys(content?.['application/problem+json']?.examples ?? { [nameOf(Number(status))]: {} })
    return codes.map((code) => [Number(status), code])
  })
  return outcomes.filter(([, outcome]) => !FAULTS.includes(outcome))
}

function nameOf(status: number): string {
  return status === 304 ? 'not_modified' : 'success'
}

describeEachEngine('documented responses', (engine) => {
  const system = useSystem(engine, { ORCHESTRATOR_PUBLIC: 'false', ...LOOPBACK })
  const withLockWait = useSystem(engine, {
    ORCHESTRATOR_PUBLIC: 'false',
    RATE_LIMIT_PER_MINUTE: '1',
    LOGIN_ATTEMPTS_PER_MINUTE: '1',
  })

  /** A valid request for the operation, with the changes of a test. */
  function call(operation: Operation, request: ApiRequest & { id?: number | string; query?: string } = {}) {
    const { service, method, path } = operation
    const { id = 1, query = '', ...rest } = request
    const body = method !== 'GET' && operation.requestBody ? sampleBody(operation) : undefined
    const token = operation.security.some(({ serviceToken }) => serviceToken) && system.env.serviceTokens[0]
    return system[service].call(method, path.replace('{id}', String(id)) + query, {
      ...(body !== undefined && { body }),
      ...(token && { token }),
      ...rest,
    })
  }

  function sampleBody(operation: Operation): Record<string, unknown> {
    const [{ schema } = { schema: {} }] = Object.values(operation.requestBody?.content ?? {})
    const unique = randomBytes(6).toString('hex')
    const sample = sampleOf(documents[operation.service], schema)
    return {
      ...sample,
      ...('email' in sample && { email: `${unique}@example.com` }),
      ...('external_id' in sample && { external_id: unique }),
      ...('po_number' in sample && { po_number: unique }),
      ...('sku' in sample && { sku: unique }),
      ...('idempotency_key' in sample && { idempotency_key: unique }),
    }
  }

  /** How to provoke a refusal that many operations share. */
  const COMMON: Record<string, (operation: Operation) => Promise<ApiResponse>> = {
    unauthorized: (it) => call(it, { token: null }),
    invalid_token: (it) => call(it, { token: 'not.a.token' }),
    insufficient_scope: async (it) => call(it, { token: await system.token({ scopes: [] }) }),
    bound_client: async (it) => call(it, { token: await system.token({ customerId: 1 }) }),
    malformed_json: (it) => call(it, { body: '{' }),
    payload_too_large: (it) =>
      call(it, { body: ' '.repeat(1 + (it.path.startsWith('/internal/') ? MAX_INTERNAL_BODY : MAX_BODY)) }),
    unsupported_media_type: (it) => call(it, { headers: { 'content-type': 'text/plain' } }),
    not_modified: (it) => call(it, { headers: { 'if-none-match': '*' } }),
    validation_failed: (it) => call(it, it.requestBody ? { body: { nonsense: true } } : { query: '?limit=0' }),
    invalid_id: (it) => call(it, { id: 'zero', headers: { 'idempotency-key': newKey() } }),
    not_found: (it) => call(it, { id: NOBODY, headers: { 'idempotency-key': newKey() } }),
    precondition_failed: (it) => call(it, { headers: { 'if-match': '"99"' } }),
    invalid_idempotency_key: (it) => call(it, { headers: { 'idempotency-key': 'two words' } }),
    idempotency_key_reused: async (it) => {
      const headers = { 'idempotency-key': newKey() }
      await call(it, { headers })
      return call(it, { headers })
    },
    async rate_limited({ service, method, path }) {
      const token = await withLockWait.token({ clientId: randomBytes(6).toString('hex') })
      const again = () => withLockWait[service].call(method, path.replace('{id}', '1'), { token })
      await again()
      return again()
    },
  }

  const keyed = (key = newKey()) => ({ headers: { 'idempotency-key': key } })
  const reuseKey = async (it: Operation, make: (on: typeof system) => Promise<{ id: number }>) => {
    const request = keyed()
    await call(it, { id: (await make(system)).id, ...request })
    return call(it, { id: (await make(system)).id, ...request })
  }
  const order = (items: { product_id: number; qty: number }[], customer_id = 1) => ({ customer_id, items })
  const orchestrated = (items: { product_id: number; qty: number }[], customer_id = 1, key = newKey()) => ({
    ...order(items, customer_id),
    idempotency_key: key,
  })
  const manyOf = async (fields: Record<string, unknown>, qty: number) => [
    { product_id: (await newProduct(system, fields)).id, qty },
  ]
  const tooMany = () => manyOf({ stock: 1 }, 2)
  const tooDear = () => manyOf({ price_cents: 100_000_000_000, stock: 1_000_000 }, 1_000_000)
  const one = () => manyOf({}, 1)
  /** The parts of an order that is refused, by code. */
  const REFUSED: Record<string, () => Promise<Record<string, unknown>>> = {
    po_number_taken: async () => {
      const { id } = await newCustomer(system)
      await newOrder(system, await one(), { customer_id: id, po_number: 'A' })
      return { customer_id: id, po_number: 'a' }
    },
    po_number_required: async () => ({ customer_id: (await newCustomer(system, { po_policy: 'required' })).id }),
    currency_mismatch: async () => ({ currency: 'EUR' }),
    product_inactive: async () => ({ items: await manyOf({ active: false }, 1) }),
    quantity_not_allowed: async () => ({ items: await manyOf({ qty_step: 12 }, 13) }),
  }
  const refusedAs = (more: () => object) =>
    Object.fromEntries(
      Object.entries(REFUSED).map(([code, parts]) => [
        code,
        async (it: Operation) => call(it, { body: { ...order(await one()), ...more(), ...(await parts()) } }),
      ]),
    )
  const withExternalId = async () => {
    const external_id = newKey()
    await newCustomer(system, { external_id })
    return { external_id }
  }
  const canceledOrder = async () => {
    const { id } = await newOrder(system, await one())
    await system.orders.post(`/orders/${id}/cancel`)
    return id
  }
  const oneKeyForTwoOrders = async (it: Operation) => {
    const key = newKey()
    await call(it, { id: (await newOrder(system, await one())).id, ...keyed(key) })
    return call(it, { id: (await newOrder(system, await one())).id, ...keyed(key) })
  }
  const newEndpoint = async (fields = {}): Promise<{ id: number }> =>
    (await system.orders.post('/webhook-endpoints', { ...ENDPOINT, ...fields })).body
  const demo = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }

  /** How each operation succeeds, where its examples are not enough, and how to provoke its own refusals. */
  const OWN: Record<string, Record<string, (operation: Operation) => Promise<ApiResponse>>> = {
    issueToken: {
      success: (it) => call(it, { body: demo, token: null }),
      unsupported_grant_type: (it) => call(it, { body: { ...demo, grant_type: 'password' } }),
      invalid_scope: (it) => call(it, { body: { ...demo, scope: 'orders:steal' }, token: null }),
      invalid_client: (it) => call(it, { body: { ...demo, client_secret: 'wrong' }, token: null }),
      async rate_limited({ service, path }) {
        const fail = () => withLockWait[service].post(path, { ...demo, client_secret: 'wrong' }, { token: null })
        await fail()
        return fail()
      },
    },
    getInternalClient: { success: (it) => call(it, { id: 'demo' }) },
    createCustomer: {
      email_taken: async (it) => {
        const { email } = await newCustomer(system)
        return call(it, { body: { name: 'Again', email } })
      },
      external_id_taken: async (it) => {
        const { external_id } = await withExternalId()
        return call(it, { body: { ...sampleBody(it), external_id } })
      },
    },
    replaceCustomer: {
      success: async (it) => call(it, { id: (await newCustomer(system)).id }),
      idempotency_key_reused: (it) => reuseKey(it, newCustomer),
      email_taken: async (it) => {
        const [{ email }, { id }] = await Promise.all([newCustomer(system), newCustomer(system)])
        return call(it, { id, body: { name: 'Again', email } })
      },
      external_id_taken: async (it) => {
        const [{ external_id }, { id }] = await Promise.all([withExternalId(), newCustomer(system)])
        return call(it, { id, body: { ...sampleBody(it), external_id } })
      },
    },
    deleteCustomer: {
      success: async (it) => call(it, { id: (await newCustomer(system)).id }),
      idempotency_key_reused: (it) => reuseKey(it, newCustomer),
    },
    eraseCustomer: {
      success: async (it) => call(it, { id: (await newCustomer(system)).id }),
      idempotency_key_reused: (it) => reuseKey(it, newCustomer),
    },
    createProduct: {
      sku_taken: async (it) => {
        const { sku } = await newProduct(system)
        return call(it, { body: { ...sampleBody(it), sku } })
      },
    },
    listProducts: {
      headers_too_large: (it) =>
        call(it, {
          query: `?${Array(100)
            .fill(`sku=${'x'.repeat(200)}`)
            .join('&')}`,
        }),
    },
    changeProduct: {
      sku_taken: async (it) => {
        const [{ sku }, { id }] = await Promise.all([newProduct(system), newProduct(system)])
        return call(it, { id, body: { sku } })
      },
      success: async (it) => call(it, { id: (await newProduct(system)).id }),
      idempotency_key_reused: (it) => reuseKey(it, newProduct),
    },
    adjustStock: {
      success: async (it) => call(it, { id: (await newProduct(system)).id }),
      insufficient_stock: async (it) => call(it, { id: (await newProduct(system, { stock: 2 })).id }),
      amount_too_large: async (it) => {
        const { id } = await newProduct(system)
        await system.db.updateTable('products').set({ stock: Number.MAX_SAFE_INTEGER }).where('id', '=', id).execute()
        return call(it, { id, body: { delta: 1, reason: 'one more' } })
      },
      idempotency_key_reused: (it) => reuseKey(it, newProduct),
    },
    placeOrder: {
      ...refusedAs(() => ({})),
      idempotency_key_required: async (it) => call(it, { body: { ...order(await one()), confirm: true } }),
      not_found: async (it) => call(it, { body: order(await one(), 2), token: await system.token({ customerId: 1 }) }),
      too_many_holds: async (it) => {
        const { id } = await newCustomer(system)
        const { api } = await serveOrders(system, { orders: { ...system.env.orders, maxOpenHolds: 1 } })
        const token = await system.token({ customerId: id })
        const place = async () => api.post(it.path, order(await one(), id), { token })
        await place()
        return place()
      },
      insufficient_stock: async (it) => call(it, { body: order(await tooMany()) }),
      amount_too_large: async (it) => call(it, { body: order(await tooDear()) }),
      customer_not_found: async (it) => call(it, { body: order(await one(), NOBODY) }),
      product_not_found: (it) => call(it, { body: order([{ product_id: NOBODY, qty: 1 }]) }),
      idempotency_key_reused: async (it) => {
        const key = newKey()
        await call(it, { ...keyed(key), body: order(await one()) })
        return call(it, { ...keyed(key), body: order(await one()) })
      },
    },
    previewOrder: {
      not_found: async (it) => call(it, { body: order(await one(), 2), token: await system.token({ customerId: 1 }) }),
    },
    updateOrder: {
      success: async (it) => call(it, { id: (await newOrder(system, await one())).id }),
      precondition_failed: async (it) =>
        call(it, { id: (await newOrder(system, await one())).id, headers: { 'if-match': '"99"' } }),
      order_canceled: async (it) => call(it, { id: await canceledOrder() }),
      idempotency_key_reused: oneKeyForTwoOrders,
    },
    confirmOrder: {
      success: async (it) => call(it, { id: (await newOrder(system, await one())).id, ...keyed() }),
      idempotency_key_required: (it) => call(it),
      order_canceled: async (it) => call(it, { id: await canceledOrder(), ...keyed() }),
      idempotency_key_reused: oneKeyForTwoOrders,
    },
    listEvents: {
      cursor_expired: async (it) => {
        await system.db.deleteFrom('events').where('position', '=', 1).execute()
        return call(it, { query: `?after=${forgedCursor('events', 0)}` })
      },
    },
    cancelOrder: {
      idempotency_key_reused: oneKeyForTwoOrders,
      success: async (it) => call(it, { id: (await newOrder(system, await one())).id }),
      // Order 1 of the demo data was confirmed long ago.
      cancel_window_passed: (it) => call(it, { id: 1, body: {} }),
    },
    createWebhookEndpoint: {
      not_found: async (it) =>
        call(it, { body: { ...ENDPOINT, customer_id: 2 }, token: await system.token({ customerId: 1 }) }),
      customer_not_found: (it) => call(it, { body: { ...ENDPOINT, customer_id: NOBODY } }),
      url_not_allowed: (it) => call(it, { body: { ...ENDPOINT, url: 'http://10.0.0.1/' } }),
      too_many_endpoints: async (it) => {
        const { id } = await newCustomer(system)
        for (let i = 0; i < 50; i++) await newEndpoint({ customer_id: id })
        return call(it, { body: { ...ENDPOINT, customer_id: id } })
      },
      idempotency_key_reused: async (it) => {
        const key = newKey()
        await call(it, { ...keyed(key), body: ENDPOINT })
        return call(it, { ...keyed(key), body: { ...ENDPOINT, event_types: ['*'] } })
      },
    },
    changeWebhookEndpoint: {
      url_not_allowed: (it) => call(it, { body: { url: 'http://10.0.0.1/' } }),
      idempotency_key_reused: (it) => reuseKey(it, () => newEndpoint()),
    },
    deleteWebhookEndpoint: {
      success: async (it) => call(it, { id: (await newEndpoint()).id }),
      idempotency_key_reused: (it) => reuseKey(it, () => newEndpoint()),
    },
    rotateWebhookSecret: {
      success: async (it) => call(it, { id: (await newEndpoint()).id }),
      rotation_in_progress: async (it) => {
        const { id } = await newEndpoint()
        await call(it, { id })
        return call(it, { id })
      },
      idempotency_key_reused: (it) => reuseKey(it, () => newEndpoint()),
    },
    searchIdempotencyKey: {
      success: (it) => call(it, { query: '?key=abc-123' }),
      invalid_idempotency_key: (it) => call(it, { query: '?key=two%20words' }),
      bound_client: async (it) => call(it, { query: '?key=abc-123', token: await system.token({ customerId: 1 }) }),
    },
    createAndConfirmOrder: {
      ...refusedAs(() => ({ idempotency_key: newKey() })),
      not_found: async (it) =>
        call(it, { body: orchestrated(await one(), 2), token: await system.token({ customerId: 1 }) }),
      invalid_idempotency_key: async (it) => call(it, { body: orchestrated(await one(), 1, 'two words') }),
      insufficient_stock: async (it) => call(it, { body: orchestrated(await tooMany()) }),
      amount_too_large: async (it) => call(it, { body: orchestrated(await tooDear()) }),
      customer_not_found: async (it) => call(it, { body: orchestrated(await one(), NOBODY) }),
      product_not_found: (it) => call(it, { body: orchestrated([{ product_id: NOBODY, qty: 1 }]) }),
      idempotency_key_reused: async (it) => {
        const key = newKey()
        await call(it, { body: orchestrated(await one(), 1, key) })
        return call(it, { body: orchestrated(await one(), 1, key) })
      },
      order_canceled: async (it) => {
        const { orders } = system
        const refuseConfirm = async (request: Request) => {
          const { pathname } = new URL(request.url)
          const id = /\/orders\/(\d+)\/confirm/.exec(pathname)?.[1]
          if (id !== undefined) await orders.post(`/orders/${id}/cancel`)
          return fetch(new Request(`${orders.base}${pathname}`, request))
        }
        const inBetween = await serve({ fetch: refuseConfirm }, 0)
        onTestFinished(() => inBetween.close())
        const { api } = await serveOrchestrator(system, { ordersBase: `http://127.0.0.1:${inBetween.port}` })
        return api.post(it.path, orchestrated(await one()))
      },
    },
  }

  const titled = (some: Operation[]) => some.map((operation): [string, Operation] => [operation.title, operation])

  describe.each(titled(operations))('%s', (_, operation) => {
    const { service, method, path, operationId, title } = operation

    it.each(outcomesOf(operation))('when it responds %i %s, then as documented', async (status, outcome) => {
      const provoke = OWN[operationId]?.[outcome] ?? COMMON[outcome] ?? (outcome === 'success' ? call : undefined)
      if (provoke === undefined) throw new Error(`this test does not know how ${title} comes to ${outcome}`)
      const response = await provoke(operation)
      expectDocumented(service, method, path, response)
      expect({ status: response.status, outcome: response.body.code ?? nameOf(response.status) }).toEqual({
        status,
        outcome,
      })
    })
  })

  async function newIdFor({ path }: Operation): Promise<number> {
    if (path.startsWith('/webhook-')) return (await newEndpoint()).id
    if (path.startsWith('/orders/')) return (await newOrder(system, await one())).id
    return (await (path.startsWith('/products/') ? newProduct : newCustomer)(system)).id
  }

  const repeatable = operations.filter(({ parameters }) => parameters?.some(({ name }) => name === 'idempotency-key'))

  it.each(titled(repeatable))('when %s is retried with its key, then the replay is as documented', async (_, it) => {
    const id = await newIdFor(it)
    const key = newKey()
    const body = it.requestBody && {
      ...sampleBody(it),
      ...('idempotency_key' in sampleBody(it) && { idempotency_key: key }),
    }
    const first = await call(it, { id, ...keyed(key), ...(body && { body }) })
    const replay = await call(it, { id, ...keyed(key), ...(body && { body }) })
    expectDocumented(it.service, it.method, it.path, replay)
    expect({ status: replay.status, text: replay.text }).toEqual({
      status: first.status,
      text: withoutSecret(first.text),
    })
    expect([first, replay].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true'])
    for (const name of ['location', 'etag']) expect(replay.headers.get(name)).toBe(first.headers.get(name))
  })
})

/** A replay does not show the secret of an endpoint. */
function withoutSecret(text: string): string {
  return text.replace(/"whsec_[^"]+"/, 'null')
}

import { createServer, request } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { ApiResponse } from '../../testing/api-client.ts'
import { freePort } from '../../testing/database-server.ts'
import { SERVICES } from '../../testing/openapi.ts'
import { newCustomer, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'

const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'
const TOO_LARGE = ' '.repeat(64 * 1024 + 1)
const CORRELATION = { 'x-correlation-id': 'headers-1' }

/** The headers of every response. */
const ALWAYS = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=15552000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-dns-prefetch-control': 'off',
  'x-download-options': 'noopen',
  'x-frame-options': 'SAMEORIGIN',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
}

/** The headers of every response that is data: nothing in it may run, and no cache may store it. */
const DATA = {
  ...ALWAYS,
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
}

const TAG = expect.stringMatching(/^"[\w-]+"$/)
const JSON_TYPE = 'application/json'
const PROBLEM_TYPE = 'application/problem+json'

/** Expects a response of this status with all of these headers and the correlation id of its request. */
function expectHeaders(response: ApiResponse, status: number, headers: Record<string, unknown>): void {
  expect(response.status, response.text).toBe(status)
  const all = Object.fromEntries(response.headers)
  expect(all).toMatchObject({ ...headers, ...CORRELATION })
  expect(all['x-powered-by']).toBeUndefined()
  // fetch would have joined two headers of one name.
  for (const name of Object.keys(ALWAYS)) expect(all[name]).not.toContain(', ')
}

type Ask = (system: TestSystem) => Promise<ApiResponse>

const headers = CORRELATION
const keyed = () => ({ headers: { ...CORRELATION, 'idempotency-key': newKey() } })
const service = (system: TestSystem) => ({ headers, token: system.env.serviceTokens[0] ?? '' })

const oneUnit = async (system: TestSystem) => ({
  customer_id: 1,
  items: [{ product_id: (await newProduct(system)).id, qty: 1 }],
})

const RESPONSES: [string, number, Ask, Record<string, unknown>][] = [
  ['a resource', 200, (on) => on.customers.get('/customers/1', { headers }), { etag: '"1"' }],
  [
    'a list',
    200,
    (on) => on.orders.get('/orders?limit=1', { headers }),
    { link: expect.stringContaining('rel="next"') },
  ],
  [
    'a new customer',
    201,
    (on) => on.customers.post('/customers', { name: 'A', email: `${newKey()}@example.com` }, { headers }),
    { location: expect.stringMatching(/^customers\/\d+$/), etag: '"1"' },
  ],
  [
    'a new order',
    201,
    async (on) => on.orders.post('/orders', await oneUnit(on), keyed()),
    { location: expect.stringMatching(/^orders\/\d+$/) },
  ],
  [
    'a replay',
    201,
    async (on) => {
      const [order, request] = [await oneUnit(on), keyed()]
      await on.orders.post('/orders', order, request)
      return on.orders.post('/orders', order, request)
    },
    { location: expect.stringMatching(/^orders\/\d+$/), 'idempotent-replayed': 'true' },
  ],
  [
    'a confirmed order',
    200,
    async (on) => {
      const order = await newOrder(on, (await oneUnit(on)).items)
      return on.orders.post(`/orders/${order.id}/confirm`, undefined, keyed())
    },
    {},
  ],
  [
    'an order through the orchestrator',
    201,
    async (on) => on.orchestrator.post(CREATE_AND_CONFIRM, await oneUnit(on), keyed()),
    {},
  ],
  [
    'a token',
    200,
    (on) =>
      on.orders.post(
        '/auth/token',
        { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' },
        { headers, token: null },
      ),
    {},
  ],
  ['health', 200, (on) => on.orders.get('/health', { headers, token: null }), {}],
  ['readiness', 200, (on) => on.orders.get('/ready', { headers, token: null }), {}],
  [
    'batched calls',
    200,
    (on) => {
      const calls = [{ id: 1, correlation_id: 'call-1' }]
      return on.customers.post('/internal/customers/lookups', { calls }, service(on))
    },
    {},
  ],
]

const REFUSALS: [string, number, Ask, Record<string, unknown>][] = [
  ['a bad id', 400, (on) => on.orders.get('/orders/abc', { headers }), {}],
  ['a body that is not JSON', 400, (on) => on.orders.post('/orders', '{', { headers }), {}],
  ['a faulty body', 400, (on) => on.orders.post('/orders', {}, { headers }), {}],
  [
    'no token',
    401,
    (on) => on.orders.get('/orders', { headers, token: null }),
    { 'www-authenticate': 'Bearer realm="b2b-orders"' },
  ],
  [
    'a bad token',
    401,
    (on) => on.orders.get('/orders', { headers, token: 'a.b.c' }),
    { 'www-authenticate': 'Bearer realm="b2b-orders", error="invalid_token"' },
  ],
  [
    'a wrong secret',
    401,
    (on) => {
      const wrong = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'wrong' }
      return on.customers.post('/auth/token', wrong, { headers, token: null })
    },
    { 'www-authenticate': 'Basic realm="b2b-orders"' },
  ],
  [
    'a missing scope',
    403,
    async (on) => on.orders.get('/orders', { headers, token: await on.token({ scopes: ['products:read'] }) }),
    { 'www-authenticate': expect.stringContaining('insufficient_scope') },
  ],
  ['an unknown id', 404, (on) => on.customers.get('/customers/999999999', { headers }), {}],
  [
    'a method that a path does not have',
    405,
    (on) => on.orders.call('DELETE', '/orders', { headers }),
    { allow: expect.stringMatching(/GET.*POST|POST.*GET/) },
  ],
  ['a conflict', 409, (on) => on.customers.post('/customers', { name: 'A', email: 'ops@acme.com' }, { headers }), {}],
  [
    'a stale version',
    412,
    async (on) => {
      const { id } = await newCustomer(on)
      return on.customers.delete(`/customers/${id}`, { headers: { ...headers, 'if-match': '"7"' } })
    },
    {},
  ],
  ['a body that is too large', 413, (on) => on.orders.post('/orders', TOO_LARGE, { headers }), {}],
  [
    'a body of another type',
    415,
    (on) => on.orders.post('/orders', 'a', { headers: { ...headers, 'content-type': 'text/plain' } }),
    {},
  ],
  [
    'an unknown customer',
    422,
    async (on) => on.orders.post('/orders', { ...(await oneUnit(on)), customer_id: 999_999_999 }, { headers }),
    {},
  ],
  [
    'a bad idempotency key',
    400,
    async (on) => {
      const order = { ...(await oneUnit(on)), idempotency_key: 'two words' }
      return on.orchestrator.post(CREATE_AND_CONFIRM, order, { headers })
    },
    {},
  ],
]

describeEachEngine('the headers of a response', (engine) => {
  const system = useSystem(engine)

  it.each(RESPONSES)('when it is %s (%d), then it is data of this request', async (_, status, ask, own) => {
    expectHeaders(await ask(system), status, { ...DATA, 'content-type': JSON_TYPE, ...own })
  })

  it.each(REFUSALS)('when it refuses %s (%d), then it is data of this request', async (_, status, ask, own) => {
    expectHeaders(await ask(system), status, { ...DATA, 'content-type': PROBLEM_TYPE, ...own })
  })

  it('when it has no body (204), then it is data of this request', async () => {
    const { id } = await newCustomer(system)
    const response = await system.customers.delete(`/customers/${id}`, { headers })
    expectHeaders(response, 204, DATA)
    expect(response.headers.get('content-type')).toBeNull()
  })
})

describe('the links of a response behind a proxy that strips a prefix', () => {
  const system = useSystem('sqlite')

  it.each([
    ['customers', '/customers', () => ({ name: 'A', email: `${newKey()}@example.com` })],
    ['orders', '/products', () => ({ sku: newKey(), name: 'A', price_cents: 1, stock: 1 })],
    ['orders', '/orders', () => ({ customer_id: 1, items: [{ product_id: 1, qty: 1 }] })],
  ] as const)(
    'when something of %s is posted to %s, then Location and the next page work',
    async (name, path, input) => {
      const base = `${await startPrefixProxy('/shop/api', system[name].base)}/shop/api`
      const headers = { authorization: `Bearer ${await system.token()}`, 'content-type': 'application/json' }
      const made = await fetch(`${base}${path}`, { method: 'POST', headers, body: JSON.stringify(input()) })
      const url = new URL(made.headers.get('location') ?? '', made.url)
      expect(url.href.startsWith(`${base}${path}/`)).toBe(true)
      expect(await (await fetch(url, { headers })).json()).toEqual(await made.json())

      const first = await fetch(`${base}${path}?limit=1`, { headers })
      const [, next = ''] = /^<(.*)>; rel="next"$/.exec(first.headers.get('link') ?? '') ?? []
      const second = await fetch(new URL(next, first.url), { headers })
      expect(second.url.startsWith(`${base}${path}?`)).toBe(true)
      const ids = [await first.json(), await second.json()].map(({ data }) => data[0].id)
      expect(new Set(ids).size).toBe(2)
    },
  )

  /** A proxy in front of a service until the test ends, which strips this prefix. */
  async function startPrefixProxy(prefix: string, target: string): Promise<string> {
    const server = createServer((incoming, outgoing) => {
      const { method, headers, url = '' } = incoming
      const asked = request(target + url.slice(prefix.length), { method, headers, agent: false }, (response) => {
        outgoing.writeHead(response.statusCode ?? 0, response.headers)
        response.pipe(outgoing)
      })
      incoming.pipe(asked)
    })
    const port = await freePort()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.close()
      server.closeAllConnections()
    })
    return `http://127.0.0.1:${port}`
  }
})

describe.each(SERVICES)('the headers of every response of %s', (name) => {
  const system = useSystem('sqlite')

  it.each([
    ['GET', '/nowhere', 404],
    ['POST', '/docs/swagger-ui-dist/package.json', 405],
    ['GET', '/docs/swagger-ui-dist/package.json', 404],
    ['DELETE', '/health', 405],
    ['OPTIONS', '/health', 405],
  ])('when %s %s does not exist (%d), then it is a problem of this request', async (method, path, status) => {
    const response = await system[name].call(method, path, { headers })
    expectHeaders(response, status, { ...DATA, 'content-type': PROBLEM_TYPE })
    if (status === 405) expect(response.headers.get('allow')).toContain('GET')
    else expect(response.headers.get('allow')).toBeNull()
  })

  it('when HEAD is sent, then it has the headers of GET', async () => {
    expectHeaders(await system[name].call('HEAD', '/health', { headers }), 200, { ...DATA, 'content-type': JSON_TYPE })
  })

  it.each(['', '/dev'])('when its document is read at "%s/openapi.json", then it is data', async (prefix) => {
    const response = await system[name].get(`${prefix}/openapi.json`, { headers, token: null })
    expectHeaders(response, 200, { ...DATA, 'content-type': JSON_TYPE, 'cache-control': 'no-cache', etag: TAG })
  })

  it.each(['', '/dev'])('when its page is read at "%s/docs", then it has its own policy alone', async (prefix) => {
    const response = await system[name].get(`${prefix}/docs`, { headers, token: null })
    expectHeaders(response, 200, { ...ALWAYS, 'cache-control': 'no-store', 'content-type': 'text/html; charset=UTF-8' })
    const policy = response.headers.get('content-security-policy') ?? ''
    expect(policy.match(/default-src/g)).toHaveLength(1)
    expect(policy).toMatch(/^default-src 'none'; script-src 'self' 'sha256-/)
  })

  it.each([
    ['favicon-32x32.png', 'image/png'],
    ['swagger-ui.css', 'text/css; charset=utf-8'],
    ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
  ])('when %s of its page is read, then caches may keep it for a day', async (file, type) => {
    const response = await system[name].get(`/docs/swagger-ui-dist/${file}`, { headers, token: null })
    expectHeaders(response, 200, { ...ALWAYS, 'cache-control': 'public, max-age=86400', 'content-type': type })
  })
})

describe('the headers of a response with a rate limit', () => {
  const system = useSystem('sqlite', { RATE_LIMIT_PER_MINUTE: '2', ORCHESTRATOR_PUBLIC: 'false' })
  const rate = (remaining: number) => ({
    ratelimit: expect.stringMatching(new RegExp(`^limit=2, remaining=${remaining}, reset=\\d+$`)),
    'ratelimit-policy': '2;w=60',
  })

  it('when a caller is within its rate, then RateLimit headers come with all others', async () => {
    const request = { headers, token: await system.token({ clientId: newKey() }) }
    const read = await system.customers.get('/customers/1', request)
    expectHeaders(read, 200, { ...DATA, ...rate(1), 'content-type': JSON_TYPE, etag: '"1"' })
    const body = { name: 'A', email: `${newKey()}@example.com` }
    const made = await system.customers.post('/customers', body, request)
    const own = { location: `customers/${made.body.id}`, etag: '"1"' }
    expectHeaders(made, 201, { ...DATA, ...rate(0), 'content-type': JSON_TYPE, ...own })
  })

  it('when its request is refused, then the refusal has RateLimit headers too', async () => {
    const request = { headers, token: await system.token({ clientId: newKey() }) }
    const refused = await system.orders.post('/orders', {}, request)
    expectHeaders(refused, 400, { ...DATA, ...rate(1), 'content-type': PROBLEM_TYPE })
    expectHeaders(await system.orders.get('/orders/999999999', request), 404, { ...DATA, ...rate(0) })
  })

  it('when it has no body (204), then it has RateLimit headers', async () => {
    const token = await system.token({ clientId: newKey() })
    const made = await system.customers.post('/customers', { name: 'A', email: `${newKey()}@a.example` }, { token })
    const response = await system.customers.delete(`/customers/${made.body.id}`, { headers, token })
    expectHeaders(response, 204, { ...DATA, ...rate(0) })
    expect(response.text).toBe('')
  })

  it.each([
    ['customers', '/customers/1'],
    ['orders', '/orders/1'],
  ] as const)('when a caller of %s is past its rate (429), then Retry-After says when to retry', async (name, path) => {
    const request = { headers, token: await system.token({ clientId: newKey() }) }
    for (let i = 0; i < 2; i++) expect((await system[name].get(path, request)).status).toBe(200)
    const response = await system[name].get(path, request)
    const again = { 'retry-after': expect.stringMatching(/^\d+$/) }
    expectHeaders(response, 429, { ...DATA, ...rate(0), ...again, 'content-type': PROBLEM_TYPE })
  })

  it('when it is the orchestrator, then it has the same headers', async () => {
    const request = { headers, token: await system.token({ clientId: newKey() }) }
    const faulty = () => system.orchestrator.post(CREATE_AND_CONFIRM, {}, request)
    expectHeaders(await faulty(), 400, { ...DATA, ...rate(1), 'content-type': PROBLEM_TYPE })
    expectHeaders(await faulty(), 400, { ...DATA, ...rate(0) })
    expectHeaders(await faulty(), 429, { ...DATA, ...rate(0), 'retry-after': expect.stringMatching(/^\d+$/) })
  })
})

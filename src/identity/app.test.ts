import { afterEach, describe, expect, it, vi } from 'vitest'
import type { ApiResponse } from '../../testing/api-client.ts'
import { startFaultyProxy } from '../../testing/faulty-proxy.ts'
import { expectFailure, expectFaults, expectProblem } from '../../testing/problems.ts'
import { newCustomer, newOrder, newProduct, newWord } from '../../testing/rows.ts'
import { nowhere, serveOrchestrator, serveOrders } from '../../testing/services.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'
import { SCOPES, type Scope } from '../compose/modules.ts'
import { createClient, disableClient, enableClient, rotateSecret, signToken } from './service.ts'

const FORM = 'application/x-www-form-urlencoded'
const GRANT = { grant_type: 'client_credentials' }

interface TestClient {
  id: string
  secret: string
  /** The same credentials as fields of a token request. */
  fields: { client_id: string; client_secret: string }
}

function basic(id: string, secret: string): Record<string, string> {
  return { authorization: `Basic ${btoa(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`)}` }
}

describeEachEngine('tokens', (engine) => {
  const system = useSystem(engine)

  async function newClient(scopes: readonly Scope[] = SCOPES, customerId: number | null = null): Promise<TestClient> {
    const id = newWord()
    const { clientSecret: secret } = await createClient(system.db, { id, name: `Client ${id}`, scopes, customerId })
    return { id, secret, fields: { client_id: id, client_secret: secret } }
  }

  const sendJson = (body: unknown, headers: Record<string, string> = {}, service: 'customers' | 'orders' = 'orders') =>
    system[service].post('/auth/token', body, { token: null, headers })
  const sendForm = (fields: Record<string, string>, headers: Record<string, string> = {}) =>
    sendJson(new URLSearchParams(fields).toString(), { 'content-type': FORM, ...headers })

  /** Each way to send the same request. */
  const ways: Record<string, (client: TestClient, rest?: Record<string, string>) => Promise<ApiResponse>> = {
    'a form': ({ fields }, rest = {}) => sendForm({ ...GRANT, ...fields, ...rest }),
    JSON: ({ fields }, rest = {}) => sendJson({ ...GRANT, ...fields, ...rest }),
    'a form and a Basic header': ({ id, secret }, rest = {}) => sendForm({ ...GRANT, ...rest }, basic(id, secret)),
    'JSON and a Basic header': ({ id, secret }, rest = {}) => sendJson({ ...GRANT, ...rest }, basic(id, secret)),
  }

  describe.each(Object.entries(ways))('asked for with %s', (_, ask) => {
    it('when a client sends its secret, then it gets a token with all its scopes', async () => {
      const response = await ask(await newClient(['products:read', 'orders:write']))
      expect(response.status).toBe(200)
      expect(response.headers.get('content-type')).toBe('application/json')
      expect(response.headers.get('cache-control')).toBe('no-store')
      expect(response.body).toEqual({
        access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
        token_type: 'Bearer',
        expires_in: 3600,
        scope: 'products:read orders:write',
      })
    })

    it('when fewer scopes are asked for, then the token has only those', async () => {
      const client = await newClient(['products:read', 'orders:read', 'orders:write'])
      const { body } = await ask(client, { scope: ' orders:write  products:read orders:write ' })
      expect(body.scope).toBe('orders:write products:read')
    })

    it('when it asks for a scope that the client lacks, then invalid_scope', async () => {
      const response = await ask(await newClient(['products:read']), { scope: 'products:read orders:read' })
      expectProblem(response, 400, 'invalid_scope')
      expect(response.body.error).toBe('invalid_scope')
    })

    it('when the secret is wrong, then 401', async () => {
      const client = await newClient()
      const secret = `${client.secret}x`
      const response = await ask({ ...client, secret, fields: { client_id: client.id, client_secret: secret } })
      expectProblem(response, 401, 'invalid_client')
    })
  })

  it('when a secret is wrong or a client unknown, then the refusals are the same', async () => {
    const client = await newClient()
    const wrongSecret = await sendJson({ ...GRANT, ...client.fields, client_secret: 'wrong' })
    const unknown = await sendJson({ ...GRANT, ...client.fields, client_id: newWord() })
    for (const response of [wrongSecret, unknown]) {
      expectProblem(response, 401, 'invalid_client')
      expect(response.headers.get('www-authenticate')).toMatch(/^Basic realm=/)
      expect(response.body.error).toBe('invalid_client')
    }
    expect({ ...unknown.body, request_id: '' }).toEqual({ ...wrongSecret.body, request_id: '' })
  })

  it('when a client is disabled, then it is refused as if it were unknown', async () => {
    const client = await newClient()
    const disabled = { disabled_at: '2026-01-01 00:00:00.000' }
    await system.db.updateTable('api_clients').set(disabled).where('id', '=', client.id).execute()
    expectProblem(await sendJson({ ...GRANT, ...client.fields }), 401, 'invalid_client')
  })

  it('when the id differs by case or by spaces, then it is another client', async () => {
    const { fields } = await newClient()
    for (const id of [`${fields.client_id} `, ` ${fields.client_id}`, fields.client_id.toUpperCase()]) {
      expectProblem(await sendJson({ ...GRANT, ...fields, client_id: id }), 401, 'invalid_client')
    }
  })

  it.each(['', '%', "' or 1=1 --", 'dèmo', '☃', 'demo\u0000', '\ud800', 'x'.repeat(3_000)])(
    'when the id is %j, then it is unknown',
    async (id) => {
      expectProblem(await sendJson({ ...GRANT, client_id: id, client_secret: 'demo-secret' }), 401, 'invalid_client')
    },
  )

  it('when credentials are missing, partial or of another scheme, then invalid_client', async () => {
    const { id, secret, fields } = await newClient()
    const refused = [
      await sendJson(GRANT),
      await sendJson({ ...GRANT, client_id: id }),
      await sendJson({ ...GRANT, client_secret: secret }),
      await sendJson({ ...GRANT, ...fields }, { authorization: 'Bearer something' }),
      await sendJson({ ...GRANT, ...fields }, { authorization: 'Basic !' }),
      await sendJson({ ...GRANT, ...fields }, { authorization: `Basic ${btoa(id)}` }),
      await sendJson({ ...GRANT, ...fields }, { authorization: `Basic ${btoa('%:%')}` }),
    ]
    for (const response of refused) expectProblem(response, 401, 'invalid_client')
  })

  it('when the Basic header and the fields name two clients, then the header wins', async () => {
    const [one, other] = [await newClient(['orders:read']), await newClient(['orders:write'])]
    const { body } = await sendJson({ ...GRANT, ...other.fields }, basic(one.id, one.secret))
    expect(body.scope).toBe('orders:read')
  })

  it.each(['password', 'authorization_code', 'Client_Credentials', ''])(
    'when the grant type is %j, then unsupported_grant_type',
    async (grant_type) => {
      const { fields } = await newClient()
      const response = await sendJson({ ...fields, grant_type })
      expectProblem(response, 400, 'unsupported_grant_type')
      expect(response.body.error).toBe('unsupported_grant_type')
    },
  )

  it('when the body has faults, then the fields are named', async () => {
    const { fields } = await newClient()
    expectFaults(await sendJson({ ...fields }), ['grant_type'])
    expectFaults(await sendJson({ ...GRANT, ...fields, scope: 7 }), ['scope'])
    for (const name of ['grant_type', 'client_id', 'client_secret', 'scope']) {
      const form = `${new URLSearchParams({ ...GRANT, ...fields, scope: 'orders:read' })}&${name}=again`
      const response = await sendJson(form, { 'content-type': FORM })
      expectFaults(response, [name])
      expect(response.body.error).toBe('invalid_request')
    }
  })

  it('when it has unknown parameters, then they are ignored', async () => {
    const { fields } = await newClient(['orders:read'])
    const others = { audience: 'orders', resource: 'https://orders.example', client_assertion: '', __proto: 'x' }
    expect((await sendForm({ ...GRANT, ...fields, ...others })).body.scope).toBe('orders:read')
    expect((await sendJson({ ...GRANT, ...fields, ...others, resource: ['a', 'b'] })).body.scope).toBe('orders:read')
    const repeated = `${new URLSearchParams({ ...GRANT, ...fields })}&resource=a&resource=b`
    expect((await sendJson(repeated, { 'content-type': FORM })).body.scope).toBe('orders:read')
  })

  it('when optional fields are null, then they count as absent', async () => {
    const { id, secret } = await newClient(['orders:read'])
    const nothing = { client_id: null, client_secret: null, scope: null }
    expect((await sendJson({ ...GRANT, ...nothing }, basic(id, secret))).body.scope).toBe('orders:read')
    expectProblem(await sendJson({ ...GRANT, ...nothing }), 401, 'invalid_client')
  })

  it('when the body is larger than 4 KiB, then 413, and 4 KiB is accepted', async () => {
    const { fields } = await newClient()
    const json = JSON.stringify({ ...GRANT, ...fields })
    const form = `${new URLSearchParams({ ...GRANT, ...fields })}&pad=`
    expect((await sendJson(json.padEnd(4_096))).status).toBe(200)
    expect((await sendJson(form.padEnd(4_096, 'x'), { 'content-type': FORM })).status).toBe(200)
    for (const large of [json.padEnd(4_097), form.padEnd(4_097, 'x'), form.padEnd(64 * 1_024, '&a=')]) {
      for (const type of [FORM, 'application/json']) {
        const response = await sendJson(large, { 'content-type': type })
        expectProblem(response, 413, 'payload_too_large')
        expect(response.body.detail).toContain('4 KiB')
        expect(response.text.length).toBeLessThan(1_000)
      }
    }
  })

  it('when the body is not JSON, or of another type, then 400 or 415', async () => {
    expectProblem(await sendJson('{'), 400, 'malformed_json')
    expectProblem(await sendJson('grant_type', { 'content-type': 'text/plain' }), 415, 'unsupported_media_type')
    expectProblem(await sendJson(undefined), 415, 'unsupported_media_type')
  })

  it('when either service issued the token, then it opens the routes of both', async () => {
    const { fields } = await newClient(['customers:read', 'products:read'])
    for (const service of ['customers', 'orders'] as const) {
      const token = (await sendJson({ ...GRANT, ...fields }, {}, service)).body.access_token
      expect((await system.customers.get('/customers/1', { token })).status).toBe(200)
      expect((await system.orders.get('/products/1', { token })).status).toBe(200)
      expectProblem(await system.orders.get('/orders/1', { token }), 403, 'insufficient_scope')
    }
  })

  it('when the scopes were narrowed, then the token opens no more than they allow', async () => {
    const { fields } = await newClient(['products:read', 'orders:read'])
    const token = (await sendJson({ ...GRANT, ...fields, scope: 'orders:read' })).body.access_token
    expect((await system.orders.get('/orders/1', { token })).status).toBe(200)
    expectProblem(await system.orders.get('/products/1', { token }), 403, 'insufficient_scope')
  })

  it('when the client is bound to a customer, then its token sees only that one', async () => {
    const [own, other, product] = [await newCustomer(system), await newCustomer(system), await newProduct(system)]
    const order = await newOrder(system, [{ product_id: product.id, qty: 1 }], { customer_id: own.id })
    const { fields } = await newClient(SCOPES, own.id)
    const token = (await sendJson({ ...GRANT, ...fields })).body.access_token
    expect((await system.customers.get(`/customers/${own.id}`, { token })).status).toBe(200)
    expectProblem(await system.customers.get(`/customers/${other.id}`, { token }), 404, 'not_found')
    expect((await system.orders.get(`/orders/${order.id}`, { token })).status).toBe(200)
    expectProblem(await system.orders.get('/orders/1', { token }), 404, 'not_found')
  })

  it('when the demo client asks, then it gets every scope, but none in production', async () => {
    const demo = { ...GRANT, client_id: 'demo', client_secret: 'demo-secret' }
    expect((await sendJson(demo)).body.scope).toBe(SCOPES.join(' '))
    const { api } = await serveOrders(system, { production: true })
    for (const id of ['demo', 'demo ']) {
      expectProblem(await api.post('/auth/token', { ...demo, client_id: id }, { token: null }), 401, 'invalid_client')
    }
  })

  it('when an identity provider issues the tokens, then the route does not exist', async () => {
    const { api } = await serveOrders(system, { jwt: { ...system.env.jwt, jwksUrl: 'https://id.example/jwks' } })
    expectProblem(await api.post('/auth/token', GRANT), 404, 'route_not_found')
  })

  it('when a client is created, then its secret is stored nowhere', async () => {
    const client = await newClient()
    const row = await system.db
      .selectFrom('api_clients')
      .selectAll()
      .where('id', '=', client.id)
      .executeTakeFirstOrThrow()
    expect(JSON.stringify(row)).not.toContain(client.secret)
    await sendJson({ ...GRANT, ...client.fields })
    expect(system.log.join('')).not.toContain(client.secret)
  })
})

describeEachEngine('clients whose tokens are revoked', (engine) => {
  const system = useSystem(engine, { ORCHESTRATOR_PUBLIC: 'false' })
  const ORDER = '/orchestrator/create-and-confirm-order'
  const MINUTE_MS = 60_000

  afterEach(() => vi.useRealTimers())

  async function newClient() {
    const id = newWord()
    const { clientSecret } = await createClient(system.db, { id, name: id, scopes: SCOPES, customerId: null })
    return { id, secret: clientSecret }
  }

  async function tokenFor({ id, secret }: { id: string; secret: string }): Promise<string> {
    const body = { ...GRANT, client_id: id, client_secret: secret }
    const response = await system.orders.post('/auth/token', body, { token: null })
    expect(response.status).toBe(200)
    return response.body.access_token
  }

  /** The status of each service for this token. The orchestrator accepts it and then refuses the empty body. */
  async function statusesOf(token: string, { customers, orders, orchestrator }: TestSystem = system) {
    const responses = [
      await customers.get('/customers/1', { token }),
      await orders.get('/orders/1', { token }),
      await orchestrator.post(ORDER, {}, { token }),
    ]
    for (const response of responses) if (response.status === 401) expectProblem(response, 401, 'invalid_token')
    return responses.map(({ status }) => status)
  }

  const TAKEN = [200, 200, 400]
  const REFUSED = [401, 401, 401]

  it('when a secret is rotated, then the old one fails, and its tokens within a minute', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const client = await newClient()
    const token = await tokenFor(client)
    expect(await statusesOf(token)).toEqual(TAKEN)
    const rotated = await rotateSecret(system.db, client.id)
    const body = { ...GRANT, client_id: client.id, client_secret: client.secret }
    expectProblem(await system.customers.post('/auth/token', body, { token: null }), 401, 'invalid_client')
    vi.advanceTimersByTime(MINUTE_MS)
    expect(await statusesOf(token)).toEqual(REFUSED)
    const next = await tokenFor({ ...client, secret: rotated?.clientSecret ?? '' })
    expect(await statusesOf(next)).toEqual(TAKEN)
    expect(await statusesOf(token)).toEqual(REFUSED)
  })

  it('when a token was not used before the rotation, then it is refused at once', async () => {
    const client = await newClient()
    const [first, second] = [await tokenFor(client), await tokenFor(client)]
    await rotateSecret(system.db, client.id)
    expect(await statusesOf(first)).toEqual(REFUSED)
    await disableClient(system.db, client.id)
    expect(await statusesOf(second)).toEqual(REFUSED)
  })

  it('when a client is enabled again, then only its new tokens are accepted', async () => {
    const client = await newClient()
    const token = await tokenFor(client)
    const { since } = (await disableClient(system.db, client.id)) ?? {}
    expect((await disableClient(system.db, client.id))?.since).toBe(since)
    expect(await statusesOf(token)).toEqual(REFUSED)
    expect(await enableClient(system.db, client.id)).toEqual({ disabledSince: since })
    expect(await statusesOf(token)).toEqual(REFUSED)
    expect(await statusesOf(await tokenFor(client))).toEqual(TAKEN)
  })

  it('when the database clock was 2 s ahead at issue, then a rotation still revokes', async () => {
    const client = await newClient()
    const { access_token: ahead } = await signToken(
      system.env.jwt,
      { clientId: client.id, scope: SCOPES.join(' '), customerId: null },
      Date.now() + 2_000,
    )
    const rotated = await rotateSecret(system.db, client.id)
    expect(await statusesOf(ahead)).toEqual(REFUSED)
    const between = await tokenFor({ ...client, secret: rotated?.clientSecret ?? '' })
    expect(await statusesOf(between)).toEqual(TAKEN)
    const next = await rotateSecret(system.db, client.id)
    expect(await statusesOf(await tokenFor({ ...client, secret: next?.clientSecret ?? '' }))).toEqual(TAKEN)
  })

  it('when a secret is rotated twice, then tokens issued in between are revoked too', async () => {
    const client = await newClient()
    const rotated = await rotateSecret(system.db, client.id)
    const between = await tokenFor({ ...client, secret: rotated?.clientSecret ?? '' })
    await rotateSecret(system.db, client.id)
    expect(await statusesOf(between)).toEqual(REFUSED)
  })

  it('when the client does not exist, then nothing is done', async () => {
    const id = newWord()
    expect(await rotateSecret(system.db, id)).toBeUndefined()
    expect(await disableClient(system.db, id)).toBeUndefined()
    expect(await enableClient(system.db, id)).toBeUndefined()
  })

  it('when the client of a token is unknown, then only production refuses it', async () => {
    const token = await system.token({ clientId: newWord() })
    expect(await statusesOf(token)).toEqual(TAKEN)
    const { api: orders } = await serveOrders(system, { production: true })
    const { api: orchestrator } = await serveOrchestrator(system, { production: true })
    expect(await statusesOf(token, { ...system, orders, orchestrator })).toEqual([200, 401, 401])
    const known = await tokenFor(await newClient())
    expect(await statusesOf(known, { ...system, orders, orchestrator })).toEqual(TAKEN)
  })

  it('when it is a token of the demo client, then it is refused in production', async () => {
    const token = await tokenFor({ id: 'demo', secret: 'demo-secret' })
    const { api: orders } = await serveOrders(system, { production: true })
    expect(await statusesOf(token, { ...system, orders })).toEqual([200, 401, 400])
  })

  it('when Customers is unreachable, then the orchestrator responds 503', async () => {
    const { api } = await serveOrchestrator(system, { customersBase: await nowhere() })
    const response = await api.post(ORDER, {})
    expectFailure(response, 503, 'unavailable')
  })

  it('when Customers does not respond, then the orchestrator waits for one call only', async () => {
    const customers = await startFaultyProxy(system.customers.base, () => 'hang')
    const { api } = await serveOrchestrator(system, { customersBase: customers.base, httpTimeoutMs: 300 })
    expectFailure(await api.post(ORDER, {}), 504, 'deadline_exceeded')
    expect(customers.seen).toHaveLength(1)
  })

  it('when the orchestrator looks up a client, then it passes on the correlation id', async () => {
    const { id, secret } = await newClient()
    const token = await tokenFor({ id, secret })
    const customers = await startFaultyProxy(system.customers.base, () => 'none')
    const { api } = await serveOrchestrator(system, { customersBase: customers.base })
    await api.post(ORDER, {}, { token, headers: { 'x-correlation-id': 'asking-1' } })
    expect(customers.seen).toMatchObject([
      { method: 'GET', path: `/internal/clients/${id}`, headers: { 'x-correlation-id': 'asking-1' } },
    ])
    const service = { token: system.env.serviceTokens[0] ?? '' }
    const path = `/internal/clients/${id}`
    expect((await system.customers.get(path, service)).body).toEqual({ disabled: false, tokens_from: null })
    await disableClient(system.db, id)
    const tokens_from = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/)
    expect((await system.customers.get(path, service)).body).toEqual({ disabled: true, tokens_from })
    for (const unknown of [newWord(), 'a%2Fb', '%00', '%E2%98%83', 'x'.repeat(1_000)]) {
      expectProblem(await system.customers.get(`/internal/clients/${unknown}`, service), 404, 'not_found')
    }
  })
})

describeEachEngine('attempts to get a token', (engine) => {
  const system = useSystem(engine, { LOGIN_ATTEMPTS_PER_MINUTE: '3', TRUSTED_PROXIES: '2' })

  afterEach(() => vi.useRealTimers())

  const RIGHT = { ...GRANT, client_id: 'demo', client_secret: 'demo-secret' }
  const WRONG = { ...RIGHT, client_secret: 'wrong' }
  let addresses = 0
  const newAddress = () => `198.51.100.${++addresses}`

  /** Sends the header that the inner of two proxies would pass on. */
  const from = (address: string, body: unknown, service: 'customers' | 'orders' = 'orders') =>
    system[service].post('/auth/token', body, { token: null, headers: { 'x-forwarded-for': `${address}, 10.0.0.1` } })

  async function failThrice(address: string): Promise<void> {
    for (let i = 0; i < 3; i++) expectProblem(await from(address, WRONG), 401, 'invalid_client')
  }

  function expectTooMany(response: ApiResponse): void {
    expectProblem(response, 429, 'rate_limited')
    expect(response.headers.get('ratelimit')).toMatch(/^limit=3, remaining=0, reset=\d+$/)
    expect(response.headers.get('ratelimit-policy')).toBe('3;w=60')
    const seconds = Number(response.headers.get('retry-after'))
    expect(seconds).toBeGreaterThan(0)
    expect(seconds).toBeLessThanOrEqual(60)
  }

  it.each(['customers', 'orders'] as const)(
    'when an address fails 4 times in a minute at %s, then only that address must wait',
    async (service) => {
      const address = newAddress()
      for (let i = 0; i < 3; i++) expectProblem(await from(address, WRONG, service), 401, 'invalid_client')
      expectTooMany(await from(address, WRONG, service))
      expectTooMany(await from(address, RIGHT, service))
      expect((await from(newAddress(), RIGHT, service)).status).toBe(200)
    },
  )

  it('when the minute is over, then it may try again', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const address = newAddress()
    await failThrice(address)
    expectTooMany(await from(address, RIGHT))
    vi.advanceTimersByTime(60_000)
    expect((await from(address, RIGHT)).status).toBe(200)
  })

  it('when a client gets its tokens, then that does not count as an attempt', async () => {
    const address = newAddress()
    for (let i = 0; i < 5; i++) {
      const response = await from(address, RIGHT)
      expect(response.status).toBe(200)
      expect(response.headers.get('ratelimit')).toBeNull()
    }
    await failThrice(address)
    expectTooMany(await from(address, RIGHT))
  })

  it.each([
    ['malformed JSON', '{', 'malformed_json'],
    ['a faulty field', { ...RIGHT, client_id: undefined, scope: 7 }, 'validation_failed'],
    ['another grant', { ...RIGHT, grant_type: 'password' }, 'unsupported_grant_type'],
    ['a scope that the client lacks', { ...RIGHT, scope: 'orders:steal' }, 'invalid_scope'],
  ])('when a client sends %s, then that counts as an attempt', async (_, body, code) => {
    const address = newAddress()
    for (let i = 0; i < 3; i++) expectProblem(await from(address, body), 400, code)
    expectTooMany(await from(address, body))
  })

  it('when one client of an address fails, then others at that address need not wait', async () => {
    const address = newAddress()
    const broken = { ...WRONG, client_id: newWord() }
    for (let i = 0; i < 3; i++) expectProblem(await from(address, broken), 401, 'invalid_client')
    for (let i = 0; i < 40; i++) expectTooMany(await from(address, broken))
    expect((await from(address, RIGHT)).status).toBe(200)
    await failThrice(address)
  })

  it('when ten clients of an address have failed, then the whole address must wait', async () => {
    const address = newAddress()
    for (let i = 0; i < 30; i++) {
      expectProblem(await from(address, { ...WRONG, client_id: newWord() }), 401, 'invalid_client')
    }
    const response = await from(address, RIGHT)
    expectProblem(response, 429, 'rate_limited')
    expect(response.headers.get('ratelimit-policy')).toBe('30;w=60')
    expect((await from(newAddress(), RIGHT)).status).toBe(200)
  })

  it('when the id is malformed, absent or in a Basic header, then the attempt counts', async () => {
    const address = newAddress()
    const odd = ['☃', 'x'.repeat(65), '']
    for (const client_id of odd) expectProblem(await from(address, { ...WRONG, client_id }), 401, 'invalid_client')
    expectTooMany(await from(address, { ...WRONG, client_id: 'two words' }))
    expectTooMany(await from(address, GRANT))
    const headers = { ...basic('demo', 'wrong'), 'x-forwarded-for': `${address}, 10.0.0.1` }
    const ask = () => system.orders.post('/auth/token', GRANT, { token: null, headers })
    for (let i = 0; i < 3; i++) expectProblem(await ask(), 401, 'invalid_client')
    expectTooMany(await ask())
    expectTooMany(await from(address, RIGHT))
  })

  it('when many attempts come at once, then no more pass than one after another', async () => {
    const address = newAddress()
    const responses = await Promise.all(Array.from({ length: 20 }, () => from(address, WRONG)))
    expect(responses.filter(({ status }) => status === 401)).toHaveLength(3)
    expect(responses.filter(({ status }) => status === 429)).toHaveLength(17)
  })

  it('when a caller forges X-Forwarded-For, then the entries of trusted proxies count', async () => {
    const address = newAddress()
    await failThrice(`203.0.113.1, ${address}`)
    expectTooMany(await from(`203.0.113.2, ${address}`, RIGHT))
    expectTooMany(await from(`nonsense,,${address} `, RIGHT))
  })

  it.each([
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:db8:1:3::1'],
    ['2001:DB8:7::1', '2001:db8:7:0:1::', '2001:db8:8::1'],
    ['::ffff:192.0.2.7', '192.0.2.7', '::ffff:192.0.2.8'],
  ])('when %s has failed, then %s must wait and %s need not', async (first, same, other) => {
    await failThrice(first)
    expectTooMany(await from(same, RIGHT))
    expect((await from(other, RIGHT)).status).toBe(200)
  })

  it('when no proxy is trusted, then no header changes the address of a caller', async () => {
    const { api } = await serveOrders(system, { logins: { attemptsPerMinute: 3, trustedProxies: 0 } })
    const ask = (body: unknown, headers: Record<string, string>) =>
      api.post('/auth/token', body, { token: null, headers })
    const lies = ['x-forwarded-for', 'forwarded', 'x-real-ip', 'cf-connecting-ip', 'true-client-ip', 'x-client-ip']
    for (let i = 0; i < 3; i++) {
      const headers = Object.fromEntries(lies.map((name) => [name, `198.51.100.${i}`]))
      expectProblem(await ask(WRONG, headers), 401, 'invalid_client')
    }
    for (const name of lies) expectTooMany(await ask(RIGHT, { [name]: '203.0.113.9' }))
  })

  it('when fewer proxies than configured add an entry, then the outermost one counts', async () => {
    const direct = (forwarded: string) =>
      system.orders.post('/auth/token', WRONG, { token: null, headers: { 'x-forwarded-for': forwarded } })
    const address = newAddress()
    for (let i = 0; i < 3; i++) expect((await direct(address)).status).toBe(401)
    expectTooMany(await direct(address))
  })
})

import { describe, expect, it } from 'vitest'
import type { ApiAnswer } from '../../tests/support/api-client.ts'
import { expectFaults, expectProblem } from '../../tests/support/problems.ts'
import { newCustomer, newOrder, newProduct, newWord } from '../../tests/support/rows.ts'
import { serveOrders } from '../../tests/support/services.ts'
import { describeEachEngine, useSystem } from '../../tests/support/system.ts'
import { SCOPES, type Scope } from '../platform/auth.ts'
import { createClient } from './service.ts'

const FORM = 'application/x-www-form-urlencoded'
const GRANT = { grant_type: 'client_credentials' }

interface TestClient {
  id: string
  secret: string
  /** As the fields of a token request. */
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

  /** Each way to say the same. */
  const ways: Record<string, (client: TestClient, rest?: Record<string, string>) => Promise<ApiAnswer>> = {
    'a form': ({ fields }, rest = {}) => sendForm({ ...GRANT, ...fields, ...rest }),
    JSON: ({ fields }, rest = {}) => sendJson({ ...GRANT, ...fields, ...rest }),
    'a form and a Basic header': ({ id, secret }, rest = {}) => sendForm({ ...GRANT, ...rest }, basic(id, secret)),
    'JSON and a Basic header': ({ id, secret }, rest = {}) => sendJson({ ...GRANT, ...rest }, basic(id, secret)),
  }

  describe.each(Object.entries(ways))('asked for with %s', (_, ask) => {
    it('when a client proves who it is, then it gets a token with all its scopes', async () => {
      const answer = await ask(await newClient(['products:read', 'orders:write']))
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-type')).toBe('application/json')
      expect(answer.headers.get('cache-control')).toBe('no-store')
      expect(answer.body).toEqual({
        access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
        token_type: 'Bearer',
        expires_in: 3600,
        scope: 'products:read orders:write',
      })
    })

    it('when fewer scopes are asked for, then the token has those', async () => {
      const client = await newClient(['products:read', 'orders:read', 'orders:write'])
      const { body } = await ask(client, { scope: ' orders:write  products:read orders:write ' })
      expect(body.scope).toBe('orders:write products:read')
    })

    it('when a scope is asked for that the client does not have, then invalid_scope', async () => {
      const answer = await ask(await newClient(['products:read']), { scope: 'products:read orders:read' })
      expectProblem(answer, 400, 'invalid_scope')
      expect(answer.body.error).toBe('invalid_scope')
    })

    it('when the secret is wrong, then it is refused', async () => {
      const client = await newClient()
      const secret = `${client.secret}x`
      const answer = await ask({ ...client, secret, fields: { client_id: client.id, client_secret: secret } })
      expectProblem(answer, 401, 'invalid_client')
    })
  })

  it('when a secret is wrong or a client unknown, then the refusals are the same', async () => {
    const client = await newClient()
    const wrongSecret = await sendJson({ ...GRANT, ...client.fields, client_secret: 'wrong' })
    const unknown = await sendJson({ ...GRANT, ...client.fields, client_id: newWord() })
    for (const answer of [wrongSecret, unknown]) {
      expectProblem(answer, 401, 'invalid_client')
      expect(answer.headers.get('www-authenticate')).toMatch(/^Basic realm=/)
      expect(answer.body.error).toBe('invalid_client')
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

  it.each(['', '%', "' or 1=1 --", 'dèmo', '☃', 'demo\u0000', '\ud800', 'x'.repeat(10_000)])(
    'when the id is %j, then it is unknown',
    async (id) => {
      expectProblem(await sendJson({ ...GRANT, client_id: id, client_secret: 'demo-secret' }), 401, 'invalid_client')
    },
  )

  it('when credentials are missing, in part or in a header of another kind, then invalid_client', async () => {
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
    for (const answer of refused) expectProblem(answer, 401, 'invalid_client')
  })

  it('when a Basic header and fields name two clients, then the header holds', async () => {
    const [one, other] = [await newClient(['orders:read']), await newClient(['orders:write'])]
    const { body } = await sendJson({ ...GRANT, ...other.fields }, basic(one.id, one.secret))
    expect(body.scope).toBe('orders:read')
  })

  it.each(['password', 'authorization_code', 'Client_Credentials', ''])(
    'when the grant type is %j, then unsupported_grant_type',
    async (grant_type) => {
      const { fields } = await newClient()
      const answer = await sendJson({ ...fields, grant_type })
      expectProblem(answer, 400, 'unsupported_grant_type')
      expect(answer.body.error).toBe('unsupported_grant_type')
    },
  )

  it('when the body has faults, then the fields are named', async () => {
    const { fields } = await newClient()
    expectFaults(await sendJson({ ...fields }), ['grant_type'])
    expectFaults(await sendJson({ ...GRANT, ...fields, scope: 7 }), ['scope'])
    expectFaults(await sendJson({ ...GRANT, ...fields, audience: 'orders' }), ['audience'])
    expectFaults(await sendJson('grant_type=a&grant_type=b', { 'content-type': FORM }), ['grant_type'])
  })

  it('when the body is no JSON, or of another type, then 400 or 415', async () => {
    expectProblem(await sendJson('{'), 400, 'malformed_json')
    expectProblem(await sendJson('grant_type', { 'content-type': 'text/plain' }), 415, 'unsupported_media_type')
    expectProblem(await sendJson(undefined), 415, 'unsupported_media_type')
  })

  it('when a token comes from either service, then it opens the routes of both, as far as its scopes go', async () => {
    const { fields } = await newClient(['customers:read', 'products:read'])
    for (const service of ['customers', 'orders'] as const) {
      const token = (await sendJson({ ...GRANT, ...fields }, {}, service)).body.access_token
      expect((await system.customers.get('/customers/1', { token })).status).toBe(200)
      expect((await system.orders.get('/products/1', { token })).status).toBe(200)
      expectProblem(await system.orders.get('/orders/1', { token }), 403, 'insufficient_scope')
    }
  })

  it('when the scopes were narrowed, then the token opens no more than they say', async () => {
    const { fields } = await newClient(['products:read', 'orders:read'])
    const token = (await sendJson({ ...GRANT, ...fields, scope: 'orders:read' })).body.access_token
    expect((await system.orders.get('/orders/1', { token })).status).toBe(200)
    expectProblem(await system.orders.get('/products/1', { token }), 403, 'insufficient_scope')
  })

  it('when the client is bound to a customer, then its token sees that one only', async () => {
    const [own, other, product] = [await newCustomer(system), await newCustomer(system), await newProduct(system)]
    const order = await newOrder(system, [{ product_id: product.id, qty: 1 }], { customer_id: own.id })
    const { fields } = await newClient(SCOPES, own.id)
    const token = (await sendJson({ ...GRANT, ...fields })).body.access_token
    expect((await system.customers.get(`/customers/${own.id}`, { token })).status).toBe(200)
    expectProblem(await system.customers.get(`/customers/${other.id}`, { token }), 404, 'not_found')
    expect((await system.orders.get(`/orders/${order.id}`, { token })).status).toBe(200)
    expectProblem(await system.orders.get('/orders/1', { token }), 404, 'not_found')
  })

  it('when the demo client asks, then it gets a token with every scope, but none in production', async () => {
    const demo = { ...GRANT, client_id: 'demo', client_secret: 'demo-secret' }
    expect((await sendJson(demo)).body.scope).toBe(SCOPES.join(' '))
    const { api } = await serveOrders(system, { production: true })
    for (const id of ['demo', 'demo ']) {
      expectProblem(await api.post('/auth/token', { ...demo, client_id: id }, { token: null }), 401, 'invalid_client')
    }
  })

  it('when an identity provider issues the tokens, then there is no such route', async () => {
    const { api } = await serveOrders(system, { jwt: { ...system.env.jwt, jwksUrl: 'https://id.example/jwks' } })
    expectProblem(await api.post('/auth/token', GRANT), 404, 'route_not_found')
  })

  it('when a client is made, then its secret is kept nowhere', async () => {
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

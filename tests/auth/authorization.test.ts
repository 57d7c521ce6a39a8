import { beforeAll, describe, expect, it } from 'vitest'
import { SCOPES, type Scope } from '../../src/compose/modules.ts'
import { createClient, disableClient, rotateSecret } from '../../src/identity/service.ts'
import {
  ask,
  BAD_TOKENS,
  ENVIRONMENT,
  expectInvalidToken,
  expectOpen,
  expectRefusal,
  goodToken,
  operations,
  SERVICE_TOKENS,
  withClaims,
} from '../../testing/access.ts'
import type { ApiRequest, ApiResponse } from '../../testing/api-client.ts'
import type { ListedEvent } from '../../testing/feed.ts'
import { isOpen, type Operation } from '../../testing/openapi.ts'
import { expectProblem } from '../../testing/problems.ts'
import { newCustomer, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'
import { type Claims, secondsFromNow } from '../../testing/tokens.ts'

interface Rule {
  /** A token with this scope, the service token, or nothing. */
  needs: Scope | 'service token' | 'nothing'
  /** What a bound client gets when it asks for a row of another customer. */
  bound?: 'not_found' | 'bound_client' | 'sees its own' | 'sees its own and products' | 'belongs to no customer'
}

/** Every route of the three documents. Add a new route here before it is served. */
const RULES: Record<string, Rule> = {
  'customers: GET /health': { needs: 'nothing' },
  'customers: GET /ready': { needs: 'nothing' },
  'customers: GET /internal/ping': { needs: 'service token' },
  'customers: POST /auth/token': { needs: 'nothing' },
  'customers: POST /customers': { needs: 'customers:write', bound: 'bound_client' },
  'customers: GET /customers': { needs: 'customers:read', bound: 'sees its own' },
  'customers: GET /customers/{id}': { needs: 'customers:read', bound: 'not_found' },
  'customers: PUT /customers/{id}': { needs: 'customers:write', bound: 'not_found' },
  'customers: DELETE /customers/{id}': { needs: 'customers:write', bound: 'not_found' },
  'customers: POST /customers/{id}/erase': { needs: 'customers:write', bound: 'not_found' },
  'customers: GET /internal/clients/{id}': { needs: 'service token' },
  'customers: POST /internal/customers/lookups': { needs: 'service token' },
  'customers: GET /internal/customers/{id}': { needs: 'service token' },
  'orders: GET /health': { needs: 'nothing' },
  'orders: GET /ready': { needs: 'nothing' },
  'orders: POST /auth/token': { needs: 'nothing' },
  'orders: POST /products': { needs: 'products:write', bound: 'belongs to no customer' },
  'orders: GET /products': { needs: 'products:read', bound: 'belongs to no customer' },
  'orders: GET /products/{id}': { needs: 'products:read', bound: 'belongs to no customer' },
  'orders: PATCH /products/{id}': { needs: 'products:write', bound: 'belongs to no customer' },
  'orders: POST /products/{id}/stock-adjustments': { needs: 'products:write', bound: 'belongs to no customer' },
  'orders: GET /products/{id}/stock-adjustments': { needs: 'products:read', bound: 'belongs to no customer' },
  'orders: POST /orders': { needs: 'orders:write', bound: 'not_found' },
  'orders: POST /orders/preview': { needs: 'orders:write', bound: 'not_found' },
  'orders: GET /orders': { needs: 'orders:read', bound: 'sees its own' },
  'orders: GET /orders/{id}': { needs: 'orders:read', bound: 'not_found' },
  'orders: PATCH /orders/{id}': { needs: 'orders:write', bound: 'not_found' },
  'orders: POST /orders/{id}/confirm': { needs: 'orders:write', bound: 'not_found' },
  'orders: POST /orders/{id}/cancel': { needs: 'orders:write', bound: 'not_found' },
  'orders: GET /events': { needs: 'events:read', bound: 'sees its own and products' },
  'orders: GET /orders/{id}/history': { needs: 'events:read', bound: 'not_found' },
  'orders: POST /webhook-endpoints': { needs: 'webhooks:write', bound: 'not_found' },
  'orders: GET /webhook-endpoints': { needs: 'webhooks:read', bound: 'sees its own' },
  'orders: GET /webhook-endpoints/{id}': { needs: 'webhooks:read', bound: 'not_found' },
  'orders: PATCH /webhook-endpoints/{id}': { needs: 'webhooks:write', bound: 'not_found' },
  'orders: DELETE /webhook-endpoints/{id}': { needs: 'webhooks:write', bound: 'not_found' },
  'orders: POST /webhook-endpoints/{id}/rotate-secret': { needs: 'webhooks:write', bound: 'not_found' },
  'orders: POST /webhook-endpoints/{id}/ping': { needs: 'webhooks:write', bound: 'not_found' },
  'orders: POST /webhook-endpoints/{id}/recover': { needs: 'webhooks:write', bound: 'not_found' },
  'orders: GET /webhook-endpoints/{id}/deliveries': { needs: 'webhooks:read', bound: 'not_found' },
  'orders: GET /webhook-deliveries/{id}': { needs: 'webhooks:read', bound: 'not_found' },
  'orders: POST /webhook-deliveries/{id}/redeliver': { needs: 'webhooks:write', bound: 'not_found' },
  'orders: GET /idempotency-keys': { needs: 'support:read', bound: 'bound_client' },
  'orders: GET /internal/ping': { needs: 'service token' },
  'orders: POST /internal/orders/placements': { needs: 'service token' },
  'orchestrator: GET /health': { needs: 'nothing' },
  'orchestrator: GET /ready': { needs: 'nothing' },
  'orchestrator: POST /orchestrator/create-and-confirm-order': { needs: 'orders:write', bound: 'not_found' },
}

type Outcome = 'opens' | 'unauthorized' | 'invalid_token' | 'insufficient_scope'

/** Tokens of clients that are in the database. */
interface Issued {
  good: string
  ofDisabled: string
  beforeRotation: string
  afterRotation: string
}

interface Bearer {
  who: string
  request(rule: Rule, issued: Issued): ApiRequest
  /**
   * The outcome at a route that needs a scope, and at one that needs the service token. Public routes accept everyone.
   */
  responses: { scope: Outcome | ((scope: Scope) => Outcome); service: Outcome }
}

const REFUSED = { scope: 'invalid_token', service: 'invalid_token' } as const
const CALLER = { scope: 'opens', service: 'invalid_token' } as const
const LACKING = { scope: 'insufficient_scope', service: 'invalid_token' } as const
const NOBODY = { scope: 'unauthorized', service: 'unauthorized' } as const
const SERVICE = {
  scope: (scope: Scope): Outcome => (scope.startsWith('orders:') ? 'opens' : 'insufficient_scope'),
  service: 'opens',
} as const

const showing = (token: string): ApiRequest => ({ token })
const withHeader = (authorization: string): ApiRequest => ({ token: null, headers: { authorization } })
const claiming = (claimsFor: (scope: string) => Claims) => (rule: Rule) => showing(withClaims(claimsFor(rule.needs)))
const others = (needed: string) => SCOPES.filter((scope) => scope !== needed).join(' ')

const BAD_HEADERS: Record<string, (token: string) => string> = {
  'is empty': () => '',
  'is the token alone': (token) => token,
  'has a scheme and no token': () => 'Bearer',
  'has another scheme': (token) => `Token ${token}`,
  'is Basic': () => `Basic ${btoa('demo:demo-secret')}`,
  'has two tokens': (token) => `Bearer ${token} ${token}`,
  'has two credentials': (token) => `Bearer ${token}, Bearer ${token}`,
  'has the token in quotes': (token) => `Bearer "${token}"`,
}

const ALMOST_SERVICE_TOKENS: Record<string, string> = {
  'lacks its end': SERVICE_TOKENS[0].slice(0, -1),
  'has an extra character': `${SERVICE_TOKENS[0]}0`,
  'is in capitals': SERVICE_TOKENS[0].toUpperCase(),
  'is both joined': SERVICE_TOKENS.join(''),
  'is the published one': 'internal123',
}

const unusual = () => withClaims({ iat: secondsFromNow(5), aud: ['others', 'b2b-orders'], nbf: secondsFromNow(-60) })

const BEARERS: Bearer[] = [
  { who: 'without a token', request: () => ({ token: null }), responses: NOBODY },
  ...Object.entries(BAD_HEADERS).map(([fault, header]) => ({
    who: `whose Authorization header ${fault}`,
    request: ({ needs }: Rule) => withHeader(header(needs === 'service token' ? SERVICE_TOKENS[0] : goodToken())),
    responses: REFUSED,
  })),
  ...Object.entries(BAD_TOKENS).map(([fault, token]) => ({
    who: `whose token ${fault}`,
    request: () => showing(token()),
    responses: REFUSED,
  })),
  { who: 'with every scope', request: () => showing(goodToken()), responses: CALLER },
  { who: 'with the one scope', request: claiming((scope) => ({ scope })), responses: CALLER },
  { who: 'with an unusual token', request: () => showing(unusual()), responses: CALLER },
  ...['bearer', 'BEARER '].map((scheme) => ({
    who: `who writes "${scheme}"`,
    request: () => withHeader(`${scheme} ${goodToken()}`),
    responses: CALLER,
  })),
  { who: 'with every other scope', request: claiming((scope) => ({ scope: others(scope) })), responses: LACKING },
  { who: 'with no scope', request: claiming(() => ({ scope: '' })), responses: LACKING },
  { who: 'without a scope claim', request: claiming(() => ({ scope: undefined })), responses: LACKING },
  {
    who: 'with scopes that look alike',
    request: claiming((scope) => ({ scope: `${scope}:all x${scope} ${scope.toUpperCase()}` })),
    responses: LACKING,
  },
  ...SERVICE_TOKENS.map((token, i) => ({
    who: `with service token ${i + 1}`,
    request: () => showing(token),
    responses: SERVICE,
  })),
  ...Object.entries(ALMOST_SERVICE_TOKENS).map(([fault, token]) => ({
    who: `whose service token ${fault}`,
    request: () => showing(token),
    responses: REFUSED,
  })),
  { who: 'who is a client', request: (_, { good }) => showing(good), responses: CALLER },
  { who: 'who is a disabled client', request: (_, { ofDisabled }) => showing(ofDisabled), responses: REFUSED },
  {
    who: 'with a token from before a rotation',
    request: (_, { beforeRotation }) => showing(beforeRotation),
    responses: REFUSED,
  },
  {
    who: 'with a token from after a rotation',
    request: (_, { afterRotation }) => showing(afterRotation),
    responses: CALLER,
  },
]

function outcomeOf({ needs }: Rule, { responses }: Bearer): Outcome {
  if (needs === 'nothing') return 'opens'
  if (needs === 'service token') return responses.service
  return typeof responses.scope === 'string' ? responses.scope : responses.scope(needs)
}

function expectOutcome(operation: Operation, { needs }: Rule, response: ApiResponse, outcome: Outcome): void {
  if (outcome === 'opens') expectOpen(operation, response)
  if (outcome === 'invalid_token') expectInvalidToken(operation, response)
  if (outcome === 'unauthorized') {
    expectRefusal(operation, response, 401, 'unauthorized')
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="b2b-orders"')
  }
  if (outcome === 'insufficient_scope') {
    expectRefusal(operation, response, 403, 'insufficient_scope')
    expect(response.body.scope).toBe(needs)
    expect(response.headers.get('www-authenticate')).toBe(
      `Bearer realm="b2b-orders", error="insufficient_scope", scope="${needs}"`,
    )
  }
}

async function issueTokens(system: TestSystem): Promise<Issued> {
  const make = async (id: string) => {
    const { clientSecret } = await createClient(system.db, { id, name: id, scopes: SCOPES, customerId: null })
    return clientSecret
  }
  const tokenFor = async (client_id: string, client_secret: string | undefined): Promise<string> => {
    const body = { grant_type: 'client_credentials', client_id, client_secret }
    return (await system.orders.post('/auth/token', body, { token: null })).body.access_token
  }
  const good = await tokenFor('good', await make('good'))
  const ofDisabled = await tokenFor('disabled', await make('disabled'))
  await disableClient(system.db, 'disabled')
  const beforeRotation = await tokenFor('rotated', await make('rotated'))
  const rotated = await rotateSecret(system.db, 'rotated')
  return { good, ofDisabled, beforeRotation, afterRotation: await tokenFor('rotated', rotated?.clientSecret) }
}

/** Its address is public, so it needs no name server, and nothing is sent to it here. */
const ENDPOINT = { url: 'https://8.8.8.8/', event_types: ['order.*'] }

async function newEndpointOf(system: TestSystem, customer_id: number): Promise<number> {
  const { status, body } = await system.orders.post('/webhook-endpoints', { ...ENDPOINT, customer_id })
  expect(status).toBe(201)
  return body.id
}

async function newDeliveryTo({ db }: TestSystem, endpoint_id: number): Promise<number> {
  const event = { event_id: 9, event_type: 'order.placed', position: 9, resource_type: 'order', resource_id: 1 }
  const row = {
    ...event,
    endpoint_id,
    status: 'pending',
    next_attempt_at: null,
    created_at: '2026-01-07 10:15:01.000',
  } as const
  const { insertId } = await db.insertInto('webhook_deliveries').values(row).executeTakeFirstOrThrow()
  return Number(insertId)
}

it('when a route is documented, then it has an access rule, and no other rule exists', () => {
  expect(operations.map(({ title }) => title).sort()).toEqual(Object.keys(RULES).sort())
})

const ROUTES = operations.map((operation) => ({
  title: operation.title,
  operation,
  rule: RULES[operation.title] ?? { needs: 'service token' as const },
}))
const titlesOf = (routes: typeof ROUTES) => routes.map((route) => [route.title, route] as const)

it.each(titlesOf(ROUTES))(
  'when the document of %s is read, then it says what the rule says',
  (_, { operation, rule }) => {
    expect(isOpen(operation)).toBe(rule.needs === 'nothing')
    if (isOpen(operation)) return
    const scoped = expect.arrayContaining([{ bearer: [rule.needs] }])
    expect(operation.security).toEqual(rule.needs === 'service token' ? [{ serviceToken: [] }] : scoped)
  },
)

describeEachEngine('access rules', (engine) => {
  const system = useSystem(engine, ENVIRONMENT)
  let issued: Issued

  beforeAll(async () => {
    issued = await issueTokens(system)
  })

  describe.each(titlesOf(ROUTES))('%s', (_, { operation, rule }) => {
    it.each(BEARERS.map((bearer) => [bearer.who, outcomeOf(rule, bearer), bearer] as const))(
      'when a caller comes %s, then: %s',
      async (_, outcome, bearer) => {
        expectOutcome(operation, rule, await ask(system, operation, bearer.request(rule, issued)), outcome)
      },
    )
  })

  const closed = ROUTES.filter(({ rule }) => rule.needs !== 'nothing')

  it.each(titlesOf(closed))('when the token is in the query of %s, then it is ignored', async (_, route) => {
    const { operation, rule } = route
    const { service, method, path } = operation
    const query = `?access_token=${rule.needs === 'service token' ? SERVICE_TOKENS[0] : goodToken()}`
    const response = await system[service].call(method, path.replace('{id}', '1') + query, { token: null })
    expectOutcome(operation, rule, response, 'unauthorized')
  })

  const scoped = closed.filter(({ rule }) => rule.needs !== 'service token')

  it.each(titlesOf(scoped))(
    'when a bound client asks for a foreign row by %s, then as the rule says',
    async (_, route) => {
      const { operation, rule } = route
      const [own, other, product] = [await newCustomer(system), await newCustomer(system), await newProduct(system)]
      const items = [{ product_id: product.id, qty: 1 }]
      const orderOfOther = await newOrder(system, items, { customer_id: other.id })
      await newOrder(system, items, { customer_id: own.id })
      const [endpointOfOther] = [await newEndpointOf(system, other.id), await newEndpointOf(system, own.id)]
      const deliveryToOther = await newDeliveryTo(system, endpointOfOther)
      const token = withClaims({ sub: newKey(), customer_id: own.id })

      const bodies: Record<string, object> = {
        'POST /customers': { name: 'New', email: `${newKey()}@example.com` },
        'PUT /customers/{id}': { name: 'Mine', email: `${newKey()}@example.com` },
        'POST /products': { sku: newKey(), name: 'New', price_cents: 1, stock: 1 },
        'PATCH /products/{id}': { name: 'New' },
        'POST /products/{id}/stock-adjustments': { delta: 1, reason: 'found' },
        'POST /orders': { customer_id: other.id, items },
        'POST /orders/preview': { customer_id: other.id, items },
        'PATCH /orders/{id}': { notes: 'mine' },
        'POST /orders/{id}/cancel': {},
        'POST /webhook-endpoints': { ...ENDPOINT, customer_id: other.id },
        'PATCH /webhook-endpoints/{id}': { status: 'disabled' },
        'POST /webhook-endpoints/{id}/rotate-secret': {},
        'POST /webhook-endpoints/{id}/ping': {},
        'POST /webhook-endpoints/{id}/recover': { since: '2026-01-01' },
        'POST /webhook-deliveries/{id}/redeliver': {},
        'POST /orchestrator/create-and-confirm-order': { customer_id: other.id, items },
      }
      const queries: Record<string, string> = {
        'GET /idempotency-keys': '?key=abc-123',
        'GET /events': '?types=order.*',
      }
      const { service, method, path } = operation
      const ids: Record<string, number> = {
        customers: other.id,
        products: product.id,
        orders: orderOfOther.id,
        'webhook-endpoints': endpointOfOther,
        'webhook-deliveries': deliveryToOther,
      }
      const id = ids[path.split('/')[1] ?? ''] ?? 0
      const body = bodies[`${method} ${path}`]
      const headers = { 'idempotency-key': newKey() }
      const query = queries[`${method} ${path}`] ?? ''
      const response = await system[service].call(method, path.replace('{id}', String(id)) + query, {
        token,
        headers,
        ...(body && { body }),
      })

      if (rule.bound === 'not_found') expectProblem(response, 404, 'not_found')
      if (rule.bound === 'bound_client') expectProblem(response, 403, 'bound_client')
      if (rule.bound === 'belongs to no customer') expect([200, 201]).toContain(response.status)
      if (rule.bound === 'sees its own') {
        const rows: { id: number; customer_id?: number; data?: { order: { customer_id: number } } }[] =
          response.body.data
        expect(rows.map((row) => row.data?.order.customer_id ?? row.customer_id ?? row.id)).toEqual([own.id])
      }
      if (rule.bound === 'sees its own and products') {
        const events: ListedEvent[] = response.body.data
        const others = events.filter(({ resource }) => resource.type !== 'product')
        expect(others.map(({ data }) => data.order.customer_id)).toEqual([own.id])
      }
      expect(rule.bound).toBeDefined()
      expect((await system.orders.get(`/orders/${orderOfOther.id}`)).body.status).toBe('CREATED')
      expect((await system.customers.get(`/customers/${other.id}`)).body).toMatchObject({ version: 1 })
    },
  )
})

describeEachEngine('idempotency keys of clients bound to a customer', (engine) => {
  const system = useSystem(engine, ENVIRONMENT)
  const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'

  /** Two customers, and the requests of one subject for each of them under one key. */
  async function twoBindings() {
    const [one, other, product] = [await newCustomer(system), await newCustomer(system), await newProduct(system)]
    const [sub, key] = [newKey(), newKey()]
    const bound = (customer: { id: number }) => {
      const request = { token: withClaims({ sub, customer_id: customer.id }), headers: { 'idempotency-key': key } }
      const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }] }
      return {
        place: () => system.orders.post('/orders', order, request),
        confirm: (id: number) => system.orders.post(`/orders/${id}/confirm`, undefined, request),
        cancel: (id: number) => system.orders.post(`/orders/${id}/cancel`, undefined, request),
        orchestrate: () => system.orchestrator.post(CREATE_AND_CONFIRM, order, request),
      }
    }
    const owners = async () => {
      const rows = await system.db.selectFrom('idempotency_keys').select('principal').where('key', '=', key).execute()
      return rows.map(({ principal }) => principal.replace(sub, 'sub')).sort()
    }
    return { one: bound(one), other: bound(other), ids: { one: one.id, other: other.id }, owners }
  }

  function expectReplay(again: ApiResponse, first: ApiResponse): void {
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(again.text).toBe(first.text)
  }

  it('another binding of the subject places its own order under the same key', async () => {
    const { one, other, ids } = await twoBindings()
    const first = await one.place()
    const second = await other.place()
    expect(first.body.customer_id).toBe(ids.one)
    expect(second.body.customer_id).toBe(ids.other)
    expect(second.headers.get('idempotent-replayed')).toBeNull()
    expectReplay(await one.place(), first)
    expectReplay(await other.place(), second)
  })

  it('another binding gets 404 for the confirmed order under the same key', async () => {
    const { one, other } = await twoBindings()
    const { id } = (await one.place()).body
    const first = await one.confirm(id)
    expect(first.status).toBe(200)
    expectProblem(await other.confirm(id), 404, 'not_found')
    expectReplay(await one.confirm(id), first)
  })

  it('another binding gets 404 for the canceled order under the same key', async () => {
    const { one, other } = await twoBindings()
    const { id } = (await one.place()).body
    const first = await one.cancel(id)
    expect(first.status).toBe(200)
    expectProblem(await other.cancel(id), 404, 'not_found')
    expectReplay(await one.cancel(id), first)
  })

  it('another binding does not get the first one’s order through the orchestrator', async () => {
    const { one, other, ids } = await twoBindings()
    const first = await one.orchestrate()
    expect(first.body.data.customer.id).toBe(ids.one)
    expect((await other.orchestrate()).text).not.toContain(`"id":${first.body.data.order.id},`)
    expect((await one.orchestrate()).body.data).toEqual(first.body.data)
  })

  it('the first response is stored where the previous version looks for it', async () => {
    const { one, other, ids, owners } = await twoBindings()
    await one.place()
    expect(await owners()).toEqual(['client:sub'])
    await other.place()
    expect(await owners()).toEqual(['client:sub', `client:sub#${ids.other}`])
  })

  it('each binding gets one order when both place at once and retry', async () => {
    const { one, other, ids, owners } = await twoBindings()
    const responses = await Promise.all([one, other, one, other, one, other].map(({ place }) => place()))
    expect(responses.map(({ status }) => status)).toEqual(Array(6).fill(201))
    const [first, second, ...again] = responses.map(({ text }) => text)
    expect(again).toEqual([first, second, first, second])
    expect(responses.map(({ body }) => body.customer_id)).toEqual(Array(3).fill([ids.one, ids.other]).flat())
    expect(await owners()).toHaveLength(2)
  })

  it('a bound token gets its own order under a key that an unbound one used', async () => {
    const [customer, product] = [await newCustomer(system), await newProduct(system)]
    const [sub, headers] = [newKey(), { 'idempotency-key': newKey() }]
    const place = (customer_id: number, token: string) =>
      system.orders.post('/orders', { customer_id, items: [{ product_id: product.id, qty: 1 }] }, { token, headers })
    const unbound = await place(1, withClaims({ sub }))
    const bound = await place(customer.id, withClaims({ sub, customer_id: customer.id }))
    expect([bound.status, bound.body.customer_id]).toEqual([201, customer.id])
    expectReplay(await place(customer.id, withClaims({ sub, customer_id: customer.id })), bound)
    expectReplay(await place(1, withClaims({ sub })), unbound)
  })
})

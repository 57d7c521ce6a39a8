import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { SCOPES } from '../../src/compose/modules.ts'
import {
  ask,
  BAD_TOKENS,
  ENVIRONMENT,
  expectInvalidToken,
  expectOpen,
  expectRefusal,
  goodClaims,
  goodToken,
  HS256,
  internal,
  internalOfProvider,
  JWT_SECRET,
  needingScope,
  operations,
  SERVICE_TOKENS,
  titled,
  withClaims,
} from '../../testing/access.ts'
import type { ApiResponse } from '../../testing/api-client.ts'
import { freePort } from '../../testing/database-server.ts'
import { type IdentityProvider, PROVIDER_ALGORITHMS, startIdentityProvider } from '../../testing/identity-provider.ts'
import { type Operation, operationsOf, readDocuments, SERVICES, scopeOf } from '../../testing/openapi.ts'
import { expectProblem } from '../../testing/problems.ts'
import { newKey, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, startSystem, type TestSystem, useSystem } from '../../testing/system.ts'
import {
  type Claims,
  forgeToken,
  secondsFromNow,
  withoutSignature,
  withPrivateKey,
  withSecret,
  withStrangersKey,
} from '../../testing/tokens.ts'

/** The pause after a failed fetch of the keys of an identity provider. */
const PAUSE_MS = 5_000

describe('an orchestrator that is open to anonymous callers', () => {
  const system = useSystem('sqlite', { ...ENVIRONMENT, ORCHESTRATOR_PUBLIC: 'true' })
  const [operation] = needingScope.filter(({ service }) => service === 'orchestrator')
  if (operation === undefined) throw new Error('the orchestrator documents no route')

  it('when there is no token, then the call is accepted', async () => {
    expectOpen(operation, await ask(system, operation, { token: null }))
  })

  it('when there is a bad token, then it is refused and not taken as anonymous', async () => {
    for (const token of Object.values(BAD_TOKENS)) {
      expectInvalidToken(operation, await ask(system, operation, { token: token() }))
    }
    const response = await ask(system, operation, { token: withClaims({ scope: 'orders:read' }) })
    expectRefusal(operation, response, 403, 'insufficient_scope')
  })

  it('when the other services are called without a token, then 401', async () => {
    for (const other of [...needingScope, ...internal].filter(({ service }) => service !== 'orchestrator')) {
      expectRefusal(other, await ask(system, other, { token: null }), 401, 'unauthorized')
    }
  })
})

describe('tokens of an identity provider', () => {
  let provider: IdentityProvider
  let system: TestSystem
  let stop: () => Promise<void>

  beforeAll(async () => {
    provider = await startIdentityProvider()
    const started = await startSystem('sqlite', { ...ENVIRONMENT, JWKS_URL: provider.jwksUrl })
    system = started.system
    stop = started.stop
  })
  afterAll(async () => {
    await stop()
    await provider.stop()
  })

  describe.each(PROVIDER_ALGORITHMS)('by %s', (alg) => {
    it('when the token is good, then it opens every protected route', async () => {
      for (const operation of needingScope) {
        const token = await provider.sign(alg, { ...goodClaims(), scope: scopeOf(operation) })
        expectOpen(operation, await ask(system, operation, { token }))
      }
    })

    it('when audience, time or issuer of the token is wrong, then 401', async () => {
      const faults: Claims[] = [
        { iss: 'somebody' },
        { iss: undefined },
        { aud: 'another-api' },
        { aud: undefined },
        { exp: secondsFromNow(-60) },
        { exp: undefined },
        { nbf: secondsFromNow(300) },
        { sub: undefined },
      ]
      for (const operation of needingScope) {
        for (const fault of faults) {
          const token = await provider.sign(alg, { ...goodClaims(), ...fault })
          expectInvalidToken(operation, await ask(system, operation, { token }))
        }
      }
    })

    it('when the token was changed after it was signed, then 401', async () => {
      const [header, , signature] = (await provider.sign(alg, { ...goodClaims(), scope: '' })).split('.')
      const [, claims] = (await provider.sign(alg, goodClaims())).split('.')
      for (const operation of needingScope) {
        expectInvalidToken(operation, await ask(system, operation, { token: [header, claims, signature].join('.') }))
      }
    })

    it('when the scope is missing, then 403', async () => {
      for (const operation of needingScope) {
        const scope = SCOPES.filter((other) => other !== scopeOf(operation)).join(' ')
        const token = await provider.sign(alg, { ...goodClaims(), scope })
        expectRefusal(operation, await ask(system, operation, { token }), 403, 'insufficient_scope')
      }
    })

    it('when its key has an unknown id, then 401', async () => {
      for (const operation of needingScope) {
        const token = await provider.sign(alg, goodClaims(), { kid: 'unknown' })
        expectInvalidToken(operation, await ask(system, operation, { token }))
      }
    })
  })

  const FORGED: Record<string, () => string> = {
    'is signed with our old secret': goodToken,
    'is signed with the text of a public key': () => {
      const { kid, publicText } = provider.keys.RS256
      return forgeToken({ ...HS256, kid }, goodClaims(), withSecret(publicText))
    },
    'claims to be RS256 and is signed with the text of the public key': () => {
      const { kid, publicText } = provider.keys.RS256
      return forgeToken({ alg: 'RS256', kid }, goodClaims(), withSecret(publicText))
    },
    "is signed with a stranger's key under a known id": () =>
      forgeToken({ alg: 'RS256', kid: provider.keys.RS256.kid }, goodClaims(), withStrangersKey()),
    'says RS256 and names the key of ES256': () =>
      forgeToken({ alg: 'RS256', kid: provider.keys.ES256.kid }, goodClaims(), withStrangersKey()),
    'brings its own key': () => {
      const jwk = { kty: 'oct', k: Buffer.from('mine').toString('base64url') }
      return forgeToken({ ...HS256, jwk }, goodClaims(), withSecret('mine'))
    },
    'says alg none': () => forgeToken({ alg: 'none' }, goodClaims(), withoutSignature),
    'is not a token': () => 'nonsense',
    'fills the headers': () => `${'x'.repeat(15_000)}.e30.e30`,
    'has a path as key id': () =>
      forgeToken({ alg: 'RS256', kid: '../../../../dev/null' }, goodClaims(), withSecret('')),
    'has a key id that is not text': () => forgeToken({ alg: 'RS256', kid: {} }, goodClaims(), withoutSignature),
    'names its own key set': () =>
      forgeToken({ alg: 'RS256', jku: provider.jwksUrl, kid: 'mine' }, goodClaims(), withStrangersKey()),
  }

  it.each(Object.entries(FORGED))('when the token %s, then it opens nothing', async (_, token) => {
    for (const operation of [...needingScope, ...internalOfProvider]) {
      expectInvalidToken(operation, await ask(system, operation, { token: token() }))
    }
  })

  it.each([
    ['a critical extension', { crit: ['exp'], exp: 1 }],
    ['a payload that is not encoded', { crit: ['b64'], b64: false }],
    ['the type of a logout', { typ: 'logout+jwt' }],
    ['the type of an event', { typ: 'application/secevent+jwt' }],
    ['a type that is not text', { typ: 7 }],
  ])('when a well signed token has %s, then 401', async (_, header) => {
    const all = { alg: 'RS256', kid: provider.keys.RS256.kid, ...header }
    const sign = withPrivateKey(provider.keys.RS256.privateKey)
    for (const operation of needingScope) {
      expectInvalidToken(operation, await ask(system, operation, { token: forgeToken(all, goodClaims(), sign) }))
    }
  })

  it.each(['JWT', 'jwt', 'at+jwt', 'application/at+jwt'])('when its type is %j, then it is accepted', async (typ) => {
    const token = await provider.sign('RS256', goodClaims(), { typ })
    expect((await system.customers.get('/customers/1', { token })).status).toBe(200)
  })

  it('when it has several audiences and ours is among them, then it is accepted', async () => {
    const token = await provider.sign('ES256', { ...goodClaims(), aud: ['account', 'b2b-orders'] })
    expect((await system.customers.get('/customers/1', { token })).status).toBe(200)
  })

  it.each(PROVIDER_ALGORITHMS)('when a token by %s is out of date by up to 5 s, then it is accepted', async (alg) => {
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => void vi.useRealTimers())
    const [operation] = needingScope
    if (operation === undefined) throw new Error('no route needs a scope')
    const askWith = async (claims: Claims) =>
      ask(system, operation, { token: await provider.sign(alg, { ...goodClaims(), ...claims }) })
    for (const claims of [{ exp: secondsFromNow(-4) }, { nbf: secondsFromNow(5) }]) {
      expectOpen(operation, await askWith(claims))
    }
    for (const claims of [{ exp: secondsFromNow(-6) }, { nbf: secondsFromNow(6) }]) {
      expectInvalidToken(operation, await askWith(claims))
    }
  })

  it.each([0, -1, 1.5, null, '', '0', '01', '1.5', 'one', '99999999999999999', [1], { id: 1 }, true])(
    'when the customer of a token is %j, then 401',
    async (customer_id) => {
      for (const operation of needingScope) {
        const token = await provider.sign('ES256', { ...goodClaims(), customer_id })
        expectInvalidToken(operation, await ask(system, operation, { token }))
      }
    },
  )

  it('when an internal route gets a good token, then 401: it needs the service token', async () => {
    const token = await provider.sign('RS256', goodClaims())
    for (const operation of internalOfProvider) {
      expectInvalidToken(operation, await ask(system, operation, { token }))
      expectOpen(operation, await ask(system, operation, { token: SERVICE_TOKENS[1] }))
    }
  })

  it('when the token is bound to a customer, then any other does not exist for it', async () => {
    for (const customer_id of [1, '1']) {
      const token = await provider.sign('ES256', { ...goodClaims(), customer_id })
      expect((await system.customers.get('/customers/1', { token })).status).toBe(200)
      expectProblem(await system.customers.get('/customers/2', { token }), 404, 'not_found')
    }
  })

  it('when the orchestrator places an order, then the services accept each other', async () => {
    const token = await provider.sign('EdDSA', { ...goodClaims(), scope: 'orders:write' })
    const order = { customer_id: 1, items: [{ product_id: 3, qty: 1 }], idempotency_key: newKey() }
    const response = await system.orchestrator.post('/orchestrator/create-and-confirm-order', order, { token })
    expect(response.status).toBe(201)
  })

  it('when a token is asked for, then the route is neither served nor documented', async () => {
    const demo = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }
    for (const api of [system.customers, system.orders]) {
      expectProblem(await api.post('/auth/token', demo, { token: null }), 404, 'route_not_found')
      expectProblem(await api.get('/auth/token', { token: null }), 404, 'route_not_found')
    }
    const theirs = await readDocuments({ JWKS_URL: provider.jwksUrl })
    for (const service of SERVICES) {
      expect(Object.keys(theirs[service].paths)).not.toContain('/auth/token')
      expect(Object.keys(theirs[service].paths)).not.toContain('/internal/clients/{id}')
      expect(Object.keys(theirs[service].components.securitySchemes)).not.toContain('oauth2')
    }
    const scopes = (some: Operation[]) => new Map(some.map((operation) => [operation.title, scopeOf(operation)]))
    expect(scopes(operationsOf(theirs).filter((operation) => scopeOf(operation)))).toEqual(scopes(needingScope))
  })

  it('when many callers come at once, then each service fetches the keys once', async () => {
    const asked = await startIdentityProvider()
    onTestFinished(() => asked.stop())
    const started = await startSystem('sqlite', { ...ENVIRONMENT, JWKS_URL: asked.jwksUrl })
    onTestFinished(() => started.stop())
    const token = await asked.sign('RS256', goodClaims())
    const call = () => started.system.customers.get('/customers/1', { token })
    const responses = await Promise.all(Array.from({ length: 20 }, call))
    responses.push(await call())
    for (const { status } of responses) expect(status).toBe(200)
    expect(asked.requests()).toBe(1)
  })
})

describe('an identity provider that fails', () => {
  afterEach(() => vi.useRealTimers())

  /** A system that trusts an identity provider of this test. */
  async function startTrusting() {
    const provider = await startIdentityProvider()
    onTestFinished(() => provider.stop())
    const started = await startSystem('sqlite', { ...ENVIRONMENT, JWKS_URL: provider.jwksUrl })
    onTestFinished(() => started.stop())
    const token = await provider.sign('RS256', goodClaims())
    const call = (shown = token) => started.system.customers.get('/customers/1', { token: shown })
    return { provider, system: started.system, token, call }
  }

  it('when it cannot be reached, then 503 and not 401, until it can', async () => {
    const port = await freePort()
    const started = await startSystem('sqlite', { ...ENVIRONMENT, JWKS_URL: `http://127.0.0.1:${port}/jwks` })
    onTestFinished(() => started.stop())
    const { system } = started
    const elsewhere = await startIdentityProvider()
    await elsewhere.stop()
    const early = await elsewhere.sign('RS256', goodClaims())
    for (const operation of needingScope) {
      expectRefusal(operation, await ask(system, operation, { token: early }), 503, 'unavailable')
      expectRefusal(operation, await ask(system, operation, { token: null }), 401, 'unauthorized')
      expectInvalidToken(operation, await ask(system, operation, { token: 'nonsense' }))
      expectInvalidToken(operation, await ask(system, operation, { token: goodToken() }))
    }
    for (const operation of internalOfProvider) {
      expectOpen(operation, await ask(system, operation, { token: SERVICE_TOKENS[0] }))
    }
    expect(system.log.join('')).not.toContain(early)

    const provider = await startIdentityProvider(port)
    onTestFinished(() => provider.stop())
    vi.useFakeTimers({ toFake: ['Date'] })
    vi.advanceTimersByTime(PAUSE_MS)
    const token = await provider.sign('RS256', goodClaims())
    for (const operation of needingScope) expectOpen(operation, await ask(system, operation, { token }))
  })

  const PADDING = ' '.repeat(256 * 1024)

  it.each([
    ['an error', 500, '{}'],
    ['a page', 200, '<html></html>'],
    ['other JSON', 200, '{"answer": 42}'],
    ['malformed keys', 200, '{"keys": [1]}'],
    ['no keys', 200, '{"keys": []}'],
    ['more than 256 KiB', 200, `{"keys": [{}]}${PADDING}`],
  ])('when it responds with %s, then 503 and not 401', async (_, status, body) => {
    const { provider, system, token } = await startTrusting()
    provider.respond(status, body)
    for (const operation of needingScope) {
      const response = await ask(system, operation, { token })
      expectRefusal(operation, response, 503, 'unavailable')
      expect(response.text).not.toContain(provider.jwksUrl)
    }
  })

  it('when it redirects the fetch of its keys, then the redirect is not followed', async () => {
    const elsewhere = await startIdentityProvider()
    onTestFinished(() => elsewhere.stop())
    const { provider, token, call } = await startTrusting()
    for (const status of [301, 302, 307, 308]) {
      provider.respond(status, '', { location: elsewhere.jwksUrl })
      expectProblem(await call(token), 503, 'unavailable')
      expectProblem(await call(await elsewhere.sign('RS256', goodClaims())), 503, 'unavailable')
      vi.useFakeTimers({ toFake: ['Date'] })
      vi.advanceTimersByTime(PAUSE_MS)
    }
    expect(provider.requests()).toBe(4)
    expect(elsewhere.requests()).toBe(0)
  })

  it('when it does not respond, then one caller waits 2 s, and the next one does not', async () => {
    const { provider, call } = await startTrusting()
    provider.hang()
    const start = performance.now()
    expectProblem(await call(), 503, 'unavailable')
    expect(performance.now() - start).toBeLessThan(4_500)
    expectProblem(await call(), 503, 'unavailable')
    expect(provider.requests()).toBe(1)
  })

  it('when a fetch failed, then the next one comes after 5 s', async () => {
    const { provider, call } = await startTrusting()
    vi.useFakeTimers({ toFake: ['Date'] })
    provider.respond(500, '{}')
    const refused = await Promise.all(Array.from({ length: 20 }, () => call()))
    vi.advanceTimersByTime(PAUSE_MS - 1)
    refused.push(await call())
    for (const response of refused) {
      expectProblem(response, 503, 'unavailable')
      expect(response.headers.get('retry-after')).toMatch(/^[1-5]$/)
    }
    expect(provider.requests()).toBe(1)
    provider.addKeys()
    vi.advanceTimersByTime(1)
    expect((await call()).status).toBe(200)
    expect(provider.requests()).toBe(2)
  })

  it('when some of its keys are bad, then only tokens that name those are refused', async () => {
    const { provider, call } = await startTrusting()
    const rsa = { kty: 'RSA', alg: 'RS256', use: 'sig', e: 'AQAB' }
    const bad: Record<string, object> = {
      'no-numbers': { ...rsa, n: '!', kid: 'no-numbers' },
      'too-small': { ...rsa, n: 'AQAB', kid: 'too-small' },
      'nothing-of-it': { kty: 'RSA', kid: 'nothing-of-it' },
      'no-curve': { kty: 'EC', alg: 'RS256', kid: 'no-curve' },
      'a-secret': { kty: 'oct', alg: 'RS256', k: 'bWluZQ', kid: 'a-secret' },
    }
    provider.addKeys(1, null, [], 'key', ...Object.values(bad))
    for (const kid of Object.keys(bad)) {
      expectProblem(await call(await provider.sign('RS256', goodClaims(), { kid })), 401, 'invalid_token')
    }
    expect((await call()).status).toBe(200)
    expect(provider.requests()).toBe(1)
  })
})

describe('a rate limit of 3 a minute', () => {
  const system = useSystem('sqlite', { ...ENVIRONMENT, RATE_LIMIT_PER_MINUTE: '3' })
  const tokenOf = (clientId = newKey()) => system.token({ clientId })

  describe.each(titled(needingScope))('%s', (_, operation) => {
    it('when a caller comes a 4th time, then 429 with Retry-After, and others are served', async () => {
      const token = await tokenOf()
      for (const remaining of [2, 1, 0]) {
        const response = await ask(system, operation, { token })
        expectOpen(operation, response)
        expect(response.headers.get('ratelimit')).toMatch(new RegExp(`^limit=3, remaining=${remaining}, reset=\\d+$`))
        expect(response.headers.get('ratelimit-policy')).toBe('3;w=60')
      }
      const fourth = await ask(system, operation, { token })
      expectRefusal(operation, fourth, 429, 'rate_limited')
      expect(fourth.headers.get('ratelimit')).toMatch(/^limit=3, remaining=0, reset=\d+$/)
      const seconds = Number(fourth.headers.get('retry-after'))
      expect(seconds).toBeGreaterThan(0)
      expect(seconds).toBeLessThanOrEqual(60)
      expectOpen(operation, await ask(system, operation, { token: await tokenOf() }))
    })
  })

  it('when a caller has several tokens, then they count together', async () => {
    const clientId = newKey()
    const tokens = await Promise.all([600, 700, 800, 900].map((ttlSeconds) => system.token({ clientId, ttlSeconds })))
    const statuses: number[] = []
    for (const token of tokens) statuses.push((await system.orders.get('/orders', { token })).status)
    expect(statuses).toEqual([200, 200, 200, 429])
  })

  it('when a token is refused, then that counts against no caller', async () => {
    const clientId = newKey()
    const weak = await system.token({ clientId, scopes: [] })
    for (let i = 0; i < 5; i++) expect((await system.orders.get('/orders', { token: weak })).status).toBe(403)
    const token = await tokenOf(clientId)
    expect((await system.orders.get('/orders', { token })).status).toBe(200)
  })

  it('when one service calls another, then the rate limit does not apply', async () => {
    const path = '/orchestrator/create-and-confirm-order'
    for (let i = 0; i < 4; i++) {
      const order = { customer_id: 1, items: [{ product_id: 3, qty: 1 }], idempotency_key: newKey() }
      expect((await system.orchestrator.post(path, order, { token: await tokenOf() })).status).toBe(201)
    }
  })

  it('when probes and documentation are fetched often, then the limit does not apply', async () => {
    for (const service of SERVICES) {
      for (const path of Array(5).fill(['/health', '/ready', '/openapi.json']).flat()) {
        expect((await system[service].get(path, { token: null })).status).toBe(200)
      }
    }
  })
})

describe('no rate limit', () => {
  const system = useSystem('sqlite', ENVIRONMENT)

  it('when no limit is set, then no response has RateLimit headers', async () => {
    const { headers } = await system.orders.get('/orders')
    for (const name of ['ratelimit', 'ratelimit-policy', 'retry-after']) expect(headers.get(name)).toBeNull()
  })
})

describeEachEngine('secrets and tokens', (engine) => {
  const system = useSystem(engine, ENVIRONMENT)
  const BASIC = btoa('demo:demo-secret')

  /** Calls of many kinds, good and bad, with every secret that a caller can send. */
  async function callEverything(on: TestSystem) {
    const demo = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }
    const anonymous = { token: null }
    const issued = await on.customers.post('/auth/token', demo, anonymous)
    const tokens = [issued.body.access_token ?? 'none was issued', goodToken(), withClaims({ exp: secondsFromNow(-9) })]
    const responses: ApiResponse[] = []
    for (const token of [...tokens, ...SERVICE_TOKENS, JWT_SECRET]) {
      for (const operation of operations) responses.push(await ask(on, operation, { token }))
      responses.push(await on.orders.get(`/orders?access_token=${token}`, { token }))
      responses.push(await on.orders.get(`/nowhere/${token}`, { token }))
      responses.push(await on.orders.post('/orders', { access_token: token }, { token }))
      responses.push(await on.orders.post('/orders', `{"access_token": "${token}"`, { token }))
    }
    for (const api of [on.customers, on.orders]) {
      responses.push(await api.post('/auth/token', { ...demo, client_secret: JWT_SECRET }, anonymous))
      responses.push(await api.post('/auth/token', { ...demo, client_secret: 7 }, anonymous))
      responses.push(await api.post('/auth/token', `client_secret=demo-secret`, anonymous))
      const headers = { authorization: `Basic ${BASIC}` }
      responses.push(await api.post('/auth/token', { ...demo, scope: 'orders:steal' }, { headers }))
    }
    return { issued, responses, secrets: [...tokens, ...SERVICE_TOKENS, JWT_SECRET, BASIC] }
  }

  it('when all kinds of calls are made, then no log line or response shows a secret', async () => {
    const product = await newProduct(system)
    const items = [{ product_id: product.id, qty: 1 }]
    await system.orchestrator.post('/orchestrator/create-and-confirm-order', { customer_id: 1, items })
    const { responses, secrets } = await callEverything(system)
    expect(responses.map(({ status }) => status)).toEqual(expect.arrayContaining([200, 400, 401, 403, 404]))
    const written = [...system.log, ...responses.map(({ text }) => text)]
    for (const service of SERVICES) {
      for (const path of ['/openapi.json', '/docs']) written.push((await system[service].get(path)).text)
    }
    // Successful probes are not logged.
    expect(system.log.length).toBeGreaterThan(0.8 * responses.length)
    for (const secret of secrets) expect(written.filter((text) => text.includes(secret))).toEqual([])
    for (const line of system.log) expect(line).not.toContain('demo-secret')
  })

  it('when the database is broken, then only the log says why, without a secret', async () => {
    const started = await startSystem(engine, ENVIRONMENT)
    onTestFinished(() => started.stop())
    const broken = started.system
    await sql`drop table api_clients`.execute(broken.db)
    await sql`drop table stock_adjustments`.execute(broken.db)
    const { issued, responses, secrets } = await callEverything(broken)
    const adjusted = await broken.orders.post('/products/1/stock-adjustments', { delta: 1, reason: 'found' })
    const failed = [issued, ...responses, adjusted].filter(({ status }) => status >= 500)
    // The orchestrator looks up the client in Customers, and so responds 502 for that failure.
    expect(new Set(failed.map(({ status }) => status))).toEqual(new Set([500, 502]))
    for (const { status, body } of failed.filter(({ body }) => !('success' in body))) {
      expect(status).toBe(500)
      expect(body).toMatchObject({ code: 'internal_error', detail: 'The request failed. It may be sent again.' })
      expect(Object.keys(body).sort()).toEqual(['code', 'detail', 'request_id', 'status', 'title', 'type'])
    }
    for (const { body } of failed.filter(({ status }) => status === 502)) {
      expect(body).toMatchObject({ code: 'upstream_failed', detail: 'A service failed.' })
    }
    const lines = broken.log.filter((line) => line.includes('"level":50'))
    const asked = lines.filter((line) => line.includes('upstream_failed')).length
    expect(lines.length).toBe(failed.length + asked)
    expect(lines.join('')).toMatch(/api_clients/)
    for (const secret of [...secrets, 'demo-secret']) {
      expect(broken.log.filter((line) => line.includes(secret))).toEqual([])
    }
  })
})

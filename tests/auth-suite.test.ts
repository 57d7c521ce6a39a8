import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { SCOPES } from '../src/platform/auth.ts'
import type { ApiAnswer, ApiRequest } from './support/api-client.ts'
import { contractCheck } from './support/contract-check.ts'
import { freePort } from './support/database-server.ts'
import { type IdentityProvider, PROVIDER_ALGORITHMS, startIdentityProvider } from './support/identity-provider.ts'
import { type Operation, operationsOf, readDocuments, SERVICES, scopeOf } from './support/openapi.ts'
import { expectProblem } from './support/problems.ts'
import { newKey, newProduct } from './support/rows.ts'
import { describeEachEngine, startSystem, type TestSystem, useSystem } from './support/system.ts'
import {
  type Claims,
  forgeToken,
  secondsFromNow,
  withoutSignature,
  withSecret,
  withStrangersKey,
} from './support/tokens.ts'

const documents = await readDocuments()
const { expectDocumented } = contractCheck(documents)
const operations = operationsOf(documents)
const needingScope = operations.filter((operation) => scopeOf(operation) !== undefined)
const internal = operations.filter(({ security }) => security.some(({ serviceToken }) => serviceToken))
const titled = (some: Operation[]) => some.map((operation): [string, Operation] => [operation.title, operation])

const JWT_SECRET = randomBytes(32).toString('hex')
const SERVICE_TOKENS = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')] as const
const ENVIRONMENT = { JWT_SECRET, SERVICE_TOKEN: SERVICE_TOKENS.join(','), ORCHESTRATOR_PUBLIC: 'false' }

/** Everything that a token must say, and every scope. */
const goodClaims = (): Claims => ({
  iss: 'b2b-orders',
  aud: 'b2b-orders',
  sub: 'suite',
  scope: SCOPES.join(' '),
  iat: secondsFromNow(0),
  exp: secondsFromNow(600),
})

const HS256 = { alg: 'HS256', typ: 'JWT' }
const withClaims = (claims: Claims) => forgeToken(HS256, { ...goodClaims(), ...claims }, withSecret(JWT_SECRET))
const goodToken = () => withClaims({})

/** Asks for something that is not there, with no body: what comes after the question who is calling changes nothing. */
function ask(system: TestSystem, { service, method, path }: Operation, request: ApiRequest): Promise<ApiAnswer> {
  return system[service].call(method, path.replace('{id}', '999999999'), request)
}

function expectRefusal({ service, method, path }: Operation, answer: ApiAnswer, status: number, code: string): void {
  expectProblem(answer, status, code)
  expectDocumented(service, method, path, answer)
}

function expectInvalidToken(operation: Operation, answer: ApiAnswer): void {
  expectRefusal(operation, answer, 401, 'invalid_token')
  expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="b2b-orders", error="invalid_token"')
}

function expectOpen({ service, method, path }: Operation, answer: ApiAnswer): void {
  expectDocumented(service, method, path, answer)
  expect([200, 400, 404, 415]).toContain(answer.status)
}

const BAD_TOKENS: Record<string, () => string> = {
  'is no token at all': () => 'nonsense',
  'has two parts': () => goodToken().split('.').slice(0, 2).join('.'),
  'has four parts': () => `${goodToken()}.e30`,
  'is signed with another secret': () => forgeToken(HS256, goodClaims(), withSecret('another')),
  'is signed with the empty secret': () => forgeToken(HS256, goodClaims(), withSecret('')),
  'has lost its signature': () => forgeToken(HS256, goodClaims(), withoutSignature),
  'was changed after it was signed': () => {
    const [header, , signature] = withClaims({ scope: '' }).split('.')
    return [header, goodToken().split('.')[1], signature].join('.')
  },
  'says alg none': () => forgeToken({ alg: 'none' }, goodClaims(), withoutSignature),
  'says alg None': () => forgeToken({ alg: 'None' }, goodClaims(), withoutSignature),
  'says alg none and is signed': () => forgeToken({ alg: 'none' }, goodClaims(), withSecret(JWT_SECRET)),
  'says no alg': () => forgeToken({ typ: 'JWT' }, goodClaims(), withSecret(JWT_SECRET)),
  'is HS512': () => forgeToken({ alg: 'HS512' }, goodClaims(), withSecret(JWT_SECRET, 'sha512')),
  "is RS256 by a stranger's key": () => forgeToken({ alg: 'RS256' }, goodClaims(), withStrangersKey()),
  'has expired': () => withClaims({ iat: secondsFromNow(-700), exp: secondsFromNow(-60) }),
  'is not valid yet': () => withClaims({ nbf: secondsFromNow(300) }),
  'never expires': () => withClaims({ exp: undefined }),
  'expires in words': () => withClaims({ exp: 'tomorrow' }),
  'is of another issuer': () => withClaims({ iss: 'somebody' }),
  'is of no issuer': () => withClaims({ iss: undefined }),
  'is for another audience': () => withClaims({ aud: 'another-api' }),
  'is for no audience': () => withClaims({ aud: undefined }),
  'is of nobody': () => withClaims({ sub: undefined }),
  'is bound to no real customer': () => withClaims({ customer_id: 0 }),
}

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

describe('tokens of our own', () => {
  const system = useSystem('sqlite', ENVIRONMENT)

  it('when protected routes are looked up, then there are some in every service', () => {
    expect(new Set(needingScope.map(({ service }) => service))).toEqual(new Set(SERVICES))
    expect(new Set(needingScope.map(scopeOf))).toEqual(new Set(SCOPES))
    expect(internal).not.toEqual([])
  })

  describe.each(titled([...needingScope, ...internal]))('%s', (_, operation) => {
    it('when there is no token, then 401 says how to authenticate', async () => {
      const answer = await ask(system, operation, { token: null })
      expectRefusal(operation, answer, 401, 'unauthorized')
      expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="b2b-orders"')
    })

    it('when the token is in the query, then that is no token', async () => {
      const { service, method, path } = operation
      const query = `?access_token=${goodToken()}`
      const answer = await system[service].call(method, path.replace('{id}', '1') + query, { token: null })
      expectRefusal(operation, answer, 401, 'unauthorized')
    })

    it.each(Object.entries(BAD_HEADERS))('when the Authorization header %s, then 401', async (_, header) => {
      const good = internal.includes(operation) ? SERVICE_TOKENS[0] : goodToken()
      const answer = await ask(system, operation, { token: null, headers: { authorization: header(good) } })
      expectInvalidToken(operation, answer)
    })

    it.each(Object.entries(BAD_TOKENS))('when the token %s, then 401', async (_, token) => {
      expectInvalidToken(operation, await ask(system, operation, { token: token() }))
    })

    it('when it is almost the service token, then 401', async () => {
      const [first, second] = SERVICE_TOKENS
      for (const token of [first.slice(0, -1), `${first}0`, first.toUpperCase(), `${first}${second}`, 'internal123']) {
        expectInvalidToken(operation, await ask(system, operation, { token }))
      }
    })
  })

  describe.each(titled(needingScope))('%s', (_, operation) => {
    const scope = scopeOf(operation)

    it('when the token has the one scope that is needed, then it opens', async () => {
      expectOpen(operation, await ask(system, operation, { token: withClaims({ scope }) }))
    })

    it('when the token is unusual but good, then it opens all the same', async () => {
      const aheadOfUs = { iat: secondsFromNow(5) }
      const token = withClaims({ ...aheadOfUs, aud: ['others', 'b2b-orders'], nbf: secondsFromNow(-60) })
      for (const scheme of ['Bearer', 'bearer', 'BEARER ']) {
        const headers = { authorization: `${scheme} ${token}` }
        expectOpen(operation, await ask(system, operation, { token: null, headers }))
      }
    })

    it('when the token has every other scope, or none, then 403 names the one that is missing', async () => {
      const others = SCOPES.filter((other) => other !== scope).join(' ')
      const alike = `${scope}:all x${scope} ${scope?.toUpperCase()}`
      for (const claims of [{ scope: others }, { scope: '' }, { scope: undefined }, { scope: alike }]) {
        const answer = await ask(system, operation, { token: withClaims(claims) })
        expectRefusal(operation, answer, 403, 'insufficient_scope')
        expect(answer.body.scope).toBe(scope)
        expect(answer.headers.get('www-authenticate')).toBe(
          `Bearer realm="b2b-orders", error="insufficient_scope", scope="${scope}"`,
        )
      }
    })

    const isOfOrders = scope?.startsWith('orders:')
    it.each(SERVICE_TOKENS.map((token, i) => [i + 1, token] as const))(
      `when service token %i is shown, then ${isOfOrders ? 'it opens' : 'it lacks the scope'}`,
      async (_, token) => {
        const answer = await ask(system, operation, { token })
        if (isOfOrders) expectOpen(operation, answer)
        else expectRefusal(operation, answer, 403, 'insufficient_scope')
      },
    )
  })

  describe.each(titled(internal))('%s', (_, operation) => {
    it('when the token of a caller has every scope, then it opens nothing', async () => {
      expectInvalidToken(operation, await ask(system, operation, { token: goodToken() }))
    })

    it.each(SERVICE_TOKENS.map((token, i) => [i + 1, token] as const))(
      'when service token %i is shown, then it opens',
      async (_, token) => {
        expectOpen(operation, await ask(system, operation, { token }))
      },
    )
  })
})

describe('an orchestrator that is open to anonymous callers', () => {
  const system = useSystem('sqlite', { ...ENVIRONMENT, ORCHESTRATOR_PUBLIC: 'true' })
  const [operation] = needingScope.filter(({ service }) => service === 'orchestrator')
  if (operation === undefined) throw new Error('the orchestrator documents no route')

  it('when there is no token, then it opens', async () => {
    expectOpen(operation, await ask(system, operation, { token: null }))
  })

  it('when there is a bad token, then its bearer is not anonymous but refused', async () => {
    for (const token of Object.values(BAD_TOKENS)) {
      expectInvalidToken(operation, await ask(system, operation, { token: token() }))
    }
    const answer = await ask(system, operation, { token: withClaims({ scope: 'orders:read' }) })
    expectRefusal(operation, answer, 403, 'insufficient_scope')
  })

  it('when the other services are called without a token, then 401 as ever', async () => {
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

    it('when the token is not for us, not of now, or of nobody, then 401', async () => {
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
    'is no token at all': () => 'nonsense',
  }

  it.each(Object.entries(FORGED))('when the token %s, then it opens nothing', async (_, token) => {
    for (const operation of [...needingScope, ...internal]) {
      expectInvalidToken(operation, await ask(system, operation, { token: token() }))
    }
  })

  it('when a good token is shown to an internal route, then 401, and the service token opens it', async () => {
    const token = await provider.sign('RS256', goodClaims())
    for (const operation of internal) {
      expectInvalidToken(operation, await ask(system, operation, { token }))
      expectOpen(operation, await ask(system, operation, { token: SERVICE_TOKENS[1] }))
    }
  })

  it('when the token binds its bearer to a customer, then another one does not exist for it', async () => {
    const token = await provider.sign('ES256', { ...goodClaims(), customer_id: 1 })
    expect((await system.customers.get('/customers/1', { token })).status).toBe(200)
    expectProblem(await system.customers.get('/customers/2', { token }), 404, 'not_found')
  })

  it('when an order is placed through the orchestrator, then the services trust each other as ever', async () => {
    const token = await provider.sign('EdDSA', { ...goodClaims(), scope: 'orders:write' })
    const order = { customer_id: 1, items: [{ product_id: 3, qty: 1 }], idempotency_key: newKey() }
    const answer = await system.orchestrator.post('/orchestrator/create-and-confirm-order', order, { token })
    expect(answer.status).toBe(201)
  })

  it('when a token is asked for, then there is no such route, nor a word of it in the documents', async () => {
    const demo = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }
    for (const api of [system.customers, system.orders]) {
      expectProblem(await api.post('/auth/token', demo, { token: null }), 404, 'route_not_found')
      expectProblem(await api.get('/auth/token', { token: null }), 404, 'route_not_found')
    }
    const theirs = await readDocuments({ JWKS_URL: provider.jwksUrl })
    for (const service of SERVICES) {
      expect(Object.keys(theirs[service].paths)).not.toContain('/auth/token')
      expect(Object.keys(theirs[service].components.securitySchemes)).not.toContain('oauth2')
    }
    const scopes = (some: Operation[]) => new Map(some.map((operation) => [operation.title, scopeOf(operation)]))
    expect(scopes(operationsOf(theirs).filter((operation) => scopeOf(operation)))).toEqual(scopes(needingScope))
  })

  it('when many callers come at once, then each service asks for the keys once', async () => {
    const asked = await startIdentityProvider()
    onTestFinished(() => asked.stop())
    const started = await startSystem('sqlite', { ...ENVIRONMENT, JWKS_URL: asked.jwksUrl })
    onTestFinished(() => started.stop())
    const token = await asked.sign('RS256', goodClaims())
    const call = () => started.system.customers.get('/customers/1', { token })
    const answers = await Promise.all(Array.from({ length: 20 }, call))
    answers.push(await call())
    for (const { status } of answers) expect(status).toBe(200)
    expect(asked.requests()).toBe(1)
  })
})

describe('an identity provider that fails', () => {
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
    for (const operation of internal) expectOpen(operation, await ask(system, operation, { token: SERVICE_TOKENS[0] }))
    expect(system.log.join('')).not.toContain(early)

    const provider = await startIdentityProvider(port)
    onTestFinished(() => provider.stop())
    const token = await provider.sign('RS256', goodClaims())
    for (const operation of needingScope) expectOpen(operation, await ask(system, operation, { token }))
  })

  it.each([
    ['an error', 500, '{}'],
    ['a page', 200, '<html></html>'],
    ['something else', 200, '{"answer": 42}'],
    ['keys that are none', 200, '{"keys": [1]}'],
  ])('when it answers with %s, then 503 and not 401', async (_, status, body) => {
    const provider = await startIdentityProvider()
    onTestFinished(() => provider.stop())
    provider.answer(status, body)
    const started = await startSystem('sqlite', { ...ENVIRONMENT, JWKS_URL: provider.jwksUrl })
    onTestFinished(() => started.stop())
    const token = await provider.sign('RS256', goodClaims())
    for (const operation of needingScope) {
      const answer = await ask(started.system, operation, { token })
      expectRefusal(operation, answer, 503, 'unavailable')
      expect(answer.text).not.toContain(provider.jwksUrl)
    }
  })
})

describe('a rate limit of 3 a minute', () => {
  const system = useSystem('sqlite', { ...ENVIRONMENT, RATE_LIMIT_PER_MINUTE: '3' })
  const tokenOf = (clientId = newKey()) => system.token({ clientId })

  describe.each(titled(needingScope))('%s', (_, operation) => {
    it('when a caller comes a 4th time, then 429 says when to come again, and another caller is let in', async () => {
      const token = await tokenOf()
      for (const remaining of [2, 1, 0]) {
        const answer = await ask(system, operation, { token })
        expectOpen(operation, answer)
        expect(answer.headers.get('ratelimit')).toMatch(new RegExp(`^limit=3, remaining=${remaining}, reset=\\d+$`))
        expect(answer.headers.get('ratelimit-policy')).toBe('3;w=60')
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

  it('when a caller is refused for its token, then that does not count against anybody', async () => {
    const clientId = newKey()
    const weak = await system.token({ clientId, scopes: [] })
    for (let i = 0; i < 5; i++) expect((await system.orders.get('/orders', { token: weak })).status).toBe(403)
    const token = await tokenOf(clientId)
    expect((await system.orders.get('/orders', { token })).status).toBe(200)
  })

  it('when one service calls another for many callers, then it is not limited as if it were one of them', async () => {
    const path = '/orchestrator/create-and-confirm-order'
    for (let i = 0; i < 4; i++) {
      const order = { customer_id: 1, items: [{ product_id: 3, qty: 1 }], idempotency_key: newKey() }
      expect((await system.orchestrator.post(path, order, { token: await tokenOf() })).status).toBe(201)
    }
  })

  it('when a load balancer or a reader of the documentation comes often, then it is let in', async () => {
    for (const service of SERVICES) {
      for (const path of Array(5).fill(['/health', '/ready', '/openapi.json']).flat()) {
        expect((await system[service].get(path, { token: null })).status).toBe(200)
      }
    }
  })
})

describe('no rate limit', () => {
  const system = useSystem('sqlite', ENVIRONMENT)

  it('when none is set, then nothing is said of one', async () => {
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
    const answers: ApiAnswer[] = []
    for (const token of [...tokens, ...SERVICE_TOKENS, JWT_SECRET]) {
      for (const operation of operations) answers.push(await ask(on, operation, { token }))
      answers.push(await on.orders.get(`/orders?access_token=${token}`, { token }))
      answers.push(await on.orders.get(`/nowhere/${token}`, { token }))
      answers.push(await on.orders.post('/orders', { access_token: token }, { token }))
      answers.push(await on.orders.post('/orders', `{"access_token": "${token}"`, { token }))
    }
    for (const api of [on.customers, on.orders]) {
      answers.push(await api.post('/auth/token', { ...demo, client_secret: JWT_SECRET }, anonymous))
      answers.push(await api.post('/auth/token', { ...demo, client_secret: 7 }, anonymous))
      answers.push(await api.post('/auth/token', `client_secret=demo-secret`, anonymous))
      const headers = { authorization: `Basic ${BASIC}` }
      answers.push(await api.post('/auth/token', { ...demo, scope: 'orders:steal' }, { headers }))
    }
    return { issued, answers, secrets: [...tokens, ...SERVICE_TOKENS, JWT_SECRET, BASIC] }
  }

  it('when all kinds of calls are made, then no secret is in a log line, a refusal or a document', async () => {
    const product = await newProduct(system)
    const items = [{ product_id: product.id, qty: 1 }]
    await system.orchestrator.post('/orchestrator/create-and-confirm-order', { customer_id: 1, items })
    const { answers, secrets } = await callEverything(system)
    expect(answers.map(({ status }) => status)).toEqual(expect.arrayContaining([200, 400, 401, 403, 404]))
    const written = [...system.log, ...answers.map(({ text }) => text)]
    for (const service of SERVICES) {
      for (const path of ['/openapi.json', '/docs']) written.push((await system[service].get(path)).text)
    }
    expect(system.log.length).toBeGreaterThan(answers.length)
    for (const secret of secrets) expect(written.filter((text) => text.includes(secret))).toEqual([])
    for (const line of system.log) expect(line).not.toContain('demo-secret')
  })

  it('when the database is broken, then the log tells why without a secret, and the caller is told nothing', async () => {
    const started = await startSystem(engine, ENVIRONMENT)
    onTestFinished(() => started.stop())
    const broken = started.system
    await sql`drop table api_clients`.execute(broken.db)
    await sql`drop table stock_adjustments`.execute(broken.db)
    const { issued, answers, secrets } = await callEverything(broken)
    const adjusted = await broken.orders.post('/products/1/stock-adjustments', { delta: 1, reason: 'found' })
    const failed = [issued, ...answers, adjusted].filter(({ status }) => status >= 500)
    expect(new Set(failed.map(({ status }) => status))).toEqual(new Set([500]))
    for (const { body } of failed) {
      expect(body).toMatchObject({ code: 'internal_error', detail: 'The request failed. It may be sent again.' })
      expect(Object.keys(body).sort()).toEqual(['code', 'detail', 'request_id', 'status', 'title', 'type'])
    }
    const lines = broken.log.filter((line) => line.includes('"level":50'))
    expect(lines.length).toBe(failed.length)
    expect(lines.join('')).toMatch(/api_clients/)
    for (const secret of [...secrets, 'demo-secret']) {
      expect(broken.log.filter((line) => line.includes(secret))).toEqual([])
    }
  })
})

import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import type { Env } from '../../src/compose/env.ts'
import { composeCustomers, composeOrders } from '../../src/compose/services.ts'
import type { Logger } from '../../src/platform/telemetry/logger.ts'
import { ENVIRONMENT, goodToken, SERVICE_TOKENS, withClaims } from '../../testing/access.ts'
import type { ApiRequest, ApiResponse } from '../../testing/api-client.ts'
import { expectProblem } from '../../testing/problems.ts'
import { newKey } from '../../testing/rows.ts'
import { serveOrders } from '../../testing/services.ts'
import { useSystem } from '../../testing/system.ts'

interface Line {
  msg: string
  level: number
  route?: string
  status?: number
  correlation_id?: string
  address?: string
  claimed_client?: string
  header?: string
}

function newLogger() {
  const log: string[] = []
  return { log, logger: pino({ level: 'info' }, { write: (line: string) => void log.push(line) }) }
}

const linesOf = (log: string[]): Line[] => log.map((line) => JSON.parse(line))

describe('the log line of a request', () => {
  const system = useSystem('sqlite', { ...ENVIRONMENT, RATE_LIMIT_PER_MINUTE: '2', LOGIN_ATTEMPTS_PER_MINUTE: '20' })
  const TOKEN = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }

  async function lineOf(
    call: (headers: Record<string, string>) => Promise<ApiResponse>,
    status: number,
  ): Promise<Line> {
    const id = newKey()
    const response = await call({ 'x-correlation-id': id })
    expect(response.status).toBe(status)
    const [line, ...others] = linesOf(system.log).filter((it) => it.correlation_id === id && it.msg === 'request')
    if (line === undefined) throw new Error('no line')
    expect(others).toEqual([])
    return line
  }

  const read = (request: ApiRequest, status: number, path = '/orders') =>
    lineOf((headers) => system.orders.get(path, { ...request, headers: { ...headers, ...request.headers } }), status)
  const login = (body: unknown, status: number, given: Record<string, string> = {}) =>
    lineOf(
      (headers) => system.customers.post('/auth/token', body, { token: null, headers: { ...headers, ...given } }),
      status,
    )

  it('has address and claimed client where a token is refused', async () => {
    const forged = `${withClaims({ sub: 'eve' }).slice(0, -4)}AAAA`
    expect(await read({ token: forged }, 401)).toMatchObject({ address: '127.0.0.1', claimed_client: 'eve' })
    const weak = withClaims({ sub: 'weak', scope: '' })
    expect(await read({ token: weak }, 403)).toMatchObject({ address: '127.0.0.1', claimed_client: 'weak' })
    const often = withClaims({ sub: newKey() })
    for (const status of [200, 200]) await read({ token: often }, status)
    expect(await read({ token: often }, 429)).toMatchObject({
      address: '127.0.0.1',
      claimed_client: expect.any(String),
    })
    const noToken = await read({ token: null }, 401)
    expect(noToken.address).toBe('127.0.0.1')
    expect(noToken).not.toHaveProperty('claimed_client')
  })

  it('has the reason of a 401, and the response does not', async () => {
    const sub = newKey()
    const cases: [string | null, string][] = [
      [null, 'missing'],
      ['no token at all', 'malformed'],
      ['x.y.z', 'malformed'],
      [`${withClaims({ sub }).slice(0, -4)}AAAA`, 'signature'],
      [withClaims({ sub, exp: 1 }), 'expired'],
      [withClaims({ sub, nbf: 9_999_999_999 }), 'not_yet_valid'],
      [withClaims({ sub, iss: 'another' }), 'issuer'],
      [withClaims({ sub, aud: 'another' }), 'audience'],
      [withClaims({ sub, customer_id: 'x' }), 'claims'],
    ]
    for (const [token, reason] of cases) expect(await read({ token }, 401), reason).toMatchObject({ reason })
    const internal = await read({ token: withClaims({ sub }) }, 401, '/internal/ping')
    expect(internal).toMatchObject({ reason: 'unknown_service_token' })
    const bodies = await Promise.all(cases.slice(1).map(([token]) => system.orders.get('/orders', { token })))
    expect(new Set(bodies.map(({ body }) => body.detail)).size).toBe(1)
  })

  it('has neither where a caller is accepted, or refused for another reason', async () => {
    const token = withClaims({ sub: newKey() })
    for (const line of [
      await read({ token }, 200),
      await read({ token }, 400, '/orders?limit=0'),
      await read({ token: null }, 404, '/nowhere'),
      await login(TOKEN, 200),
    ]) {
      expect(line).not.toHaveProperty('address')
      expect(line).not.toHaveProperty('claimed_client')
    }
  })

  it('has address and client id of a failed login in any form', async () => {
    const id = newKey()
    const expected = { address: '127.0.0.1', claimed_client: id }
    expect(await login({ ...TOKEN, client_id: id }, 401)).toMatchObject(expected)
    for (let i = 0; i < 19; i++) expect(await login({ client_id: id }, 400)).toMatchObject(expected)
    expect(await login({ ...TOKEN, client_id: id }, 429)).toMatchObject(expected)
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const ofForm = newKey()
    const fields = `${new URLSearchParams({ ...TOKEN, client_id: ofForm })}`
    expect(await login(fields, 401, form)).toMatchObject({ claimed_client: ofForm })
    const ofHeader = newKey()
    const header = { authorization: `Basic ${btoa(`${ofHeader}:wrong`)}` }
    expect(await login({ grant_type: 'client_credentials' }, 401, header)).toMatchObject({ claimed_client: ofHeader })
  })

  it('shows at most 100 visible characters of a claimed client', async () => {
    const long = await login({ ...TOKEN, client_id: 'x'.repeat(3_000) }, 401)
    expect(long.claimed_client).toBe('x'.repeat(100))
    const odd = await login({ ...TOKEN, client_id: 'a\u0000b\u001b[31mc\nd\u202ee\u2028f' }, 401)
    expect(odd.claimed_client).toBe('ab[31mcde f')
    const emoji = await read({ token: withClaims({ sub: '😀'.repeat(200), exp: 1 }) }, 401)
    expect(emoji.claimed_client).toBe('😀'.repeat(100))
  })

  it('shows no token and no secret sent in place of a client id', async () => {
    const secret = newKey() + newKey()
    for (const wrong of [goodToken(), ...SERVICE_TOKENS, secret]) {
      const line = await login({ ...TOKEN, client_id: wrong }, 401)
      expect(line.claimed_client).toMatch(/hidden/)
      const shown = await read({ token: withClaims({ sub: wrong, exp: 1 }) }, 401)
      expect(shown.claimed_client).toMatch(/hidden/)
      for (const part of wrong.split('.')) expect(system.log.join('')).not.toContain(part)
    }
  })

  it.each(['x.y.z', 'x.eyJzdWIiOjd9.z', 'nonsense', '..', `x.${btoa('"text"')}.z`])(
    'has no claimed client for the token %j',
    async (token) => {
      expect(await read({ token }, 401)).not.toHaveProperty('claimed_client')
    },
  )
})

describe('a proxy that TRUSTED_PROXIES does not count', () => {
  const system = useSystem('sqlite', ENVIRONMENT)
  const WARNING = 'a proxy seems to be in front, and TRUSTED_PROXIES is 0'
  const warningsOf = (log: string[]) => linesOf(log).filter(({ msg }) => msg === WARNING)
  const forwarded = () => new Request('http://orders/health', { headers: { 'x-forwarded-for': '203.0.113.9' } })

  /** Two services of one process. */
  function appsOf(env: Env, logger: Logger) {
    const lifecycle = { draining: false }
    const customers = composeCustomers(env, system.db, logger, lifecycle).app
    const orders = composeOrders(env, system.db, system.customers.base, logger, lifecycle).app
    return [customers, orders] as const
  }

  it.each(['x-forwarded-for', 'forwarded'])('is logged once in production when %s comes in', async (name) => {
    const service = await serveOrders(system, { production: true })
    await service.api.get('/health')
    expect(warningsOf(service.log)).toEqual([])
    for (let i = 0; i < 3; i++) await service.api.get('/health', { headers: { [name]: 'for=203.0.113.9' } })
    expect(warningsOf(service.log)).toMatchObject([{ level: 40, header: name }])
  })

  it('is logged once by all services of one process', async () => {
    const { logger, log } = newLogger()
    const [one, other] = appsOf({ ...system.env, production: true }, logger)
    for (const app of [one, other]) await app.fetch(forwarded())
    expect(warningsOf(log)).toHaveLength(1)
  })

  it('is not logged where a gateway reports the address', async () => {
    const { logger, log } = newLogger()
    const [app] = appsOf({ ...system.env, production: true }, logger)
    for (const requestContext of [{ identity: { sourceIp: '192.0.2.1' } }, { http: { sourceIp: '192.0.2.1' } }]) {
      expect((await app.fetch(forwarded(), { requestContext })).status).toBe(200)
    }
    expect(warningsOf(log)).toEqual([])
  })

  it('is not logged where proxies are counted, or outside production', async () => {
    const logins = { ...system.env.logins, trustedProxies: 1 }
    for (const changes of [{ production: true, logins }, { production: false }]) {
      const service = await serveOrders(system, changes)
      const headers = { 'x-forwarded-for': '203.0.113.9' }
      expectProblem(await service.api.get('/orders', { token: 'bad', headers }), 401, 'invalid_token')
      expect(warningsOf(service.log)).toEqual([])
    }
  })
})

import { afterEach, describe, expect, it, vi } from 'vitest'
import { sha256 } from '../platform/core/crypto.ts'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { type AuthConfig, type ClientStatus, createAuthenticator, signClaims } from './authenticator.ts'

const jwt = { secret: 'a secret of these tests', issuer: 'here', audience: 'there', jwksUrl: undefined }
const START = Date.parse('2026-11-24T06:35:10.500Z')
const trace = { correlationId: 'tests', traceparent: undefined }
const authenticator = createAuthenticator({ jwt, serviceTokens: ['service'] })

afterEach(() => vi.useRealTimers())

async function bearerFor(sub: string, seconds: number, claims: Record<string, unknown> = {}): Promise<string> {
  const exp = Math.floor(Date.now() / 1_000) + seconds
  const all = { sub, exp, iss: 'here', aud: 'there', scope: 'orders:read', ...claims }
  return `Bearer ${await signClaims(all, jwt.secret)}`
}

it('when a token is used again, then it names the same principal', async () => {
  const bearer = await bearerFor('ann', 600)
  const first = await authenticator.caller(bearer, trace)
  expect(first).toMatchObject({ id: 'client:ann', customerId: null })
  expect(await authenticator.caller(bearer, trace)).toEqual(first)
})

it('when a cached token has expired for 5 s, then it is refused', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  const bearer = await bearerFor('ben', 30)
  expect((await authenticator.caller(bearer, trace)).id).toBe('client:ben')
  vi.advanceTimersByTime(33_000)
  expect((await authenticator.caller(bearer, trace)).id).toBe('client:ben')
  vi.advanceTimersByTime(3_000)
  await expect(authenticator.caller(bearer, trace)).rejects.toMatchObject({ code: 'invalid_token' })
})

it.each([
  ['expired', (seconds: number) => ({ exp: START / 1_000 - seconds })],
  ['is valid from', (seconds: number) => ({ nbf: START / 1_000 + seconds })],
])('when a token %s within 5 s of now, then it is accepted, and not beyond', async (_, claims) => {
  const { caller } = createAuthenticator({ jwt, serviceTokens: ['service'] }, () => START)
  expect((await caller(await bearerFor('ann', 600, claims(4)), trace)).id).toBe('client:ann')
  await expect(caller(await bearerFor('ann', 600, claims(6)), trace)).rejects.toMatchObject({ code: 'invalid_token' })
})

it.each(['ann', 'a.b:c@d|e-f', 'x'.repeat(100)])('when the subject is %j, then it is the principal', async (sub) => {
  expect((await authenticator.caller(await bearerFor(sub, 600), trace)).id).toBe(`client:${sub}`)
})

it.each(['ann#7', 'x'.repeat(101), 'Ânn', `sha256:${sha256('ann#7')}`])(
  'when the subject is %j, then the principal is its unique hash',
  async (sub) => {
    expect((await authenticator.caller(await bearerFor(sub, 600), trace)).id).toBe(`client:sha256:${sha256(sub)}`)
  },
)

it('when the subject is not valid Unicode, then the token is refused', async () => {
  await expect(authenticator.caller(await bearerFor('\ud800', 600), trace)).rejects.toMatchObject({
    code: 'invalid_token',
  })
})

it('when the cache is full, then valid tokens pass and a changed signature does not', async () => {
  const bearer = await bearerFor('eve', 600)
  for (let i = 0; i < 1_001; i++) await authenticator.caller(await bearerFor(`caller-${i}`, 600), trace)
  expect((await authenticator.caller(bearer, trace)).id).toBe('client:eve')
  const forged = `${bearer.slice(0, -4)}AAAA`
  await expect(authenticator.caller(forged, trace)).rejects.toMatchObject({ code: 'invalid_token' })
})

it('when a secret is rotated, then tokens of both are accepted, and of no third', async () => {
  const rotating = { ...jwt, secret: 'the new one', otherSecret: jwt.secret }
  const { caller } = createAuthenticator({ jwt: rotating, serviceTokens: ['service'] })
  expect((await caller(await bearerFor('ann', 600), trace)).id).toBe('client:ann')
  const claims = { sub: 'ben', exp: Math.floor(Date.now() / 1_000) + 60, iss: 'here', aud: 'there' }
  expect((await caller(`Bearer ${await signClaims(claims, 'the new one')}`, trace)).id).toBe('client:ben')
  for (const secret of ['the new one,', `the new one,${jwt.secret}`, 'a third']) {
    await expect(caller(`Bearer ${await signClaims(claims, secret)}`, trace)).rejects.toMatchObject({
      code: 'invalid_token',
    })
  }
})

describe('the client of a token', () => {
  /** An authenticator with a clock and clients that the test controls. */
  function watched(changes: Partial<AuthConfig> = {}) {
    const clients = new Map<string, ClientStatus>()
    let now = START
    const asked: string[] = []
    const findClient = async (id: string) => {
      asked.push(id)
      return clients.get(id)
    }
    const config = { jwt, serviceTokens: ['service'], findClient, ...changes }
    const { caller } = createAuthenticator(config, () => now)
    const wait = (ms: number) => {
      now += ms
    }
    return { clients, asked, wait, caller: (bearer: string) => caller(bearer, trace) }
  }

  const good = { disabled: false, tokensNotBefore: null }
  const refusal = { code: 'invalid_token' }
  const issuedAt = (ms: number) => ({ iat: ms / 1_000 })

  it('when it is enabled, then it is looked up once a minute', async () => {
    const { clients, asked, wait, caller } = watched()
    clients.set('ann', good)
    const bearer = await bearerFor('ann', 600)
    for (const ms of [0, 59_000, 1_000, 59_999]) {
      wait(ms)
      expect((await caller(bearer)).id).toBe('client:ann')
    }
    expect(asked).toEqual(['ann', 'ann'])
  })

  it('when it is disabled, then a token accepted before is refused a minute later', async () => {
    const { clients, wait, caller } = watched()
    clients.set('ann', good)
    const bearer = await bearerFor('ann', 600)
    await caller(bearer)
    clients.set('ann', { ...good, disabled: true })
    wait(60_000)
    await expect(caller(bearer)).rejects.toMatchObject(refusal)
  })

  it('when its tokens are revoked, then older ones and those without iat are refused', async () => {
    const { clients, caller } = watched()
    clients.set('ann', { ...good, tokensNotBefore: START })
    await expect(caller(await bearerFor('ann', 600, issuedAt(START - 1)))).rejects.toMatchObject(refusal)
    await expect(caller(await bearerFor('ann', 600))).rejects.toMatchObject(refusal)
    expect((await caller(await bearerFor('ann', 600, issuedAt(START)))).id).toBe('client:ann')
    expect((await caller(await bearerFor('ann', 600, issuedAt(START + 1)))).id).toBe('client:ann')
  })

  it('when it is unknown, then its token is refused, unless unknown ones are allowed', async () => {
    const bearer = await bearerFor('nobody', 600)
    await expect(watched().caller(bearer)).rejects.toMatchObject(refusal)
    expect((await watched({ takesUnknownClients: true }).caller(bearer)).id).toBe('client:nobody')
  })

  it('when its status is unavailable, then the call fails, and the next looks again', async () => {
    let away = true
    const findClient = async () => {
      if (away) throw new AppError(PLATFORM_ERRORS.unavailable, 'Away.')
      return good
    }
    const { caller } = watched({ findClient })
    const bearer = await bearerFor('ann', 600)
    await expect(caller(bearer)).rejects.toMatchObject({ code: 'unavailable' })
    away = false
    expect((await caller(bearer)).id).toBe('client:ann')
  })

  it('when many requests use one token at once, then it is looked up once', async () => {
    const { clients, asked, caller } = watched()
    clients.set('ann', good)
    const bearer = await bearerFor('ann', 600)
    const principals = await Promise.all(Array.from({ length: 20 }, () => caller(bearer)))
    expect(new Set(principals).size).toBe(1)
    expect(asked).toEqual(['ann'])
  })

  it('when the token is forged or a service’s, then there is no lookup', async () => {
    const { asked, caller } = watched()
    const bearer = await bearerFor('ann', 600)
    await expect(caller(`${bearer.slice(0, -4)}AAAA`)).rejects.toMatchObject(refusal)
    expect((await caller('Bearer service')).id).toBe('service')
    expect(asked).toEqual([])
  })
})

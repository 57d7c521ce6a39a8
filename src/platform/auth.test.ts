import { afterEach, expect, it, vi } from 'vitest'
import { createAuthenticator, signClaims } from './auth.ts'

const jwt = { secret: 'a secret of these tests', issuer: 'here', audience: 'there', jwksUrl: undefined }
const authenticator = createAuthenticator({ jwt, serviceTokens: ['service'] })

afterEach(() => vi.useRealTimers())

async function bearerFor(sub: string, seconds: number): Promise<string> {
  const exp = Math.floor(Date.now() / 1_000) + seconds
  return `Bearer ${await signClaims({ sub, exp, iss: 'here', aud: 'there', scope: 'orders:read' }, jwt.secret)}`
}

it('when a token is shown again, then it names the same principal', async () => {
  const bearer = await bearerFor('ann', 600)
  const first = await authenticator.caller(bearer)
  expect(first).toMatchObject({ id: 'client:ann', customerId: null })
  expect(await authenticator.caller(bearer)).toEqual(first)
})

it('when a token that was taken before expires, then it is refused', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  const bearer = await bearerFor('ben', 30)
  expect((await authenticator.caller(bearer)).id).toBe('client:ben')
  vi.advanceTimersByTime(29_000)
  expect((await authenticator.caller(bearer)).id).toBe('client:ben')
  vi.advanceTimersByTime(2_000)
  await expect(authenticator.caller(bearer)).rejects.toMatchObject({ code: 'invalid_token' })
})

it('when a thousand other tokens came since, then a token is still taken, and one with its end changed is not', async () => {
  const bearer = await bearerFor('eve', 600)
  for (let i = 0; i < 1_001; i++) await authenticator.caller(await bearerFor(`caller-${i}`, 600))
  expect((await authenticator.caller(bearer)).id).toBe('client:eve')
  const forged = `${bearer.slice(0, -4)}AAAA`
  await expect(authenticator.caller(forged)).rejects.toMatchObject({ code: 'invalid_token' })
})

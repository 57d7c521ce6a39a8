import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { generateSecret, isSecret, signedHeaders, verify } from './signature.ts'

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const OTHER = generateSecret()
const NOW = Math.floor(Date.now() / 1000)
const MESSAGE = { id: 'evt_812', timestampSeconds: NOW, body: '{"type":"order.placed"}' }

const BODIES = [
  ['JSON', '{"type":"order.placed","data":{"total_cents":259800}}'],
  ['empty', ''],
  ['Unicode', JSON.stringify({ name: 'Zoë Ünal 株式会社 🏭 \u2028', note: '\u0000\u001f' })],
  ['a lone surrogate', '{"name":"\ud800"}'],
  ['full stops', JSON.stringify('1.2.3.')],
  ['large', JSON.stringify('x'.repeat(300_000))],
] as const

/** What the package of the specification says of a message. */
function judge(secret: string, headers: Record<string, string>, body: string): string {
  try {
    new Webhook(secret).verify(Buffer.from(body), headers)
    return 'verified'
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Headers as the package of the specification makes them. */
function signedByOthers(body: string) {
  const signature = new Webhook(SECRET).sign('msg_1', new Date(NOW * 1000), Buffer.from(body))
  return { 'webhook-id': 'msg_1', 'webhook-timestamp': String(NOW), 'webhook-signature': signature }
}

describe('a signature', () => {
  it.each(BODIES)('when the body is %s, then the standardwebhooks package verifies it', (_, body) => {
    const headers = signedHeaders([SECRET], { ...MESSAGE, body: Buffer.from(body) })
    expect(signedHeaders([SECRET], { ...MESSAGE, body })).toEqual(headers)
    expect(verify(SECRET, headers, Buffer.from(body), NOW)).toBe('verified')
    // The package parses what it has verified.
    expect(judge(SECRET, headers, body)).toBe('verified')
  })

  it.each(BODIES)('when the package signs a body that is %s, then it is verified here', (_, body) => {
    expect(verify(SECRET, signedByOthers(body), body, NOW)).toBe('verified')
    expect(verify(SECRET, signedByOthers(body), Buffer.from(body), NOW)).toBe('verified')
    expect(verify(OTHER, signedByOthers(body), body, NOW)).toBe('wrong_signature')
  })

  it('when the message is the one of the specification, then its signature is known', () => {
    // From the tests of its libraries.
    const message = {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestampSeconds: 1_614_265_330,
      body: '{"test": 2432232314}',
    }
    expect(signedHeaders([SECRET], message)).toEqual({
      'webhook-id': message.id,
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    })
  })

  it('when the timestamp has a fraction, then whole seconds are signed', () => {
    const headers = signedHeaders([SECRET], { ...MESSAGE, timestampSeconds: NOW + 0.999 })
    expect(headers).toEqual(signedHeaders([SECRET], MESSAGE))
  })

  it('when a secret is rotated, then a receiver with either one verifies the message', () => {
    const headers = signedHeaders([OTHER, SECRET], MESSAGE)
    expect(headers['webhook-signature']).toMatch(/^v1,\S{44} v1,\S{44}$/)
    for (const secret of [OTHER, SECRET]) {
      expect(verify(secret, headers, MESSAGE.body, NOW)).toBe('verified')
      expect(judge(secret, headers, MESSAGE.body)).toBe('verified')
    }
    expect(verify(generateSecret(), headers, MESSAGE.body, NOW)).toBe('wrong_signature')
  })

  it.each(['evt.812', '', 'evt 812', 'evt_812\r\nx: y', 'é'])('when the id is %j, then it is not signed', (id) => {
    expect(() => signedHeaders([SECRET], { ...MESSAGE, id })).toThrow('must have only letters')
  })
})

describe('a message that was changed', () => {
  const headers = signedHeaders([SECRET], MESSAGE)
  const { 'webhook-signature': signature } = headers

  it.each([
    ['another id', { ...headers, 'webhook-id': 'evt_813' }],
    ['another time', { ...headers, 'webhook-timestamp': String(NOW - 1) }],
    ['another version', { ...headers, 'webhook-signature': signature.replace('v1,', 'v1a,') }],
    ['half a signature', { ...headers, 'webhook-signature': signature.slice(0, -10) }],
    ['no value', { ...headers, 'webhook-signature': 'v1,' }],
    ['letters outside ASCII', { ...headers, 'webhook-signature': 'v1,é 株' }],
  ])('when it has %s, then its signature is wrong', (_, changed) => {
    expect(verify(SECRET, changed, MESSAGE.body, NOW)).toBe('wrong_signature')
    expect(judge(SECRET, changed, MESSAGE.body)).toBe('No matching signature found')
  })

  it('when its body was parsed and written again, then its signature is wrong', () => {
    expect(verify(SECRET, headers, '{ "type": "order.placed" }', NOW)).toBe('wrong_signature')
  })

  it('when other signatures stand before the right one, then it is verified', () => {
    const more = { ...headers, 'webhook-signature': `v1a,abc v2,x v1, ${signature}` }
    expect(verify(SECRET, more, MESSAGE.body, NOW)).toBe('verified')
  })

  it.each([
    ...(['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const).flatMap((name) => [
      [name, undefined] as const,
      [name, ''] as const,
      [name, ['a', 'b']] as const,
    ]),
  ])('when %s is %j, then a header is missing', (name, value) => {
    expect(verify(SECRET, { ...headers, [name]: value }, MESSAGE.body, NOW)).toBe('headers_missing')
  })

  it.each(['soon', '-1', '1.5', '1e3', '0x10', ' 1', '9'.repeat(13), 'NaN'])(
    'when its timestamp is %j, then it is invalid',
    (timestamp) => {
      const changed = { ...headers, 'webhook-timestamp': timestamp }
      expect(verify(SECRET, changed, MESSAGE.body, NOW)).toBe('invalid_timestamp')
    },
  )

  it.each([
    [-300, 'verified'],
    [300, 'verified'],
    [-301, 'too_new'],
    [301, 'too_old'],
    [86_400, 'too_old'],
  ])('when it is read %i seconds after it was sent, then it is %s', (seconds, verdict) => {
    expect(verify(SECRET, headers, MESSAGE.body, NOW + seconds)).toBe(verdict)
  })
})

describe('a secret', () => {
  it('when it is generated, then it has 32 random bytes and is well formed', () => {
    const secrets = Array.from({ length: 50 }, generateSecret)
    expect(new Set(secrets).size).toBe(50)
    for (const secret of secrets) {
      expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
      expect(isSecret(secret)).toBe(true)
    }
  })

  const ofBytes = (count: number) => `whsec_${Buffer.alloc(count, 7).toString('base64')}`

  it.each([ofBytes(24), ofBytes(64), SECRET])('when it is %s, then it is well formed', (secret) => {
    expect(isSecret(secret)).toBe(true)
  })

  it.each([
    '',
    'whsec_',
    ofBytes(23),
    ofBytes(65),
    ofBytes(32).slice('whsec_'.length),
    `WHSEC_${ofBytes(32)}`,
    `${ofBytes(32)}\n`,
    ofBytes(32).slice(0, -1),
    `whsec_${Buffer.alloc(32, 255).toString('base64url')}`,
  ])('when it is %j, then it is malformed, and never shown by the error', (secret) => {
    expect(isSecret(secret)).toBe(false)
    const signing = () => signedHeaders([secret], MESSAGE)
    expect(signing).toThrow(/^The secret of a webhook is malformed$/)
  })
})

import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { webhookConfigOf, webhookFaults, webhookVariables } from './config.ts'

const STRONG = 'kGm1Yb0Jm7q0p3c9m4vWc0aPq8sX2tYzU5nL'
const NEXT = 'Zr8uQe2Lw5xTn1Vb6Hd9Kj3Pf7Ms4Cg0YaIo'
const DEV_KEY = 'webhooks123'

const Known = z.object(webhookVariables)
type Given = Record<string, string>

function configOf(given: Given, production = false) {
  return webhookConfigOf(Known.parse(given), production)
}

/** Why a value is refused; undefined when it is accepted. */
function refusalOf(given: Given): string | undefined {
  return Known.safeParse(given).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)[0]
}

describe('the variables of webhooks', () => {
  it('when nothing is set, then each has its default', () => {
    expect(configOf({})).toEqual({
      keys: [DEV_KEY],
      allowHttp: false,
      allowedNetworks: [],
      disableAfterHours: 120,
    })
  })

  it('when all are set, then each is parsed', () => {
    const given = {
      WEBHOOK_KEYS: `${NEXT}, ${STRONG}`,
      WEBHOOK_ALLOW_HTTP: 'true',
      WEBHOOK_ALLOWED_NETWORKS: '10.20.0.0/16, fd00::/8',
      WEBHOOK_DISABLE_AFTER_HOURS: '24',
    }
    expect(configOf(given, true)).toEqual({
      keys: [NEXT, STRONG],
      allowHttp: true,
      allowedNetworks: [
        { address: '10.20.0.0', prefix: 16, family: 'ipv4' },
        { address: 'fd00::', prefix: 8, family: 'ipv6' },
      ],
      disableAfterHours: 24,
    })
  })

  it.each([
    ['WEBHOOK_DISABLE_AFTER_HOURS', ['1', '8760'], ['0', '8761', '1.5', 'soon', '-1']],
    ['WEBHOOK_ALLOW_HTTP', ['true', 'false'], ['TRUE', '1', 'yes']],
  ])('when %s is one of %j, then it is accepted, and %j are refused', (name, good, bad) => {
    for (const value of good) expect(refusalOf({ [name]: value })).toBeUndefined()
    for (const value of bad) expect(refusalOf({ [name]: value })).toMatch(new RegExp(`^${name}: must be `))
  })

  it.each(['10.0.0.0', '10.0.0.0/33', 'erp.example/8', ','])(
    'when the allowed networks are %j, then the refusal shows how to write one',
    (networks) => {
      expect(refusalOf({ WEBHOOK_ALLOWED_NETWORKS: networks })).toMatch(
        /^WEBHOOK_ALLOWED_NETWORKS: must be networks such as 10\.1\.0\.0\/16/,
      )
    },
  )
})

describe('the keys of webhooks', () => {
  it('when one is rotated, then two are accepted, with or without a space', () => {
    expect(webhookFaults({ WEBHOOK_KEYS: 'new, old' }, false)).toEqual([])
    expect(configOf({ WEBHOOK_KEYS: 'new,old' }).keys).toEqual(['new', 'old'])
    expect(webhookFaults({ WEBHOOK_KEYS: `${NEXT},${STRONG}` }, true)).toEqual([])
  })

  it.each(['a,b,c', 'a,', ',a', ',', ' '])('when they are %j, then they are refused', (keys) => {
    const [fault, ...others] = webhookFaults({ WEBHOOK_KEYS: keys }, false)
    expect(others).toEqual([])
    expect(fault).toBe('WEBHOOK_KEYS: must be one key, or two with a comma between while one is rotated')
  })

  it('when production has none, then it starts without endpoints', () => {
    expect(webhookFaults({}, true)).toEqual([])
    expect(configOf({}, true).keys).toEqual([])
  })

  it.each([
    ['published', DEV_KEY, /published/],
    ['short', 'x'.repeat(31), /at least 32 bytes/],
    ['a strong and a short one', `${STRONG},short`, /at least 32 bytes/],
    ['a published and a strong one', `${DEV_KEY},${STRONG}`, /published/],
  ])('when production has %s, then the refusal says how to make one', (_, keys, reason) => {
    const [fault = '', ...others] = webhookFaults({ WEBHOOK_KEYS: keys }, true)
    expect(others).toEqual([])
    expect(fault).toMatch(/^WEBHOOK_KEYS: .*openssl rand/)
    expect(fault).toMatch(reason)
    for (const key of keys.split(',')) expect(fault).not.toContain(key)
    expect(webhookFaults({ WEBHOOK_KEYS: keys }, false)).toEqual([])
  })
})

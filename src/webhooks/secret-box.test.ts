import { describe, expect, it } from 'vitest'
import { createSecretBox, SealedSecretError, type SecretBox } from './secret-box.ts'
import { generateSecret } from './signature.ts'

const KEY = 'kGm1Yb0Jm7q0p3c9m4vWc0aPq8sX2tYzU5nL'
const NEXT = 'Zr8uQe2Lw5xTn1Vb6Hd9Kj3Pf7Ms4Cg0YaIo'

function boxOf(...keys: string[]): SecretBox {
  const box = createSecretBox(keys)
  if (box === undefined) throw new Error('there is a key')
  return box
}

/** Why a stored secret is refused. */
function refusalOf(open: () => string): SealedSecretError {
  try {
    open()
  } catch (error) {
    if (error instanceof SealedSecretError) return error
    throw error
  }
  throw new Error('it was opened')
}

describe('a box for secrets', () => {
  it.each([
    ['a signing secret', generateSecret()],
    ['empty', ''],
    ['Unicode', 'Zoë 株式会社 🏭'],
    ['long', 'x'.repeat(10_000)],
  ])('when a secret is %s, then it opens as it was sealed, and is not shown', (_, secret) => {
    const sealed = boxOf(KEY).seal(secret, 7)
    expect(sealed).toMatch(/^v1\.[\w-]{8}\.[\w-]+$/)
    if (secret !== '') expect(sealed).not.toContain(secret)
    expect(boxOf(KEY).open(sealed, 7)).toBe(secret)
    expect(boxOf(KEY).open(sealed, '7')).toBe(secret)
  })

  it('when a secret is sealed twice, then the stored texts differ', () => {
    const box = boxOf(KEY)
    expect(box.seal('one')).not.toBe(box.seal('one'))
  })

  it('when there are no keys, then there is no box', () => {
    expect(createSecretBox([])).toBeUndefined()
  })

  it('when a stored text is of this version, then it still opens', () => {
    const stored =
      'v1.K_8iBBIU.K33j94bgoJvZn6Z8rZWELnY1C7v9-txcNpbQ7B-Ux8VstxDxHyiOAb36q4ORb85h4nzju49cUP-C4AqgyLb-yaLo'
    expect(boxOf(KEY).open(stored, 7)).toBe('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')
  })
})

describe('a rotation of keys', () => {
  it('when a new key comes first, then it seals, and the old one still opens', () => {
    const old = boxOf(KEY).seal('one', 7)
    const both = boxOf(NEXT, KEY)
    const fresh = both.seal('two', 7)
    expect([both.open(old, 7), both.open(fresh, 7)]).toEqual(['one', 'two'])
    expect([both.isCurrent(old), both.isCurrent(fresh)]).toEqual([false, true])
    expect(boxOf(NEXT).open(fresh, 7)).toBe('two')
  })

  it('when the key of a secret is gone, then the refusal says which one is needed', () => {
    const old = boxOf(KEY).seal('one', 7)
    const [, keyId = ''] = old.split('.')
    const { reason, message } = refusalOf(() => boxOf(NEXT).open(old, 7))
    expect(reason).toBe('unknown_key')
    expect(message).toContain(`needs the key ${keyId}`)
    for (const hidden of [KEY, NEXT, 'one']) expect(message).not.toContain(hidden)
  })

  it('when keys differ in one letter, then their ids differ', () => {
    expect(boxOf(`${KEY}x`).isCurrent(boxOf(`${KEY}y`).seal('one'))).toBe(false)
  })
})

describe('a stored secret', () => {
  const sealed = boxOf(KEY).seal('one', 7)

  it('when it is moved to another endpoint, then it is refused', () => {
    for (const endpointId of [8, '', undefined]) {
      expect(refusalOf(() => boxOf(KEY).open(sealed, endpointId)).reason).toBe('not_authentic')
    }
    const unbound = boxOf(KEY).seal('one')
    expect(boxOf(KEY).open(unbound)).toBe('one')
    expect(refusalOf(() => boxOf(KEY).open(unbound, 7)).reason).toBe('not_authentic')
  })

  it('when any of its bytes is changed, then it is refused', () => {
    const [version, keyId, content = ''] = sealed.split('.')
    const bytes = Buffer.from(content, 'base64url')
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes)
      changed[index] = (changed[index] ?? 0) ^ 1
      const text = [version, keyId, changed.toString('base64url')].join('.')
      expect(refusalOf(() => boxOf(KEY).open(text, 7)).reason).toBe('not_authentic')
    }
  })

  it('when it is cut or longer, then it is refused', () => {
    for (const text of [sealed.slice(0, -2), `${sealed}AAAA`]) {
      expect(['not_authentic', 'malformed']).toContain(refusalOf(() => boxOf(KEY).open(text, 7)).reason)
    }
  })

  it.each([
    '',
    'one',
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    sealed.replace('v1.', 'v2.'),
    `${sealed}\n`,
    'v1.abc.',
  ])('when it is %j, then it is malformed', (text) => {
    expect(refusalOf(() => boxOf(KEY).open(text, 7)).reason).toBe('malformed')
  })
})

import { OpenApiGeneratorV31 } from '@asteasolutions/zod-to-openapi'
import { describe, expect, it } from 'vitest'
import { visible, visibleOrEmpty } from './contract.ts'

/** Each is one code point, named by its number: nobody could read it here. */
const REFUSED = [
  ...[0x0000, 0x0009, 0x000a, 0x001f, 0x007f, 0x0085, 0x009f, 0x00ad, 0x061c],
  ...[0x200b, 0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e],
  ...[0x2060, 0x2064, 0x2066, 0x2069, 0x206f, 0xfeff],
]
const hex = (point: number) => `U+${point.toString(16).toUpperCase().padStart(4, '0')}`

describe('visible text', () => {
  const schema = visible(64)

  it.each([
    'PO-4711',
    'a',
    '-',
    '#',
    'Bestellung Nr. 7 / 2026',
    '発注書 12',
    'طلب ٤٢',
    'ਆਰਡਰ',
    'e\u0301',
    '🏭',
    '𐐨',
    'a\u00a0b',
    'a\u2014b',
  ])('when it is %j, then it is accepted unchanged', (text) => {
    expect(schema.parse(text)).toBe(text)
  })

  it.each([' PO 1 ', '\u00a0PO 1\u3000', '   PO 1'])('when it is %j, then the spaces around it are cut', (text) => {
    expect(schema.parse(text)).toBe('PO 1')
  })

  it.each(REFUSED.map((point) => [hex(point), String.fromCodePoint(point)]))(
    'when it has %s anywhere, then it is refused',
    (_, character) => {
      const inside = [`a${character}b`, `${character}a`, `a${character}`, `a ${character} b`, character]
      expect(inside.filter((text) => schema.safeParse(text).success)).toEqual([])
    },
  )

  it.each(['', ' ', '\u00a0', 'half \ud83d of a pair', '\udc00', 7, null, undefined])(
    'when it is %j, then it is refused',
    (value) => {
      expect(schema.safeParse(value).success).toBe(false)
    },
  )

  it('when it may be empty, then only the empty text is accepted beside the others', () => {
    const taken = ['', ' PO 1 ', '発注書 12'].map((text) => visibleOrEmpty(64).safeParse(text).data)
    expect(taken).toEqual(['', 'PO 1', '発注書 12'])
    const refused = [' ', '\n', 'a\u200b', '\ufeff', '🏭'.repeat(65)]
    expect(refused.filter((text) => visibleOrEmpty(64).safeParse(text).success)).toEqual([])
  })

  it('when it has 64 characters, then code points count, and one more is refused', () => {
    expect(schema.safeParse('🏭'.repeat(64)).success).toBe(true)
    expect(schema.safeParse('🏭'.repeat(65)).success).toBe(false)
  })

  it('when it is long and refused at its end, then that takes no time', () => {
    const started = performance.now()
    for (const text of [`a${' '.repeat(60_000)}\n`, `${' '.repeat(60_000)}\n`, `${'a '.repeat(30_000)}\n`]) {
      expect(schema.safeParse(text).success).toBe(false)
    }
    expect(performance.now() - started).toBeLessThan(1_000)
  })

  it('when it is described, then its pattern needs no Unicode mode and refuses the same', () => {
    const registered = schema.openapi('Visible')
    const { components } = new OpenApiGeneratorV31([{ type: 'schema', schema: registered }]).generateComponents()
    const described = components?.schemas?.Visible ?? {}
    const pattern = 'pattern' in described ? described.pattern : undefined
    expect(described).toMatchObject({ type: 'string', maxLength: 64 })
    expect(pattern).not.toContain('\\p')
    for (const flags of ['', 'u', 'v']) {
      const regex = new RegExp(pattern ?? '', flags)
      expect(['PO 1', ' 発注書 ', '🏭'].every((text) => regex.test(text))).toBe(true)
      expect(REFUSED.filter((point) => regex.test(`a${String.fromCodePoint(point)}b`))).toEqual([])
    }
  })
})

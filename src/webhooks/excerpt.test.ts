import { expect, it } from 'vitest'
import { excerptOf, MAX_EXCERPT_BYTES } from './excerpt.ts'

function excerpt(text: string): string {
  return excerptOf(new TextEncoder().encode(text), undefined)
}

it('when a body is short text, then it is shown as it is', () => {
  const text = '{"error":"Größe fehlt 🏭"}\r\n\tat line 1'
  expect(excerpt(text)).toBe(text)
  expect(excerpt('')).toBe('')
})

it('when a body is long, then it is cut between characters', () => {
  expect(excerpt('x'.repeat(5_000))).toBe('x'.repeat(MAX_EXCERPT_BYTES))
  expect(excerpt('🏭'.repeat(5_000))).toBe('🏭'.repeat(MAX_EXCERPT_BYTES / 4))
  expect(excerpt(`x${'é'.repeat(5_000)}`)).toBe(`x${'é'.repeat(511)}`)
})

it('when a body is no text, then the excerpt is well-formed and within the limit', () => {
  for (const byte of [0x00, 0x80, 0xc3, 0xed, 0xf0, 0xff]) {
    const shown = excerptOf(new Uint8Array(5_000).fill(byte), undefined)
    expect(shown.isWellFormed()).toBe(true)
    expect(Buffer.byteLength(shown)).toBeLessThanOrEqual(MAX_EXCERPT_BYTES)
    expect(shown).toMatch(/^\u{FFFD}+$/u)
  }
})

it.each(['\0', '\x1b[31m', '\x07', '\x7f', '\x9b', '\u202e', '\u2066', '\u200f'])(
  'when a body has the control character %j, then it is replaced',
  (text) => {
    expect(excerpt(`a${text}b`)).toBe(`a\u{FFFD}${text.slice(1)}b`)
  },
)

it('when a body is encoded, then it is not shown', () => {
  const note = '(encoded, although the request asked for no encoding)'
  expect(excerptOf(Uint8Array.of(0x1f, 0x8b), 'gzip')).toBe(note)
  expect(excerptOf(Uint8Array.of(0x61), 'identity')).toBe('a')
})

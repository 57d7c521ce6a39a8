import { describe, expect, it } from 'vitest'
import { foldCase } from './text.ts'

describe('text without case', () => {
  it.each([
    ['lap-15', 'LAP-15'],
    ['STRASSE', 'Straße'],
    ['Straße', 'STRAẞE'],
    ['ΟΔΟΣ', 'οδος'],
    ['ΟΔΟΣ', 'οδοσ'],
    ['é', 'E\u0301'],
    ['ǰ', 'J\u030c'],
    ['ﬁ-1', 'FI-1'],
    ['ДЕТАЛЬ', 'деталь'],
    ['\u212a', 'k'],
  ])('when %j and %j differ by case or form only, then they are the same', (one, other) => {
    expect(foldCase(one)).toBe(foldCase(other))
  })

  it.each([
    ['a', 'ä'],
    ['部品', '部品1'],
    ['が', 'か'],
    ['が', 'ガ'],
    ['A-1', 'A1'],
    ['１', '1'],
  ])('when %j and %j differ by more, then they are not the same', (one, other) => {
    expect(foldCase(one)).not.toBe(foldCase(other))
  })

  it('when any character is folded, then folding again or in capitals changes nothing', () => {
    const wrong = characters().filter((character) => {
      const folded = foldCase(character)
      return foldCase(folded) !== folded || foldCase(character.toUpperCase()) !== folded
    })
    expect(wrong).toEqual([])
  })

  it('when characters fold to several, then 64 of them fit into a key of 255', () => {
    const longest = characters().filter((character) => 64 * [...foldCase(character)].length > 255)
    expect(longest).toEqual([])
  })
})

/** All of Unicode. */
function characters(): string[] {
  const codes = Array.from({ length: 0x110000 }, (_, code) => code)
  return codes.filter((code) => code < 0xd800 || code > 0xdfff).map((code) => String.fromCodePoint(code))
}

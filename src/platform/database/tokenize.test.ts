import { describe, expect, it } from 'vitest'
import { tokenize } from './tokenize.ts'

describe('words', () => {
  it.each([
    ['ACME Corp', ['acme', 'corp']],
    ['ops.eu+x@acme-corp.com', ['ops', 'eu', 'x', 'acme', 'corp', 'com']],
    ['Laptop 15"', ['laptop', '15']],
    ["  O'Neil\t& Sons!  ", ['o', 'neil', 'sons']],
    ['LAP_15/USB-C', ['lap', '15', 'usb', 'c']],
    ['', []],
    ['!? -- %_*', []],
  ])('when a text is %j, then it is split at all but letters and digits', (text, words) => {
    expect(tokenize(text)).toEqual(words)
  })

  it.each([
    ['Café', 'CAFÉ'],
    ['Núñez', 'Nunez'],
    ['Cafe\u0301', 'Caf\u00e9'],
    ['Straße', 'STRASSE'],
    ['ΟΔΟΣ', 'οδός'],
    ['İzmir', 'izmir'],
    ['ﬁne', 'fine'],
    ['ＡＢＣ１２', 'abc12'],
    ['Ελλάς', 'ΕΛΛΑΣ'],
    ['Øl', 'ol'],
    ['ØRSTED', 'orsted'],
    ['Ǿ', 'o'],
    ['Đorđe', 'Dorde'],
    ['Ærø', 'AERO'],
    ['Łódź', 'lodz'],
    ['Þórður', 'Thordur'],
    ['Œuvre', 'oeuvre'],
    ['STRAẞE', 'strasse'],
    ['Ħaż-Żebbuġ', 'haz zebbug'],
    ['Kárášjohka Ŋ Ŧ', 'karasjohka n t'],
    ['Əliyev', 'eliyev'],
  ])('when texts are as alike as %s and %s, then their words are the same', (one, other) => {
    expect(tokenize(one)).toEqual(tokenize(other))
  })

  it('when scripts have no case, then their words stay as they are', () => {
    expect(tokenize('株式会社 مكتب')).toEqual(['株式会社', 'مكتب'])
  })

  it('when a text is Cyrillic or Greek, then it is not transliterated', () => {
    expect(tokenize('Ђорђе Øst δρόμος')).toEqual(['ђорђе', 'ost', 'δρομοσ'])
  })

  it('when a word comes twice, or in several texts, then it is listed once', () => {
    expect(tokenize('Acme ACME', 'ops@acme.com')).toEqual(['acme', 'ops', 'com'])
  })

  it('when a word is longer than its column, then it is cut between two characters', () => {
    expect(tokenize('a'.repeat(70))).toEqual(['a'.repeat(64)])
    expect(tokenize('Æ'.repeat(40))).toEqual(['ae'.repeat(32)])
    expect(tokenize('𝒳x'.repeat(40))).toEqual(['x'.repeat(64)])
    expect(tokenize('𐐨'.repeat(70))).toEqual(['𐐨'.repeat(64)])
  })
})

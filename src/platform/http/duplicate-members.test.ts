import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { findDoubledMember } from './duplicate-members.ts'

describe('a duplicate member of a JSON object', () => {
  it.each([
    ['{"a":1,"a":1}', 'a'],
    ['{"a":1,"b":2,"a":3}', 'a'],
    ['{ "a" : 1 , "a" : 2 }', 'a'],
    ['{"a":{"b":1},"c":{"b":2,"b":3}}', 'c.b'],
    ['{"items":[{"qty":1},{"qty":1,"x":[1,[2,{"y":3}]],"qty":2}]}', 'items.1.qty'],
    ['[[],[{"a":1,"a":2}]]', '1.0.a'],
    ['{"a":[1,2],"a":[3]}', 'a'],
    ['{"a":{"a":1},"a":2}', 'a'],
    ['{"":1,"":2}', ''],
    ['{"\\u0061":1,"a":2}', 'a'],
    ['{"a\\"b":1,"a\\u0022b":2}', 'a"b'],
    ['{"\\\\":1,"\\\\":2}', '\\'],
    ['{"a":"\\\\","a":"\\""}', 'a'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
  ])('when the text is %s, then %j is found', (text, path) => {
    expect(JSON.parse(text)).toBeDefined()
    expect(findDoubledMember(text)).toBe(path)
  })

  it.each([
    '{"a":"a","b":"a"}',
    '{"a":{"a":{"a":1}}}',
    '[{"a":1},{"a":1}]',
    '{"a":"{\\"a\\":1,\\"a\\":2}"}',
    '{"a":["a","a"],"b":["a"]}',
    '{"a":1,"A":2,"a ":3}',
    '"a"',
    '1',
  ])('when the text is %s, then none is found', (text) => {
    expect(findDoubledMember(text)).toBeUndefined()
  })

  it('when a value was written as JSON, with any spacing, then none is found', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(0, 1, '\t'), (value, space) => {
        expect(findDoubledMember(JSON.stringify(value, undefined, space))).toBeUndefined()
      }),
    )
  })

  it('when members are repeated anywhere in a value, then one of them is found', () => {
    const objects = fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 })
    fc.assert(
      fc.property(objects, fc.array(fc.jsonValue()), fc.nat(), (object, before, which) => {
        const members = Object.entries(object).map((entry) => entry.map((part) => JSON.stringify(part)).join(':'))
        const doubled = `{${[...members, members[which % members.length]].join()}}`
        const [name] = Object.entries(object)[which % members.length] ?? []
        expect(findDoubledMember(`[${[...before.map((it) => JSON.stringify(it)), doubled].join()}]`)).toBe(
          `${before.length}.${name}`,
        )
      }),
    )
  })

  it('when the text is not JSON, then the scan still ends', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}[],:"\\a ') }), (text) => void findDoubledMember(text)),
    )
  })
})

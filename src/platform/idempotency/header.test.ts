import { describe, expect, it } from 'vitest'
import { AppError } from '../core/errors.ts'
import { idempotencyKey } from './header.ts'

describe('an idempotency key', () => {
  it.each([
    ['bare', ['key-1'], 'key-1'],
    ['quoted', ['"key-1"'], 'key-1'],
    ['in both headers', ['key-1', '"key-1"'], 'key-1'],
    ['in one of them', [undefined, 'key-1'], 'key-1'],
    ['as long as may be', ['k'.repeat(255)], 'k'.repeat(255)],
    ['as long as may be, and quoted', [`"${'k'.repeat(255)}"`], 'k'.repeat(255)],
    ['one quotation mark', ['"'], '"'],
    ['of signs', ['!~:/,;"\''], '!~:/,;"\''],
    ['nowhere', [undefined, undefined], undefined],
  ])('when it is %s, then it is accepted', (_, given, key) => {
    expect(idempotencyKey(...given)).toBe(key)
  })

  it.each([
    ['empty', ['']],
    ['empty quotes', ['""']],
    ['too long', ['k'.repeat(256)]],
    ['with a space', ['key 1']],
    ['with a letter beyond ASCII', ['clé']],
    ['with a control character', ['key\u0007']],
    ['two different ones', ['key-1', 'key-2']],
    ['a good one and a bad one', ['key-1', '']],
  ])('when it is %s, then it is refused', (_, given) => {
    expect(() => idempotencyKey(...given)).toThrow(AppError)
  })
})

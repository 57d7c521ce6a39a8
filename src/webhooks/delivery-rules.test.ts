import { describe, expect, it } from 'vitest'
import { consequenceOf, isGivenUp } from './delivery-rules.ts'

const NOW = '2026-01-07 10:00:00.000'
const MIDDLE = 0.5
const SUCCEEDED = { status: 'succeeded', next_attempt_at: null, finished_at: NOW }
const FAILED = { status: 'failed', next_attempt_at: null, finished_at: NOW }
const again = (next_attempt_at: string) => ({ status: 'pending', next_attempt_at })

describe('what follows an attempt', () => {
  it.each([
    ['a 200', 200, null, 0, { ...SUCCEEDED, tries: 1 }, {}],
    ['a 204 at the last attempt', 204, null, 9, { ...SUCCEEDED, tries: 10 }, {}],
    ['a 500', 500, null, 0, { ...again('2026-01-07 10:00:05.000'), tries: 1 }, {}],
    ['a 302 at the second', 302, null, 1, { ...again('2026-01-07 10:05:00.000'), tries: 2 }, {}],
    ['a timeout at the ninth', null, 'timeout', 8, { ...again('2026-01-08 10:00:00.000'), tries: 9 }, {}],
    ['a 400 at the last', 400, null, 9, { ...FAILED, tries: 10 }, { isExhausted: true }],
    ['a timeout at the last', null, 'timeout', 9, { ...FAILED, tries: 10 }, { isExhausted: true }],
    ['a 410', 410, null, 3, { ...again(NOW), tries: 3 }, { isGone: true }],
    ['a 410 at the last', 410, null, 9, { ...again(NOW), tries: 9 }, { isGone: true }],
    ['a deleted event', null, 'event_deleted', 2, { ...FAILED, tries: 3 }, {}],
    [
      'a missing key at the last',
      null,
      'not_signed',
      9,
      { ...again(NOW), tries: 9 },
      { pausedUntil: '2026-01-07 10:05:00.000' },
    ],
  ])('when it ended with %s, then so', (_, status, error, tries, delivery, endpoint) => {
    const nothing = { isGone: false, isExhausted: false, pausedUntil: undefined }
    const consequence = consequenceOf({ status, error, retryAfter: null }, tries, NOW, MIDDLE)
    expect(consequence).toEqual({ ...nothing, ...endpoint, delivery })
  })

  it.each([
    [429, '90', '2026-01-07 10:01:30.000'],
    [503, 'Wed, 07 Jan 2026 11:00:00 GMT', '2026-01-07 11:00:00.000'],
    [503, '864000', '2026-01-08 10:00:00.000'],
    [500, '90', undefined],
    [200, '90', undefined],
    [410, '90', undefined],
  ])('when a %i asks for a pause of %s, then until %s', (status, retryAfter, pausedUntil) => {
    for (const tries of [0, 9]) {
      expect(consequenceOf({ status, error: null, retryAfter }, tries, NOW, MIDDLE).pausedUntil).toBe(pausedUntil)
    }
  })
})

it('when hours have passed without a success, then an endpoint is given up', () => {
  expect(isGivenUp('2026-01-02 10:00:00.000', NOW, 120)).toBe(true)
  expect(isGivenUp('2026-01-02 10:00:00.001', NOW, 120)).toBe(false)
})

import { describe, expect, it } from 'vitest'
import { MAX_ATTEMPTS, outcomeOf, pauseBeforeRetry, pauseOf } from './retry-schedule.ts'

const HOUR_MS = 3_600_000
const NOW_MS = Date.parse('2026-11-24T06:35:10.500Z')
const MIDDLE = 0.5

describe('the attempts of a delivery', () => {
  it.each([
    [0, 0],
    [1, 5],
    [2, 5 * 60],
    [3, 30 * 60],
    [4, 2 * 3600],
    [5, 5 * 3600],
    [6, 10 * 3600],
    [7, 14 * 3600],
    [8, 20 * 3600],
    [9, 24 * 3600],
  ])('when %i were made, then the next one comes after %i s, or 20 %% more or less', (made, seconds) => {
    expect(pauseBeforeRetry(made, MIDDLE)).toBe(seconds * 1000)
    expect(pauseBeforeRetry(made, 0)).toBe(seconds * 800)
    expect(pauseBeforeRetry(made, 1)).toBe(seconds * 1200)
  })

  it('when ten were made, then none is left', () => {
    expect(MAX_ATTEMPTS).toBe(10)
    for (const made of [10, 11, 1000]) expect(pauseBeforeRetry(made, MIDDLE)).toBeUndefined()
  })

  it('when all fail, then they take 75 hours', () => {
    const pauses = Array.from({ length: MAX_ATTEMPTS }, (_, made) => pauseBeforeRetry(made, MIDDLE) ?? Number.NaN)
    expect(Math.floor(pauses.reduce((sum, pause) => sum + pause) / HOUR_MS)).toBe(75)
  })
})

describe('the outcome of an attempt', () => {
  it.each([
    ['succeeded', [200, 201, 202, 204, 226, 299]],
    ['gone', [410]],
    ['failed', [100, 199, 300, 301, 302, 304, 307, 308, 400, 401, 404, 409, 411, 429, 500, 502, 503, 504, 599]],
  ] as const)('when it %s, then its status is one of these', (outcome, statuses) => {
    expect(statuses.map(outcomeOf)).toEqual(statuses.map(() => outcome))
  })
})

describe('the pause that a response asks for', () => {
  it.each([429, 502, 503, 504])('when a %i has Retry-After, then the endpoint is paused', (status) => {
    expect(pauseOf(status, '120', NOW_MS)).toBe(120_000)
    expect(pauseOf(status, null, NOW_MS)).toBeUndefined()
  })

  it.each([200, 202, 301, 400, 404, 408, 410, 413, 500, 501])(
    'when a %i has Retry-After, then nothing is paused',
    (status) => {
      expect(pauseOf(status, '120', NOW_MS)).toBeUndefined()
    },
  )

  it.each([
    ['1', 1_000],
    [' 7 ', 7_000],
    ['007', 7_000],
    ['86400', 24 * HOUR_MS],
    ['86401', 24 * HOUR_MS],
    ['9'.repeat(400), 24 * HOUR_MS],
    ['Tue, 24 Nov 2026 06:35:11 GMT', 500],
    ['Tue, 24 Nov 2026 07:35:10 GMT', HOUR_MS - 500],
    ['Thu, 31 Dec 2099 23:59:59 GMT', 24 * HOUR_MS],
  ])('when Retry-After is %j, then the pause is %i ms', (retryAfter, pauseMs) => {
    expect(pauseOf(503, retryAfter, NOW_MS)).toBe(pauseMs)
  })

  it.each([
    '0',
    '000',
    '',
    ' ',
    '-1',
    '+5',
    '1.5',
    '1e3',
    '0x10',
    'soon',
    '120, 60',
    'Tue, 24 Nov 2026 06:35:10 GMT',
    'Fri, 01 Jan 1999 00:00:00 GMT',
    'Tue, 99 Foo 2026 06:35:11 GMT',
    'Tue, 24 Nov 2026 06:35:11 CET',
    '2099-12-31T23:59:59Z',
    '2099-01',
  ])('when Retry-After is %j, then it asks for no pause', (retryAfter) => {
    expect(pauseOf(503, retryAfter, NOW_MS)).toBeUndefined()
  })
})

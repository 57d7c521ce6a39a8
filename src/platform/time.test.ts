import { describe, expect, it } from 'vitest'
import { addMinutes, fromRfc3339, toRfc3339, toRfc3339OrNull } from './time.ts'

describe('times', () => {
  it('when a database time is told to a caller, then it is RFC 3339 in UTC', () => {
    expect(toRfc3339('2026-11-24 06:35:10.123')).toBe('2026-11-24T06:35:10.123Z')
    expect(toRfc3339OrNull('2026-11-24 06:35:10.000')).toBe('2026-11-24T06:35:10.000Z')
    expect(toRfc3339OrNull(null)).toBeNull()
  })

  it.each([
    ['2026-11-24T06:35:10.123Z', '2026-11-24 06:35:10.123'],
    ['2026-11-24T06:35:10Z', '2026-11-24 06:35:10.000'],
    ['2026-11-24T06:35Z', '2026-11-24 06:35:00.000'],
    ['2026-11-24', '2026-11-24 00:00:00.000'],
    ['2026-12-31T23:30:00-02:00', '2027-01-01 01:30:00.000'],
    ['2026-01-01T00:30:00+05:30', '2025-12-31 19:00:00.000'],
    ['2026-11-24T06:35:10.123999Z', '2026-11-24 06:35:10.123'],
  ])('when a caller says %s, then the database has %s', (said, kept) => {
    expect(fromRfc3339(said)).toBe(kept)
  })

  it.each([
    ['2026-11-24 06:35:10.123', 1, '2026-11-24 06:36:10.123'],
    ['2026-12-31 23:59:59.999', 1, '2027-01-01 00:00:59.999'],
    ['2026-01-01 00:05:00.000', -10, '2025-12-31 23:55:00.000'],
    ['2028-02-28 12:00:00.000', 1440, '2028-02-29 12:00:00.000'],
    ['2026-11-24 06:35:10.123', 0, '2026-11-24 06:35:10.123'],
  ])('when %s is moved by %d minutes, then it is %s', (time, minutes, moved) => {
    expect(addMinutes(time, minutes)).toBe(moved)
  })
})

/** A UTC time as the database keeps it: `2026-11-24 06:35:10.123`. Sorts as text, the same on both engines. */
export type DbTime = string

/** `2026-11-24 06:35:10.123` → `2026-11-24T06:35:10.123Z` (RFC 3339). */
export function toRfc3339(time: DbTime): string {
  return `${time.slice(0, 10)}T${time.slice(11)}Z`
}

/** Like {@link toRfc3339}, for a time that may be absent. */
export function toRfc3339OrNull(time: DbTime | null): string | null {
  return time === null ? null : toRfc3339(time)
}

// The range of times that every engine can hold.
const FIRST_MS = Date.parse('1000-01-01T00:00:00.000Z')
const LAST_MS = Date.parse('9999-12-31T23:59:59.999Z')

const FINER = /(?<=\.\d{3})\d+/

/**
 * Any RFC 3339 time, whatever its offset and precision → the database's form, in UTC. Fractions of a millisecond are rounded
 * up, so that comparing stored times with the result is the same as comparing them with the exact time. Times outside the
 * years 1000 to 9999 become the first or last moment of that range.
 */
export function fromRfc3339(time: string): DbTime {
  const [finer = ''] = FINER.exec(time) ?? []
  // `Date` misreads fractions of more than nine digits, so it gets three.
  return toDbTime(Date.parse(time.replace(FINER, '')) + (/[1-9]/.test(finer) ? 1 : 0))
}

/** The ms since a moment of `performance.now()`, as the log has them. */
export function msSince(start: number): number {
  return Math.round((performance.now() - start) * 10) / 10
}

/** A time in ms since 1970. */
export function msOf(time: DbTime): number {
  return Date.parse(toRfc3339(time))
}

/** A database time moved by so many milliseconds, which may be negative. */
export function addMs(time: DbTime, ms: number): DbTime {
  return toDbTime(msOf(time) + ms)
}

/** Like {@link addMs}, by minutes. */
export function addMinutes(time: DbTime, minutes: number): DbTime {
  return addMs(time, minutes * 60_000)
}

export const MINUTES_PER_DAY = 24 * 60

/** Like {@link addMs}, by days of 24 hours. */
export function addDays(time: DbTime, days: number): DbTime {
  return addMinutes(time, days * MINUTES_PER_DAY)
}

const days = new Map<string, Intl.DateTimeFormat>()

/** The day of a time in a time zone of the IANA database: `2026-11-24`. */
export function dayIn(timeZone: string, time: DbTime): string {
  // Swedish writes dates as ISO 8601 does.
  const format = days.get(timeZone) ?? new Intl.DateTimeFormat('sv', { timeZone, dateStyle: 'short' })
  days.set(timeZone, format)
  return format.format(msOf(time))
}

/** The later of two times. */
export function laterOf(a: DbTime, b: DbTime): DbTime {
  return a > b ? a : b
}

function toDbTime(ms: number): DbTime {
  const kept = Math.min(Math.max(ms, FIRST_MS), LAST_MS)
  return new Date(kept).toISOString().slice(0, 23).replace('T', ' ')
}

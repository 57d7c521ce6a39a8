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

/** Any RFC 3339 time, whatever its offset and precision → the database's form, in UTC, cut to milliseconds. */
export function fromRfc3339(time: string): DbTime {
  return new Date(time).toISOString().slice(0, 23).replace('T', ' ')
}

/** A database time moved by so many minutes, which may be negative. */
export function addMinutes(time: DbTime, minutes: number): DbTime {
  return fromRfc3339(new Date(Date.parse(toRfc3339(time)) + minutes * 60_000).toISOString())
}

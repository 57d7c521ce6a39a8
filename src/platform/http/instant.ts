import { z } from './schema.ts'

/** A day of the calendar, with its leap years. */
export const DATE =
  '(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|' +
  '(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'

/** The part of RFC 3339 that `Date` parses: no leap seconds, and no lower-case letters. */
const TIME = 'T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d+)?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)'

/**
 * A time, or a date that means its first moment in UTC. It is one pattern, because clients can't be generated from a
 * union of two formats.
 */
export const Instant = z.string().regex(new RegExp(`^${DATE}(${TIME})?$`), {
  error: ({ input }) =>
    /T.* \d\d:\d\d$/.test(String(input))
      ? 'Must be an RFC 3339 time or a date. In a query a + is read as a space: write %2B'
      : 'Must be an RFC 3339 time or a date',
})

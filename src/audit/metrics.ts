import type { DatabaseGauge } from '../platform/database/gauges.ts'

export const AUDIT_GAUGES: readonly DatabaseGauge[] = [
  {
    series: {
      kind: 'gauge',
      name: 'b2b_books_balanced',
      help: 'Whether the last audit of the books found no difference: 1 or 0.',
      labels: [],
    },
    kind: 'number',
    select: () => 'select balanced as value from last_audit where id = 1',
  },
  {
    series: {
      kind: 'gauge',
      name: 'b2b_books_checked_timestamp_seconds',
      help: 'When the books were last audited, in seconds since 1970.',
      labels: [],
    },
    kind: 'time',
    select: () => 'select checked_at as value from last_audit where id = 1',
  },
]

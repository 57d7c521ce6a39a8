import type { DatabaseGauge } from '../platform/database/gauges.ts'

export const EVENT_GAUGES: readonly DatabaseGauge[] = [
  {
    series: {
      kind: 'gauge',
      name: 'b2b_events_unnumbered_age_seconds',
      help: 'Age of the oldest event that has no position, so that no reader of the feed sees it.',
      labels: [],
    },
    kind: 'age',
    // The index has them in the order of ids, and so nearly of their times.
    select: (byIndex) =>
      `select occurred_at as value from events e ${byIndex('events_position')} where position = 0 limit 1`,
  },
]

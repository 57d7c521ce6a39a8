import { createHistogram } from 'node:perf_hooks'

/** In ms; NaN when nothing was recorded. */
export interface Percentiles {
  p50: number
  p95: number
  p99: number
  max: number
}

const NS_PER_MS = 1e6
const MAX_NS = 3_600_000 * NS_PER_MS

/** A histogram of durations, to three significant digits. It counts whole nanoseconds, since it takes only integers. */
export function createLatencies() {
  const histogram = createHistogram({ lowest: 1, highest: MAX_NS, figures: 3 })
  const inMs = (ns: number) => (histogram.count === 0 ? Number.NaN : ns / NS_PER_MS)
  return {
    record: (ms: number) => histogram.record(Math.max(1, Math.round(ms * NS_PER_MS))),
    count: () => histogram.count,
    percentiles: (): Percentiles => ({
      p50: inMs(histogram.percentile(50)),
      p95: inMs(histogram.percentile(95)),
      p99: inMs(histogram.percentile(99)),
      max: inMs(histogram.max),
    }),
  }
}

export function percentilesOf(durationsMs: Iterable<number>): Percentiles {
  const latencies = createLatencies()
  for (const ms of durationsMs) latencies.record(ms)
  return latencies.percentiles()
}

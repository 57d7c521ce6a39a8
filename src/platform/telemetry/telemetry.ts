import type { Embed } from './embedded.ts'
import { type Metrics, NO_METRICS } from './metrics.ts'
import type { Tracer } from './spans.ts'

/** How a process is seen from outside. One value is passed to all that has something to tell. */
export interface Telemetry {
  metrics: Metrics
  /** Absent where no traces are recorded. */
  tracer?: Tracer | undefined
  /** Present where lines of the log carry metrics. */
  embed?: Embed | undefined
}

/** For programs that nobody watches. */
export const NO_TELEMETRY: Telemetry = { metrics: NO_METRICS }

import { type Metrics, NO_METRICS } from './metrics.ts'

/** How a process is seen from outside. One value is passed to all that has something to tell. */
export interface Telemetry {
  metrics: Metrics
}

/** For programs that nobody watches. */
export const NO_TELEMETRY: Telemetry = { metrics: NO_METRICS }

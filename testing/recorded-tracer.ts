import { type EndedSpan, tracerOf } from '../src/platform/telemetry/recorded-spans.ts'

/** A tracer whose spans stay in memory. @param ratio the share of traces without a caller that are recorded */
export function recordedTracer(ratio = 1) {
  const spans: EndedSpan[] = []
  return { tracer: tracerOf('tests', ratio, (span) => void spans.push(span)), ended: (): readonly EndedSpan[] => spans }
}

import type { Span } from './spans.ts'

/** Links all calls of one request, in the services' logs and in the callers' traces. */
export interface Trace {
  correlationId: string
  /** W3C Trace Context: that of the span under way, or the caller's, passed on unchanged where no traces are recorded. */
  traceparent: string | undefined
  /** The span under way, which is the parent of what follows. Absent where no traces are recorded. */
  span?: Span | undefined
}

export const CORRELATION_ID = /^[\w.:-]{1,128}$/
/** The id of a principal, in calls between services. */
export const PRINCIPAL_ID = /^[\x21-\x7e]{1,128}$/
export const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}$/

/** The same trace, seen from a span of it. */
export function within(trace: Trace, span: Span | undefined): Trace {
  return span === undefined ? trace : { ...trace, traceparent: span.traceparent, span }
}

/** What log lines tell of a trace. Only a recorded span has an id that a reader could look up. */
export function traceFieldsOf({ traceparent, span }: Trace): { trace_id?: string; span_id?: string } {
  if (traceparent === undefined) return {}
  const trace_id = traceparent.slice(3, 35)
  return span?.isRecorded ? { trace_id, span_id: traceparent.slice(36, 52) } : { trace_id }
}

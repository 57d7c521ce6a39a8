import { AppError } from '../core/errors.ts'
import type { Span } from '../telemetry/spans.ts'
import type { Trace } from '../telemetry/trace.ts'

/** What a span of a call to another service is made of. */
export interface TracedCall {
  method: string
  trace?: Trace
  /** How many attempts there were before. */
  resends?: number
}

/**
 * Its `traceparent` is what the other service gets. Undefined where no traces are recorded.
 * @param server the name of the other service: a path can have ids
 */
export function startCall(server: string, { method, trace, resends = 0 }: TracedCall): Span | undefined {
  const span = trace?.span
  if (!span?.isRecorded) return span
  const resent = resends > 0 && { 'http.request.resend_count': resends }
  return span.startChild(`${method} ${server}`, {
    kind: 'client',
    attributes: { 'http.request.method': method, ...resent },
  })
}

/** @param outcome the response, or why there is none */
export function endCall(span: Span | undefined, outcome: { status: number } | AppError): void {
  if (!span?.isRecorded) return
  const { status } = outcome
  if (outcome instanceof AppError) span.end(outcome.code)
  else {
    span.set({ 'http.response.status_code': status })
    span.end(status < 400 ? undefined : String(status))
  }
}

import { AppError } from '../core/errors.ts'
import type { Span, Tracer } from '../telemetry/spans.ts'
import type { Trace } from '../telemetry/trace.ts'

/** What a span of a request to another service is made of. */
export interface TracedCall {
  method: string
  trace?: Trace
  /** The spans of the calls that share the request. It is then part of no caller's trace, and linked to each. */
  sharedBy?: readonly (Span | undefined)[]
  /** How many attempts there were before. */
  resends?: number
}

/** Where the call goes: the service's name, since a path can have ids. */
export interface TracedUpstream {
  name: string
  telemetry: { tracer?: Tracer | undefined }
}

/** Its `traceparent` is what the other service gets. Undefined where no traces are recorded. */
export function startCall({ name, telemetry: { tracer } }: TracedUpstream, call: TracedCall): Span | undefined {
  const { method, trace, sharedBy, resends = 0 } = call
  if (tracer === undefined || (sharedBy === undefined && !trace?.span?.isRecorded)) return trace?.span
  const resent = resends > 0 && { 'http.request.resend_count': resends }
  const options = { kind: 'client', attributes: { 'http.request.method': method, ...resent } } as const
  if (sharedBy === undefined) return trace?.span?.startChild(`${method} ${name}`, options)
  const causes = sharedBy.map((span) => span?.traceparent)
  return tracer.startLinked(`${method} ${name}`, causes, options)
}

/** @param outcome the response, or why there is none */
export function endCall(span: Span | undefined, outcome: { status: number } | AppError): void {
  const { status } = outcome
  if (outcome instanceof AppError) span?.end(outcome.code)
  else {
    span?.set({ 'http.response.status_code': status })
    span?.end(status < 400 ? undefined : String(status))
  }
}

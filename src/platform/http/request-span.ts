import type { Context } from 'hono'
import type { Span, Tracer } from '../telemetry/spans.ts'
import { within } from '../telemetry/trace.ts'
import type { AppEnv } from './app.ts'
import { PROBE } from './load-shedding.ts'
import { toAppError } from './problem-details.ts'
import { methodOf, routeOf } from './request-meter.ts'

/** Starts the span of a request, below its caller's. From then on, its trace is seen from there. Probes have none. */
export function startRequestSpan(c: Context<AppEnv>, tracer: Tracer | undefined): Span | undefined {
  if (tracer === undefined || PROBE.test(c.req.path)) return undefined
  const trace = c.get('trace')
  const span = tracer.start(methodOf(c), trace.traceparent, { kind: 'server' })
  // What is not recorded, and came from no caller's trace, has no name that anybody could look up.
  c.set('trace', span.isRecorded ? within(trace, span) : { ...trace, span })
  return span
}

/** Ends it with what only the end knows. */
export function endRequestSpan(c: Context<AppEnv>, span: Span): void {
  if (!span.isRecorded) return
  const { status } = c.res
  span.rename(`${methodOf(c)} ${routeOf(c)}`)
  span.set({
    'http.request.method': methodOf(c),
    'http.route': routeOf(c),
    'http.response.status_code': status,
    'b2b.correlation_id': c.get('trace').correlationId,
  })
  span.end(status < 500 ? undefined : c.error === undefined ? String(status) : toAppError(c.error).code)
}

import type { Context, TypedResponse } from 'hono'
import { routePath } from 'hono/route'
import type { JSONParsed } from 'hono/utils/types'
import type { z } from 'zod'
import { msSince } from '../core/time.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { AddToLog, AppEnv } from '../http/app.ts'
import type { Route } from '../http/contract.ts'
import { toAppError } from '../http/problem-details.ts'
import { problemDocument } from '../http/problem-document.ts'
import { countReplay, send } from '../http/response.ts'
import type { Span } from '../telemetry/spans.ts'
import { type Trace, traceFieldsOf, within } from '../telemetry/trace.ts'
import type { BatchResponse } from './batch-contract.ts'

interface BatchedCall {
  correlation_id: string
  traceparent?: string | undefined
}

interface CallResponse {
  status: number
  replayed: boolean
  body: string
}

/** Does every call of a batch. Results keep the order of the calls, and each call gets its own log line. */
export async function handleEach<C extends BatchedCall>(
  c: Context<AppEnv>,
  route: Route,
  calls: readonly C[],
  work: (call: C, trace: Trace, addToLog: AddToLog) => Promise<CallResponse>,
): Promise<Response & TypedResponse<JSONParsed<z.output<typeof BatchResponse>>, 200, 'json'>> {
  c.set(
    'together',
    calls.map(({ correlation_id }) => correlation_id),
  )
  const path = routePath(c, -1)
  const results = calls.map(async (call) => {
    const start = performance.now()
    const { trace, span } = startCallSpan(c, path, call, calls.length === 1)
    const line = { route: path, correlation_id: call.correlation_id, ...traceFieldsOf(trace) }
    const { status, replayed, body } = await handleCall(call, trace, (fields) => Object.assign(line, fields))
    if (span) endCallSpan(span, trace, status)
    if (replayed) countReplay(c, route)
    c.get('logCall')({ ...line, status, ms: msSince(start) })
    return `{"status":${status},"replayed":${replayed},"body":${body}}`
  })
  const text = `{"results":[${(await Promise.all(results)).join(',')}]}`
  return unsafeCast(send(c, text, 200, { 'content-type': 'application/json' }))

  async function handleCall(call: C, trace: Trace, addToLog: AddToLog): Promise<CallResponse> {
    try {
      return await work(call, trace, addToLog)
    } catch (thrown) {
      const error = toAppError(thrown)
      c.get('reportFailure')(error, trace)
      const body = JSON.stringify(problemDocument(error, trace.correlationId))
      return { status: error.status, replayed: false, body }
    }
  }
}

/**
 * The trace of one call. A lone call has that of its request. Of several, each has a span below its own caller's; one that
 * brings no trace is not recorded, which the calling service has decided.
 */
function startCallSpan(
  c: Context<AppEnv>,
  path: string,
  { correlation_id: correlationId, traceparent }: BatchedCall,
  isAlone: boolean,
): { trace: Trace; span?: Span } {
  const { tracer } = c.get('telemetry')
  if (tracer === undefined || traceparent === undefined) return { trace: { correlationId, traceparent } }
  if (isAlone && traceparent === c.req.header('traceparent')) return { trace: { ...c.get('trace'), correlationId } }
  const span = tracer.start(`call ${path}`, traceparent, { kind: 'server' })
  return { trace: within({ correlationId, traceparent }, span), span }
}

function endCallSpan(span: Span, { correlationId }: Trace, status: number): void {
  if (!span.isRecorded) return
  span.set({ 'http.response.status_code': status, 'b2b.correlation_id': correlationId })
  span.end(status < 500 ? undefined : String(status))
}

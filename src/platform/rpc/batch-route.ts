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
import type { Trace } from '../telemetry/trace.ts'
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
  const results = calls.map(async (call) => {
    const start = performance.now()
    const line = { route: routePath(c, -1), correlation_id: call.correlation_id }
    const { status, replayed, body } = await handleCall(call, (fields) => Object.assign(line, fields))
    if (replayed) countReplay(c, route)
    c.get('logCall')({ ...line, status, ms: msSince(start) })
    return `{"status":${status},"replayed":${replayed},"body":${body}}`
  })
  const text = `{"results":[${(await Promise.all(results)).join(',')}]}`
  return unsafeCast(send(c, text, 200, { 'content-type': 'application/json' }))

  async function handleCall(call: C, addToLog: AddToLog): Promise<CallResponse> {
    const { correlation_id: correlationId, traceparent } = call
    try {
      return await work(call, { correlationId, traceparent }, addToLog)
    } catch (thrown) {
      const error = toAppError(thrown)
      c.get('reportFailure')(error, correlationId)
      const body = JSON.stringify(problemDocument(error, correlationId))
      return { status: error.status, replayed: false, body }
    }
  }
}

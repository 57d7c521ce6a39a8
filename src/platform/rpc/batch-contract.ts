import { optional } from '../http/contract.ts'
import { int32 } from '../http/integers.ts'
import { z } from '../http/schema.ts'
import { CORRELATION_ID, TRACEPARENT } from '../telemetry/trace.ts'

// Simultaneous calls from one service to another share one request. Each gets the result that it would get alone.

export const MAX_BATCHED_CALLS = 100

/** The body of a request that carries several calls. */
export function batchedCalls<T extends z.ZodRawShape>(name: string, call: T) {
  const one = z
    .strictObject({
      ...call,
      correlation_id: z.string().regex(CORRELATION_ID).meta({ example: 'req-789' }),
      traceparent: optional(z.string().regex(TRACEPARENT)).meta({
        example: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      }),
    })
    .openapi(`${name}Call`)
  return z.strictObject({ calls: z.array(one).min(1).max(MAX_BATCHED_CALLS) }).openapi(name)
}

export const BatchResponse = z
  .object({
    results: z.array(
      z
        .object({
          status: int32(200, 599).meta({ description: 'The status that the call would have alone', example: 200 }),
          replayed: z.boolean(),
          body: z.unknown().meta({ description: 'The body that the call would have alone, or a problem document' }),
        })
        .openapi('SharedResult'),
    ),
  })
  .openapi('SharedAnswer')

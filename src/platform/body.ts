import type { Context, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { AppEnv } from './app.ts'
import { AppError } from './errors.ts'
import { type ProblemShape, sendProblem } from './problems.ts'
import { trusted } from './trusted.ts'

const LARGEST_BODY_BYTES = 64 * 1024
/** Its requests come from other services, and may carry the calls of many callers. */
const INTERNAL = /^\/internal\//
const LARGEST_INTERNAL_BODY_BYTES = 4 * 1024 * 1024
const CUT_OFF = new AppError('malformed_request', 'The body did not arrive whole.')

/** Goes on when a request's body has arrived whole, and is not too large. Its text is kept for whoever reads it. */
export function receiveBody(shape: ProblemShape): MiddlewareHandler<AppEnv> {
  const limitPublic = limitBody(LARGEST_BODY_BYTES, shape)
  const limitInternal = limitBody(LARGEST_INTERNAL_BODY_BYTES, shape)
  return (c, next) => {
    const limit = INTERNAL.test(c.req.path) ? limitInternal : limitPublic
    return limit(c, async () => {
      if (c.req.method === 'GET' || (await arrivesWhole(c))) return next()
      c.res = sendProblem(c, CUT_OFF, shape)
    })
  }
}

/** A body whose length is stated, or that is not there, is judged by that: its stream need not be made to be counted. */
function limitBody(maxSize: number, shape: ProblemShape): MiddlewareHandler<AppEnv> {
  const refuse = (c: Context<AppEnv>) =>
    sendProblem(c, new AppError('payload_too_large', `The body is larger than ${maxSize / 1024} KiB.`), shape)
  const limitStream = bodyLimit({ maxSize, onError: (c) => refuse(c) })
  return async (c, next) => {
    const length = c.req.header('content-length')
    if (length !== undefined || c.req.method === 'GET') {
      if (Number(length ?? 0) <= maxSize) return next()
      c.res = refuse(c)
    } else {
      const refusal = await limitStream(c, next).catch(() => sendProblem(c, CUT_OFF, shape))
      if (refusal instanceof Response) c.res = refusal
    }
  }
}

function arrivesWhole(c: Context): Promise<boolean> {
  return c.req.arrayBuffer().then(
    (bytes) => {
      const text = decode(bytes)
      // It may be that nobody reads it.
      text.catch(() => {})
      c.req.bodyCache = trusted<typeof c.req.bodyCache>({ text })
      return true
    },
    () => false,
  )
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })

async function decode(bytes: ArrayBuffer): Promise<string> {
  try {
    return UTF8.decode(bytes)
  } catch {
    throw new AppError('malformed_json', 'The body is not valid UTF-8.')
  }
}

import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { routePath } from 'hono/route'
import { secureHeaders } from 'hono/secure-headers'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { getPath } from 'hono/utils/url'
import { rateLimiter } from 'hono-rate-limiter'
import { type Authenticator, type Principal, SERVICE } from './auth.ts'
import { addDocs, type DocsConfig } from './docs.ts'
import { AppError, ERRORS } from './errors.ts'
import { addHealthRoutes } from './health.ts'
import type { Answer } from './idempotency.ts'
import type { Logger } from './logging.ts'
import { type ProblemShape, plainProblem, sendProblem, toAppError, validationError } from './problems.ts'
import { trusted } from './trusted.ts'

const LARGEST_BODY_BYTES = 64 * 1024
/** What API Gateway's stage and serverless-offline put in front of every path. */
const STAGE = /^\/dev(?=\/|$)/
const CORRELATION_ID = /^[\w.:-]{1,128}$/
const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}$/

/** Answers are data: not to be kept, and nothing to run. The page of the documentation says otherwise for itself. */
const UNLESS_SET = [
  ['cache-control', 'no-store'],
  ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
] as const

/** What ties the calls of one request together, in our logs and in those of whoever traces us. */
export interface Trace {
  correlationId: string
  /** W3C Trace Context, passed on as it came. */
  traceparent: string | undefined
}

/** On whose behalf a verb works. */
export interface Caller {
  principal: Principal
  trace: Trace
}

export interface AppEnv {
  Variables: {
    authenticator: Authenticator
    limitRate: MiddlewareHandler
    principal: Principal
    trace: Trace
  }
}

/** What every service's app is made from. */
export interface ServiceDeps {
  logger: Logger
  authenticator: Authenticator
  /** Requests a principal may make in a minute; undefined is no limit. */
  rateLimitPerMinute?: number | undefined
  /** Resolves when all that the service needs answers, else says what does not. */
  ready(): Promise<void>
  /** Set to true when the process begins to stop: `/ready` then tells the load balancer to look elsewhere. */
  lifecycle: { draining: boolean }
}

export type ServiceApp = OpenAPIHono<AppEnv>

/**
 * An app with all that the services have in common: correlation, logs, limits, problem documents, health, docs.
 * Its routes are added by the caller.
 */
export function createServiceApp(deps: ServiceDeps, docs: DocsConfig, shape: ProblemShape = plainProblem): ServiceApp {
  const app = new OpenAPIHono<AppEnv>({
    getPath: (request) => getPath(request).replace(STAGE, '') || '/',
    defaultHook: (result) => {
      if (!result.success) throw validationError(result.target, result.error.issues)
    },
  })
  const limitRate = deps.rateLimitPerMinute === undefined ? noLimit : limitPerMinute(deps.rateLimitPerMinute)
  app.use(async (c, next) => {
    c.set('trace', traceOf(c))
    c.set('authenticator', deps.authenticator)
    c.set('limitRate', limitRate)
    await next()
  })
  app.use(logRequests(deps.logger))
  app.use(secureHeaders())
  app.use(async (c, next) => {
    await next()
    for (const [name, value] of UNLESS_SET) if (!c.res.headers.has(name)) c.header(name, value)
  })
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) => {
        throw new AppError('method_not_allowed', `${c.req.method} is not possible here.`, { allow: methods })
      },
    }),
  )
  app.use(limitBody)
  app.notFound((c) => {
    const error = new AppError('route_not_found', 'There is nothing at this path.')
    return sendProblem(c, error, shape, traceOf(c).correlationId)
  })
  app.onError((thrown, c) => {
    const error = toAppError(thrown)
    const { status } = ERRORS[error.code]
    if (status >= 500) {
      deps.logger.error(
        { err: error.cause ?? error, code: error.code, correlation_id: traceOf(c).correlationId },
        'failed',
      )
    }
    return sendProblem(c, error, shape, traceOf(c).correlationId)
  })
  addHealthRoutes(app, deps, shape)
  addDocs(app, docs)
  return app
}

/** On whose behalf the request is made. */
export function callerOf(c: Context<AppEnv>): Caller {
  return { principal: c.var.principal, trace: c.var.trace }
}

/** Where a new resource is: below the path that it was posted to, as the caller sent it, behind a stage or not. */
export function locationOf(c: Context, id: number | string): string {
  return `${new URL(c.req.url).pathname}/${id}`
}

/** Sends an answer's own bytes, so that the first answer and its replays are one. */
export function sendAnswer<T>(c: Context, answer: Answer, headers: Record<string, string> = {}): T {
  const all = {
    ...headers,
    'content-type': 'application/json',
    ...(answer.replayed && { 'idempotent-replayed': 'true' }),
  }
  return trusted<T>(c.body(answer.body, trusted<ContentfulStatusCode>(answer.status), all))
}

function traceOf(c: Context<AppEnv>): Trace {
  if (c.var.trace) return c.var.trace
  const asked = c.req.header('x-correlation-id') ?? ''
  const correlationId = CORRELATION_ID.test(asked) ? asked : crypto.randomUUID()
  const traceparent = c.req.header('traceparent') ?? ''
  return { correlationId, traceparent: TRACEPARENT.test(traceparent) ? traceparent : undefined }
}

/** One line a request. The path is the route's template: ids are in the answer's place, never a query or a token. */
function logRequests(logger: Logger): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const start = performance.now()
    await next()
    c.header('x-correlation-id', c.var.trace.correlationId)
    logger.info(
      {
        method: c.req.method,
        route: routePath(c, -1),
        status: c.res.status,
        ms: Math.round((performance.now() - start) * 10) / 10,
        correlation_id: c.var.trace.correlationId,
        principal: c.var.principal?.id,
      },
      'request',
    )
  }
}

function refuseLargeBody(): never {
  throw new AppError('payload_too_large', 'The body is larger than 64 KiB.')
}

const limitStream = bodyLimit({ maxSize: LARGEST_BODY_BYTES, onError: refuseLargeBody })

/** A body whose length is stated, or that is not there, is judged by that: its stream need not be made to be counted. */
const limitBody: MiddlewareHandler = (c, next) => {
  const length = c.req.header('content-length')
  const chunked = c.req.header('transfer-encoding') !== undefined
  if (chunked || (length === undefined && c.req.method !== 'GET')) return limitStream(c, next)
  if (Number(length ?? 0) > LARGEST_BODY_BYTES) refuseLargeBody()
  return next()
}

const noLimit: MiddlewareHandler = (_, next) => next()

function limitPerMinute(limit: number): MiddlewareHandler<AppEnv> {
  return rateLimiter<AppEnv>({
    windowMs: 60_000,
    limit,
    standardHeaders: 'draft-7',
    skip: (c) => c.var.principal === SERVICE,
    keyGenerator: (c) => c.var.principal.id,
    handler: () => {
      throw new AppError('rate_limited', `At most ${limit} requests a minute. Wait, then go on.`)
    },
  })
}

import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context, MiddlewareHandler, Next } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { routePath } from 'hono/route'
import { getPath } from 'hono/utils/url'
import type { Authenticator, Principal } from './auth.ts'
import { addDocs, type DocsConfig } from './docs.ts'
import { AppError, ERRORS } from './errors.ts'
import { addHealthRoutes } from './health.ts'
import { limitRequests } from './limits.ts'
import type { Logger } from './logging.ts'
import { type ProblemShape, plainProblem, sendProblem, toAppError, validationError } from './problems.ts'
import { CORRELATION_ID, TRACEPARENT, type Trace } from './trace.ts'
import { trusted } from './trusted.ts'

const LARGEST_BODY_BYTES = 64 * 1024
/** What API Gateway's stage and serverless-offline put in front of every path. */
const STAGE = /^\/dev(?=\/|$)/
/** Its requests come from other services, and may carry the calls of many callers. */
const INTERNAL = /^\/internal\//
const LARGEST_INTERNAL_BODY_BYTES = 4 * 1024 * 1024
const TOLD_TO_ALL = /^\/(health|ready)$/

/** On whose behalf a verb works. */
export interface Caller {
  principal: Principal
  trace: Trace
}

export interface AppEnv {
  Variables: {
    authenticator: Authenticator
    /** Absent where the rate is not limited. */
    limitRate: MiddlewareHandler | undefined
    /** Whether it was applied. */
    limited: boolean
    principal: Principal
    trace: Trace
    /** The correlation ids of the calls that a request carries, if it carries several. */
    together: string[]
    reportFailure: ReportFailure
  }
}

/** Logs why a request failed, if the fault is ours: its caller is not told. */
export type ReportFailure = (error: AppError, correlationId: string) => void

/** What every service's app is made from. */
export interface ServiceDeps {
  logger: Logger
  authenticator: Authenticator
  /** Requests a principal may make in a minute; undefined is no limit. */
  rateLimitPerMinute?: number | undefined
  /** Requests that may be under way at once. */
  mostRequests: number
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
  app.use(receive(deps, shape))
  app.notFound(refuseUnknown(app, shape))
  app.onError((thrown, c: Context<AppEnv>) => {
    const error = toAppError(thrown)
    c.get('reportFailure')(error, c.get('trace').correlationId)
    return sendProblem(c, error, shape)
  })
  addHealthRoutes(app, deps, shape)
  addDocs(app, docs)
  return app
}

/** On whose behalf the request is made. */
export function callerOf(c: Context<AppEnv>): Caller {
  return { principal: c.get('principal'), trace: c.get('trace') }
}

/** Where a new resource is: below the path that it was posted to, as the caller sent it, behind a stage or not. */
export function locationOf(c: Context, id: number | string): string {
  return `${getPath(c.req.raw)}/${id}`
}

/**
 * What every request passes first, in one step. It gets its trace; it is refused when too many are under way, which must
 * cost less than to serve it, or when it is too large; and when it is done there is a line of it in the log.
 */
function receive(
  { authenticator, logger, rateLimitPerMinute, mostRequests }: ServiceDeps,
  shape: ProblemShape,
): MiddlewareHandler<AppEnv> {
  const limitRate = rateLimitPerMinute === undefined ? undefined : limitRequests(rateLimitPerMinute)
  const limitPublic = limitBody(LARGEST_BODY_BYTES, shape)
  const limitInternal = limitBody(LARGEST_INTERNAL_BODY_BYTES, shape)
  const reportRefusal = createRefusalReport(logger)
  const turnToRefuse = createTurnstile(REFUSALS_A_TURN)
  // The fields are ours and hold no secret: nothing is to be searched for and blotted out.
  const requests = logger.child({}, { redact: [] })
  const reportFailure: ReportFailure = (error, correlation_id) => {
    if (ERRORS[error.code].status < 500) return
    logger.error({ err: error.cause ?? error, code: error.code, correlation_id }, 'failed')
  }
  let underWay = 0
  const isFull = (c: Context) => underWay >= mostRequests && !TOLD_TO_ALL.test(c.req.path)

  async function refuse(c: Context<AppEnv>): Promise<void> {
    reportRefusal()
    await turnToRefuse()
    c.res = sendProblem(c, OVERLOADED, shape)
  }

  /** A place is for what has arrived whole: a caller that sends slowly, or nothing more, keeps nobody out. */
  async function takePlace(c: Context<AppEnv>, next: Next): Promise<void> {
    if (c.req.method !== 'GET' && !(await arrivesWhole(c))) {
      c.res = sendProblem(c, CUT_OFF, shape)
      return
    }
    if (isFull(c)) return refuse(c)
    underWay++
    try {
      await next()
    } finally {
      underWay--
    }
  }

  return async (c, next) => {
    const start = performance.now()
    c.set('trace', traceOf(c))
    if (isFull(c)) return refuse(c)
    c.set('reportFailure', reportFailure)
    c.set('authenticator', authenticator)
    c.set('limitRate', limitRate)
    const limit = INTERNAL.test(c.req.path) ? limitInternal : limitPublic
    await limit(c, () => takePlace(c, next))
    requests.info(lineOf(c, start), 'request')
  }
}

/** The text is kept for whoever reads the body next, or what is wrong with it. */
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

const CUT_OFF = new AppError('malformed_request', 'The body did not arrive whole.')
const OVERLOADED = new AppError('overloaded', 'Too many requests are under way. Try again shortly.', { retry_after: 1 })

/**
 * A batch needs several turns of the event loop, and a turn serves all that is there to be served: refusals by the
 * thousand would make turns so long that hardly a batch got done.
 */
const REFUSALS_A_TURN = 32

/** Lets so many go on in each turn of the event loop, in the order they came. */
function createTurnstile(aTurn: number): () => Promise<void> {
  let waiting: (() => void)[] = []
  const turn = () => {
    const going = waiting
    waiting = going.splice(aTurn)
    for (const go of going) go()
    if (waiting.length > 0) setImmediate(turn)
  }
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve)
      if (waiting.length === 1) setImmediate(turn)
    })
}

const REFUSALS_REPORTED_EVERY_MS = 1_000

/** One line for all refusals of a second: a line for each would keep the service busy with those it can't serve. */
function createRefusalReport(logger: Logger): () => void {
  let refused = 0
  return () => {
    refused++
    if (refused > 1) return
    setTimeout(() => {
      logger.warn({ refused }, 'too many requests are under way')
      refused = 0
    }, REFUSALS_REPORTED_EVERY_MS).unref()
  }
}

function traceOf(c: Context<AppEnv>): Trace {
  const asked = c.req.header('x-correlation-id')
  const traceparent = c.req.header('traceparent')
  return {
    correlationId: asked !== undefined && CORRELATION_ID.test(asked) ? asked : crypto.randomUUID(),
    traceparent: traceparent !== undefined && TRACEPARENT.test(traceparent) ? traceparent : undefined,
  }
}

/** The path is the route's template: ids are in the answer's place, never a query or a token. */
function lineOf(c: Context<AppEnv>, start: number) {
  return {
    method: c.req.method,
    route: routePath(c, -1),
    status: c.res.status,
    ms: Math.round((performance.now() - start) * 10) / 10,
    correlation_id: c.get('trace').correlationId,
    principal: c.get('principal')?.id,
    together: c.get('together'),
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

/** 405 for a path that other methods have, else 404. */
function refuseUnknown(app: ServiceApp, shape: ProblemShape) {
  const refuseMethod = methodNotAllowed({
    app,
    onMethodNotAllowed: (c, methods) =>
      sendProblem(
        trusted<Context<AppEnv>>(c),
        new AppError('method_not_allowed', `${c.req.method} is not possible here.`, { allow: methods }),
        shape,
      ),
  })
  return async (c: Context<AppEnv>) => {
    const error = new AppError('route_not_found', 'There is nothing at this path.')
    await refuseMethod(c, async () => {
      c.res = sendProblem(c, error, shape)
    })
    return c.res
  }
}

import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context, MiddlewareHandler, Next } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { routePath } from 'hono/route'
import { getPath } from 'hono/utils/url'
import { AppError, isRefusal, PLATFORM_ERRORS } from '../core/errors.ts'
import { msSince } from '../core/time.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { type DatabaseFault, DatabaseUnavailable, databaseFaultOf } from '../database/errors.ts'
import type { EmbeddedMetric } from '../telemetry/embedded.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { CORRELATION_ID, TRACEPARENT, type Trace, traceFieldsOf } from '../telemetry/trace.ts'
import { type BodyConfig, receiveBody } from './body-limit.ts'
import { claimedClientOf } from './claimed-client.ts'
import { addressOf, createProxyWarning } from './client-ip.ts'
import { allowOrigins } from './cors.ts'
import { addDocs, type DocsConfig } from './docs.ts'
import { createFairShare, type FairShare, OVER_SHARE } from './fair-share.ts'
import { addHealthRoutes, addPing } from './health.ts'
import type { Signposts } from './home.ts'
import { createLoadShedder, PROBE } from './load-shedding.ts'
import type { Authenticator, Principal } from './principal.ts'
import { sendProblem, toAppError, validationError } from './problem-details.ts'
import { type ProblemShape, plainProblem } from './problem-document.ts'
import { limitRequests } from './rate-limit.ts'
import type { Check } from './readiness.ts'
import { createRequestMeter } from './request-meter.ts'
import { endRequestSpan, startRequestSpan } from './request-span.ts'

/** API Gateway's stage, a prefix of every path. The request for trying the system has the same prefix. */
const STAGE = /^\/dev(?=\/|$)/
const INTERNAL = /^\/internal\//
const NO_ROUTE = '/internal'

/** Media types that the library would accept as `application/json`, such as `application/problem+json`. */
const OTHER_JSON = /^application\/[^;]*\+json/i

/** The principal that a verb works for, with the trace of its request. */
export interface Caller {
  principal: Principal
  trace: Trace
}

export interface AppEnv {
  Variables: {
    authenticator: Authenticator
    fairShare: FairShare
    /** Undefined where the rate is not limited. */
    limitRate: MiddlewareHandler | undefined
    /** Whether a rate limit was applied: the response then carries its headers. */
    limited: boolean
    principal: Principal
    /** The client id that a token request names. */
    claimedClient: string | undefined
    trace: Trace
    /** Why the body can't be read; undefined when it can. */
    bodyFault: AppError | undefined
    /** The correlation ids of a batch's calls; unset for other requests. */
    together: string[]
    reportFailure: ReportFailure
    addToLog: AddToLog
    /** Logs the line of one call of a batch. */
    logCall: AddToLog
    telemetry: Telemetry
  }
}

/** Adds fields to the log line of a request, or of one call of a batch. */
export type AddToLog = (fields: Readonly<Record<string, unknown>>) => void

/** Logs the cause of a 5xx, which the response does not show. Refusals by fair share are counted instead. */
export type ReportFailure = (error: AppError, trace: Trace) => void

/** The dependencies of every service's app. */
export interface ServiceDeps {
  logger: Logger
  telemetry: Telemetry
  authenticator: Authenticator
  /** Requests of one principal in a minute; undefined is no limit. */
  rateLimitPerMinute?: number | undefined
  /** Requests that may be in flight at once. */
  maxInFlight: number
  /** The limit on the bytes of all bodies in flight. */
  bodies: Pick<BodyConfig, 'inFlight' | 'maxBytesInFlight'>
  /** The parts that the service needs, by name. */
  checks: Readonly<Record<string, Check>>
  /** `draining` is true once the process stops: `/ready` then makes the load balancer send requests elsewhere. */
  lifecycle: { draining: boolean; proxyWarned?: boolean }
  signposts: Signposts
  /** The scopes of all services, for the document. */
  scopes: readonly string[]
  /** See {@link addressOf}. */
  trustedProxies: number
  /** Outside production every path works below `/dev` too, and the document names the demo client. */
  production: boolean
  /** The URL by which callers reach the service, for its document. */
  publicUrl?: string | undefined
  /** Origins whose pages may call the service from a browser. Default: none. */
  corsOrigins?: readonly string[]
}

export type ServiceApp = OpenAPIHono<AppEnv>

/**
 * An app with what all services share: correlation, logs, limits, problem documents, health, docs. The service adds its
 * own routes.
 */
export function createServiceApp(deps: ServiceDeps, docs: DocsConfig, shape: ProblemShape = plainProblem): ServiceApp {
  const app = new OpenAPIHono<AppEnv>({
    getPath: (request, options) => pathOf(request, targetOf(options?.env), deps.production),
    defaultHook: (result, c) => {
      if (result.target === 'json' && OTHER_JSON.test(c.req.header('content-type') ?? '')) throw new HTTPException(415)
      if (!result.success) throw validationError(result.target, result.error.issues, c.req.queries())
    },
  })
  if (deps.corsOrigins?.length) app.use(allowOrigins(deps.corsOrigins))
  app.use(receive(deps, receiveBody({ ...deps, ...deps.bodies, internal: docs.internal }, shape), shape))
  app.notFound(refuseUnknown(app, shape))
  app.onError((thrown, c: Context<AppEnv>) => {
    const error = (isUnreadable(thrown) && c.get('bodyFault')) || toAppError(thrown)
    c.get('reportFailure')(error, c.get('trace'))
    return sendProblem(c, error, shape)
  })
  addHealthRoutes(app, deps, shape)
  if (docs.internal) addPing(app)
  addDocs(app, docs, deps)
  return app
}

/** The library's validators report an unreadable body as a 400 without the reason. */
function isUnreadable(thrown: unknown): boolean {
  return thrown instanceof HTTPException && thrown.status === 400
}

/** The request target as sent, if known: the URL of a `Request` is already normalized. */
function targetOf(env: unknown): string | undefined {
  return unsafeCast<{ incoming?: { url?: string } } | undefined>(env)?.incoming?.url
}

/**
 * The path for routing. Internal routes have only one spelling, so that a proxy's rule for `/internal/` sees every
 * request to them: `/%69nternal/` and `/x/../internal/` match no route.
 */
function pathOf(request: Request, target: string | undefined, production: boolean): string {
  const cut = (path: string) => (production ? path : path.replace(STAGE, '') || '/')
  const path = cut(getPath(request))
  if (!INTERNAL.test(path)) return path
  return INTERNAL.test(cut(target ?? new URL(request.url).pathname)) ? path : NO_ROUTE
}

export function callerOf(c: Context<AppEnv>): Caller {
  return { principal: c.get('principal'), trace: c.get('trace') }
}

/**
 * The `Location` of a resource that was posted to its collection, such as `orders/5`. It is relative to the request's
 * URL (RFC 3986, section 5.2.3), so that it is right behind any stage or prefix.
 */
export function locationOf(c: Context, id: number | string): string {
  return `${c.req.path.slice(c.req.path.lastIndexOf('/') + 1)}/${id}`
}

/**
 * The first middleware of every request. It sets the trace, refuses the request when too many are in flight or its body
 * is too large, and logs one line at the end.
 */
function receive(
  deps: ServiceDeps,
  receiveWhole: MiddlewareHandler<AppEnv>,
  shape: ProblemShape,
): MiddlewareHandler<AppEnv> {
  const { authenticator, logger, telemetry, rateLimitPerMinute, maxInFlight } = deps
  const { lifecycle, trustedProxies, production } = deps
  const fairShare = createFairShare(maxInFlight)
  const admission = createLoadShedder(maxInFlight, fairShare, logger, telemetry)
  const measure = createRequestMeter(telemetry)
  const limitRate = rateLimitPerMinute === undefined ? undefined : limitRequests(rateLimitPerMinute)
  const warnOfProxies = production && trustedProxies === 0 ? createProxyWarning(logger, lifecycle) : undefined
  // Request lines hold no secrets: redaction would only cost time.
  const requests = logger.child({}, { redact: [] })
  const reportFailure: ReportFailure = (error, trace) => {
    if (error.status < 500 || error === OVER_SHARE) return
    const err = error.cause ?? error
    const about = { correlation_id: trace.correlationId, ...traceFieldsOf(trace) }
    const why = databaseFaultBehind(error)
    logger.error({ event: 'request_failed', err, code: error.code, why, ...about }, 'failed')
  }

  const logCall: AddToLog = (fields) => requests.info({ event: 'call', ...fields }, 'call')

  const refusalOf = (c: Context<AppEnv>) => admission.refusalOf(c.req.path, c.req.header('authorization'))

  async function refuse(c: Context<AppEnv>, error: AppError): Promise<void> {
    await admission.tellRefusal(error)
    c.res = sendProblem(c, error, shape)
  }

  async function serve(c: Context<AppEnv>, next: Next): Promise<void> {
    const refusal = refusalOf(c)
    if (refusal) return refuse(c, refusal)
    await admission.take(next)
    if (c.error === OVER_SHARE) await admission.tellRefusal(OVER_SHARE)
  }

  return async (c, next) => {
    const start = performance.now()
    c.set('trace', traceOf(c))
    warnOfProxies?.(c)
    const refusal = refusalOf(c)
    if (refusal) {
      await refuse(c, refusal)
      return measure(c, start)
    }
    const span = startRequestSpan(c, telemetry.tracer)
    const added = {}
    c.set('reportFailure', reportFailure)
    c.set('addToLog', (fields) => Object.assign(added, fields))
    c.set('logCall', logCall)
    c.set('authenticator', authenticator)
    c.set('fairShare', fairShare)
    c.set('limitRate', limitRate)
    c.set('telemetry', telemetry)
    // A request takes a slot only when its body has arrived whole: slow senders must not block others.
    await receiveWhole(c, () => serve(c, next))
    measure(c, start)
    if (span) endRequestSpan(c, span)
    const own = lineOf(c, start)
    const embedded = telemetry.embed?.(metricsOf(own))
    const line = { event: 'request', ...own, ...refusedCallerOf(c, trustedProxies), ...added, ...embedded }
    // Probes come every few seconds: at `info` their lines would hide all others.
    if (PROBE.test(c.req.path) && !REFUSED_STATUS.has(c.res.status)) requests.debug(line, 'request')
    else requests.info(line, 'request')
  }
}

/** The database's fault. Upstream errors are left out: they can have the same codes. */
function databaseFaultBehind(error: AppError): DatabaseFault | undefined {
  if (!isRefusal(error, PLATFORM_ERRORS.internal_error) && !(error instanceof DatabaseUnavailable)) return undefined
  const fault = databaseFaultOf(error.cause ?? error)
  return fault === 'failed' ? undefined : fault
}

/** The correlation id that the caller sent; undefined when it is absent or malformed. */
export function correlationIdIn(c: Context): string | undefined {
  const asked = c.req.header('x-correlation-id')
  return asked !== undefined && CORRELATION_ID.test(asked) ? asked : undefined
}

function traceOf(c: Context<AppEnv>): Trace {
  const traceparent = c.req.header('traceparent')
  return {
    correlationId: correlationIdIn(c) ?? crypto.randomUUID(),
    traceparent: traceparent !== undefined && TRACEPARENT.test(traceparent) ? traceparent : undefined,
  }
}

/** The log line of a request. `route` is the template, so that no id, query or token is logged. */
function lineOf(c: Context<AppEnv>, start: number) {
  return {
    method: c.req.method,
    route: routePath(c, -1),
    status: c.res.status,
    ms: msSince(start),
    correlation_id: c.get('trace').correlationId,
    ...traceFieldsOf(c.get('trace')),
    principal: c.get('principal')?.id,
    on_behalf_of: c.get('principal')?.onBehalfOf,
    together: c.get('together'),
  }
}

/** The metrics that a request's line carries, where it does. */
function metricsOf({ ms, status }: { ms: number; status: number }): EmbeddedMetric[] {
  return [
    { name: 'ms', unit: 'Milliseconds', value: ms },
    { name: 'faults', unit: 'Count', value: status >= 500 ? 1 : 0 },
  ]
}

const REFUSED_STATUS = new Set([401, 403, 429])

/** The address and the claimed client id of a refused caller. Any 4xx to a token request counts as refused. */
function refusedCallerOf(c: Context<AppEnv>, trustedProxies: number) {
  const { status } = c.res
  const isFailedLogin = c.get('claimedClient') !== undefined && status >= 400 && status < 500
  if (!isFailedLogin && !REFUSED_STATUS.has(status)) return undefined
  const reason = status === 401 && c.error instanceof AppError ? c.error.cause : undefined
  return { address: addressOf(c, trustedProxies), claimed_client: claimedClientOf(c), reason }
}

/** 405 for a path that other methods have, else 404. */
function refuseUnknown(app: ServiceApp, shape: ProblemShape) {
  const refuseMethod = methodNotAllowed({
    app,
    onMethodNotAllowed: (c, methods) =>
      sendProblem(
        unsafeCast<Context<AppEnv>>(c),
        new AppError(PLATFORM_ERRORS.method_not_allowed, `This path has no ${c.req.method}.`, { allow: methods }),
        shape,
      ),
  })
  return async (c: Context<AppEnv>) => {
    const error = new AppError(PLATFORM_ERRORS.route_not_found, `There is no such path.${hintAt(app, c.req.path)}`)
    await refuseMethod(c, async () => {
      c.res = sendProblem(c, error, shape)
    })
    return c.res
  }
}

/** The path templates whose first segment matches the requested path, in singular or plural. */
function hintAt(app: ServiceApp, path: string): string {
  const singular = (text: string) => text.toLowerCase().replace(/s$/, '')
  const first = singular(path.split('/')[1] ?? '')
  if (first === '' || first === 'internal') return ''
  const shapes = new Set(app.routes.filter(({ method }) => method !== 'ALL').map((route) => route.path))
  const near = [...shapes].filter((shape) => singular(shape.split('/')[1] ?? '') === first)
  return near.length === 0
    ? ''
    : ` This service has ${near.map((shape) => shape.replace(/:(\w+)/g, '{$1}')).join(', ')}.`
}

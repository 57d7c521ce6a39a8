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
import type { Logger } from '../telemetry/logger.ts'
import { CORRELATION_ID, TRACEPARENT, type Trace } from '../telemetry/trace.ts'
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

/** What API Gateway's stage puts in front of every path, and so does the request that the system is tried with. */
const STAGE = /^\/dev(?=\/|$)/
const INTERNAL = /^\/internal\//
const NO_ROUTE = '/internal'

/** Kinds of JSON that the library would take for JSON itself, such as `application/problem+json`. */
const OTHER_JSON = /^application\/[^;]*\+json/i

/** On whose behalf a verb works. */
export interface Caller {
  principal: Principal
  trace: Trace
}

export interface AppEnv {
  Variables: {
    authenticator: Authenticator
    fairShare: FairShare
    /** Absent where the rate is not limited. */
    limitRate: MiddlewareHandler | undefined
    /** Whether it was applied. */
    limited: boolean
    principal: Principal
    /** The client id that a token request names. */
    claimedClient: string | undefined
    trace: Trace
    /** Why the body can't be read, if it can't. */
    bodyFault: AppError | undefined
    /** The correlation ids of the calls that a request carries, if it carries several. */
    together: string[]
    reportFailure: ReportFailure
    addToLog: AddToLog
    /** Logs a line of one of several calls that a request carries. */
    logCall: AddToLog
  }
}

/** Adds fields to the line that the log has of a request, or of a call that came in one. */
export type AddToLog = (fields: Readonly<Record<string, unknown>>) => void

/** Logs why a request failed, if the fault is ours: its caller is not told. A flood's refusals are counted instead. */
export type ReportFailure = (error: AppError, correlationId: string) => void

/** What every service's app is made from. */
export interface ServiceDeps {
  logger: Logger
  authenticator: Authenticator
  /** Requests a principal may make in a minute; undefined is no limit. */
  rateLimitPerMinute?: number | undefined
  /** Requests that may be under way at once. */
  maxInFlight: number
  /** What the bodies that are under way may take together. */
  bodies: Pick<BodyConfig, 'inFlight' | 'maxBytesInFlight'>
  /** What the service needs, by name. */
  checks: Readonly<Record<string, Check>>
  /** Set to true when the process begins to stop: `/ready` then tells the load balancer to look elsewhere. */
  lifecycle: { draining: boolean; proxyWarned?: boolean }
  signposts: Signposts
  /** The scopes of all services, for the document. */
  scopes: readonly string[]
  /** See {@link addressOf}. */
  trustedProxies: number
  /** Whether it is for real. Outside production every path works below `/dev` too, and the demo client is named. */
  production: boolean
  /** Where callers reach the service, for its document. */
  publicUrl?: string | undefined
  /** The origins whose pages may call the service from a browser; none is the default. */
  corsOrigins?: readonly string[]
}

export type ServiceApp = OpenAPIHono<AppEnv>

/**
 * An app with all that the services have in common: correlation, logs, limits, problem documents, health, docs.
 * Its routes are added by the caller.
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
    c.get('reportFailure')(error, c.get('trace').correlationId)
    return sendProblem(c, error, shape)
  })
  addHealthRoutes(app, deps, shape)
  if (docs.internal) addPing(app)
  addDocs(app, docs, deps)
  return app
}

/** A validator's word for a body that could not be read: it does not say why. */
function isUnreadable(thrown: unknown): boolean {
  return thrown instanceof HTTPException && thrown.status === 400
}

/** The target of a request as it was sent, where that is known: its URL has been normalized. */
function targetOf(env: unknown): string | undefined {
  return unsafeCast<{ incoming?: { url?: string } } | undefined>(env)?.incoming?.url
}

/**
 * The path that routes are found by. Internal routes have one spelling alone, so that a proxy's rule about `/internal/`
 * sees every request for them: `/%69nternal/` and `/x/../internal/` lead nowhere.
 */
function pathOf(request: Request, target: string | undefined, production: boolean): string {
  const cut = (path: string) => (production ? path : path.replace(STAGE, '') || '/')
  const path = cut(getPath(request))
  if (!INTERNAL.test(path)) return path
  return INTERNAL.test(cut(target ?? new URL(request.url).pathname)) ? path : NO_ROUTE
}

/** On whose behalf the request is made. */
export function callerOf(c: Context<AppEnv>): Caller {
  return { principal: c.get('principal'), trace: c.get('trace') }
}

/**
 * Where a resource is that was posted to its collection, such as `orders/5`: relative to the request's own URL (RFC 3986,
 * section 5.2.3), so that it holds behind any stage or prefix.
 */
export function locationOf(c: Context, id: number | string): string {
  return `${c.req.path.slice(c.req.path.lastIndexOf('/') + 1)}/${id}`
}

/**
 * What every request passes first, in one step. It gets its trace; it is refused when too many are under way, or when its
 * body is too large; and when it is done there is a line of it in the log.
 */
function receive(
  { authenticator, logger, rateLimitPerMinute, maxInFlight, lifecycle, trustedProxies, production }: ServiceDeps,
  receiveWhole: MiddlewareHandler<AppEnv>,
  shape: ProblemShape,
): MiddlewareHandler<AppEnv> {
  const fairShare = createFairShare(maxInFlight)
  const admission = createLoadShedder(maxInFlight, fairShare, logger)
  const limitRate = rateLimitPerMinute === undefined ? undefined : limitRequests(rateLimitPerMinute)
  const warnOfProxies = production && trustedProxies === 0 ? createProxyWarning(logger, lifecycle) : undefined
  // The fields are ours and hold no secret: nothing is to be searched for and blotted out.
  const requests = logger.child({}, { redact: [] })
  const reportFailure: ReportFailure = (error, correlation_id) => {
    if (error.status < 500 || error === OVER_SHARE) return
    const err = error.cause ?? error
    logger.error({ err, code: error.code, why: databaseFaultBehind(error), correlation_id }, 'failed')
  }

  const logCall: AddToLog = (fields) => requests.info(fields, 'call')

  const refusalOf = (c: Context<AppEnv>) => admission.refusalOf(c.req.path, c.req.header('authorization'))

  async function refuse(c: Context<AppEnv>, error: AppError): Promise<void> {
    await admission.tellRefusal()
    c.res = sendProblem(c, error, shape)
  }

  async function serve(c: Context<AppEnv>, next: Next): Promise<void> {
    const refusal = refusalOf(c)
    if (refusal) return refuse(c, refusal)
    await admission.take(next)
    if (c.error === OVER_SHARE) await admission.tellRefusal()
  }

  return async (c, next) => {
    const start = performance.now()
    c.set('trace', traceOf(c))
    warnOfProxies?.(c)
    const refusal = refusalOf(c)
    if (refusal) return refuse(c, refusal)
    const added = {}
    c.set('reportFailure', reportFailure)
    c.set('addToLog', (fields) => Object.assign(added, fields))
    c.set('logCall', logCall)
    c.set('authenticator', authenticator)
    c.set('fairShare', fairShare)
    c.set('limitRate', limitRate)
    // A place is for what has arrived whole: a caller that sends slowly, or nothing more, keeps nobody out.
    await receiveWhole(c, () => serve(c, next))
    const line = { ...lineOf(c, start), ...refusedCallerOf(c, trustedProxies), ...added }
    // The lines of probes would hide the others.
    if (PROBE.test(c.req.path) && !REFUSED_STATUS.has(c.res.status)) requests.debug(line, 'request')
    else requests.info(line, 'request')
  }
}

/** What the database's fault was, where it is known to be the database's: a neighbour's errors have the same codes. */
function databaseFaultBehind(error: AppError): DatabaseFault | undefined {
  if (!isRefusal(error, PLATFORM_ERRORS.internal_error) && !(error instanceof DatabaseUnavailable)) return undefined
  const fault = databaseFaultOf(error.cause ?? error)
  return fault === 'failed' ? undefined : fault
}

/** The correlation id that the caller sent, if it sent a good one. */
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

/** The path is the route's template: ids are in the answer's place, never a query or a token. */
function lineOf(c: Context<AppEnv>, start: number) {
  return {
    method: c.req.method,
    route: routePath(c, -1),
    status: c.res.status,
    ms: msSince(start),
    correlation_id: c.get('trace').correlationId,
    principal: c.get('principal')?.id,
    on_behalf_of: c.get('principal')?.onBehalfOf,
    together: c.get('together'),
  }
}

const REFUSED_STATUS = new Set([401, 403, 429])

/** Where a caller that was not let in comes from, and whom it says it is. Any refusal of a token request counts. */
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

/** The shapes of paths that begin like the one that was asked for. */
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

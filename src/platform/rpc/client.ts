import type { z } from 'zod'
import { createLoader } from '../batching/loader.ts'
import { AppError, type ErrorDefinition, isRefusal, PLATFORM_ERRORS } from '../core/errors.ts'
import { untilAborted, withTimeLimit } from '../core/timeout.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { CheckFailed } from '../http/readiness.ts'
import { secondsSince } from '../telemetry/metrics.ts'
import { CLIENT_REQUEST_SECONDS } from '../telemetry/series.ts'
import type { Span } from '../telemetry/spans.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { Trace } from '../telemetry/trace.ts'
import { BatchResponse, MAX_BATCHED_CALLS } from './batch-contract.ts'
import { endCall, startCall, type TracedCall } from './call-span.ts'
import type { Fetch } from './http-fetch.ts'

/** How one service reaches another. */
export interface Upstream {
  /** The service's name, for those who watch. */
  name: string
  telemetry: Telemetry
  /** The service's URL. Its path is kept, and a trailing slash does not matter. */
  base: string
  fetch: Fetch
  token: string
  /** The time limit of each call, in milliseconds. */
  timeoutMs: number
  /** The most attempts of one call. A network fault or a 429, 502, 503 or 504 leads to the next attempt. */
  attempts: number
}

/** A request to an upstream. */
interface UpstreamRequest extends TracedCall {
  method: 'GET' | 'POST'
  path: string
  /** Absent when the request carries calls of several callers, each with its own trace. */
  trace?: Trace
  body?: unknown
  idempotencyKey?: string
  /** The id of the caller on whose behalf the call is made. */
  onBehalfOf?: string
  /** The span of the call, where it has begun. */
  span?: Span | undefined
  /** Ends the call earlier than its own time limit. */
  signal?: AbortSignal | undefined
}

export interface Call<T extends z.ZodType> extends UpstreamRequest {
  trace: Trace
  /** The schema of the response: upstream responses are untrusted input too. */
  responseSchema: T
  /** Refusals that reach the caller unchanged, besides those of the platform. */
  refusals?: readonly ErrorDefinition[]
}

/** A call that shares a request with others. A call with a method and a path can also be made alone. */
export type BatchedCall<T extends z.ZodType> = Omit<Call<T>, 'method' | 'path'> &
  Partial<Pick<Call<T>, 'method' | 'path'>>

/** A call with `shared`, the call as an item of a batch request. */
type BatchableCall = BatchedCall<z.ZodType> & { shared: object }

export interface Reply<T> {
  value: T
  /** The upstream sent a stored response again. */
  replayed: boolean
}

/** The response to one call. */
interface Reached {
  status: number
  body: unknown
  replayed: boolean
  /** Seconds, from the `Retry-After` header. */
  retryAfter?: number | undefined
}

const PASSING_STATUS = new Set([429, 502, 503, 504])
const MAX_PAUSE_MS = 1_000

/**
 * Calls an upstream and retries transient failures after a short random pause. So a call must be safe to repeat, by its
 * nature or by its idempotency key. The pause includes the upstream's `Retry-After`; when that exceeds the call's time
 * limit, the refusal carries it instead.
 * @throws AppError the upstream's own refusal; `upstream_failed` for a fault or an invalid response of the upstream;
 *   `unavailable` when the upstream can't be reached; `deadline_exceeded` when the upstream takes too long
 */
export function callService<T extends z.ZodType>(upstream: Upstream, call: Call<T>): Promise<Reply<z.output<T>>> {
  return withRetries(upstream, call, (resends) => reach(upstream, { ...call, resends }))
}

/**
 * Like {@link callService}, for many calls at once. Simultaneous calls share one request to `path`, and each gets the
 * result that it would get alone.
 */
export function createBatchedCalls(upstream: Upstream, path: string) {
  const enqueue = createLoader<BatchableCall, Reached>(async (calls) => {
    const [first, second] = calls
    if (first === undefined) return []
    if (second === undefined) return [await reachAlone(upstream, path, first)]
    return reachTogether(upstream, path, calls)
  }, MAX_BATCHED_CALLS)

  /** @param shared the call as an item of the batch request */
  return <T extends z.ZodType>(call: BatchedCall<T>, shared: object): Promise<Reply<z.output<T>>> =>
    withRetries(upstream, call, async (resends) => {
      if (call.signal?.aborted) throw tooLate(call.signal.reason)
      return raceAbort(call.signal, enqueue({ ...call, shared, resends }))
    })
}

async function withRetries<T extends z.ZodType>(
  upstream: Upstream,
  call: BatchedCall<T>,
  tryOnce: (resends: number) => Promise<Reached>,
): Promise<Reply<z.output<T>>> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await tryOnce(attempt - 1).catch(asRefusal)
    const passing = outcome instanceof AppError || PASSING_STATUS.has(outcome.status)
    const askedMs = outcome instanceof AppError ? 0 : (retryAfterOf(outcome) ?? 0) * 1_000
    if (!passing || attempt >= upstream.attempts || askedMs > upstream.timeoutMs || call.signal?.aborted) {
      if (outcome instanceof AppError) throw outcome
      return readReply(outcome, call, upstream.base)
    }
    await pause(askedMs + Math.random() * Math.min(MAX_PAUSE_MS, 100 * 2 ** attempt), call.signal)
  }
}

/** In seconds. A call of a batch has no header of its own, so its problem document carries the value. */
function retryAfterOf({ retryAfter, body }: Reached): number | undefined {
  const { retry_after } = unsafeCast<{ retry_after?: unknown }>(body ?? {})
  return retryAfter ?? (typeof retry_after === 'number' ? retry_after : undefined)
}

function asRefusal(error: unknown): AppError {
  if (error instanceof AppError) return error
  throw error
}

function readReply<T extends z.ZodType>(
  reached: Reached,
  { responseSchema, refusals = [] }: Pick<Call<T>, 'responseSchema' | 'refusals'>,
  base: string,
): Reply<z.output<T>> {
  if (reached.status < 200 || reached.status > 299) throw refusalOf(reached, refusals, base)
  const parsed = responseSchema.safeParse(reached.body)
  if (!parsed.success) throw serviceFailed('A service answered in an unknown form.', parsed.error)
  return { value: parsed.data, replayed: reached.replayed }
}

/**
 * Checks that the upstream can be reached and accepts the service token. A 404 counts as success: an upstream of an
 * earlier version does not have this path.
 * @throws CheckFailed `unreachable`, `too_slow`, `token_refused`, `failed`
 */
export async function pingService(upstream: Upstream): Promise<void> {
  const trace = { correlationId: crypto.randomUUID(), traceparent: undefined }
  const reached = await reach(upstream, { method: 'GET', path: '/internal/ping', trace }).catch((error) => {
    const isLate = isRefusal(error, PLATFORM_ERRORS.deadline_exceeded)
    throw new CheckFailed(isLate ? 'too_slow' : 'unreachable', { cause: error })
  })
  if (reached.status === 200 || reached.status === 404) return
  const word = reached.status === 401 || reached.status === 403 ? 'token_refused' : 'failed'
  throw new CheckFailed(word, { cause: `${upstream.base} answered ${reached.status}` })
}

/** Resolves after `ms`, or earlier when the signal aborts. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    const end = () => {
      clearTimeout(timer)
      resolve()
    }
    signal?.addEventListener('abort', end, { once: true })
  })
}

/** Turns an upstream's `not_found` into undefined. @throws all other errors */
export function unlessNotFound(error: unknown): undefined {
  if (isRefusal(error, PLATFORM_ERRORS.not_found)) return undefined
  throw error
}

/** Waits for shared work until the signal aborts; the work itself goes on. @throws AppError `deadline_exceeded` */
export async function raceAbort<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work
  try {
    return await untilAborted(signal, work)
  } catch (error) {
    throw signal.aborted ? tooLate(error) : error
  }
}

function tooLate(cause: unknown): AppError {
  return new AppError(PLATFORM_ERRORS.deadline_exceeded, 'A service did not answer in time.', {}, { cause })
}

async function reach(upstream: Upstream, call: UpstreamRequest): Promise<Reached> {
  const start = performance.now()
  const { metrics } = upstream.telemetry
  const span = call.span ?? startCall(upstream.name, call)
  const measure = (outcome: string) =>
    metrics.histogram(CLIENT_REQUEST_SECONDS, upstream.name, outcome)(secondsSince(start))
  try {
    const reached = await reachInTime(upstream, { ...call, span })
    endCall(span, reached)
    measure(outcomeOf(reached))
    return reached
  } catch (error) {
    measure(isRefusal(error, PLATFORM_ERRORS.deadline_exceeded) ? 'timeout' : 'unreachable')
    endCall(span, asRefusal(error))
    throw error
  }
}

/** `refused` is for the caller to mend, `failed` for the upstream. */
function outcomeOf({ status }: Reached): string {
  if (status >= 500 || status === 429) return 'failed'
  return status >= 400 ? 'refused' : 'ok'
}

function reachInTime(upstream: Upstream, call: UpstreamRequest): Promise<Reached> {
  return withTimeLimit(
    upstream.timeoutMs,
    async (signal) => {
      try {
        return await untilAborted(signal, exchange(upstream, call, signal))
      } catch (cause) {
        if (signal.aborted) throw tooLate(new Error(`${upstream.base} did not answer in time`, { cause }))
        const unreachable = new Error(`${upstream.base} cannot be reached`, { cause })
        throw new AppError(PLATFORM_ERRORS.unavailable, 'A service cannot be reached.', {}, { cause: unreachable })
      }
    },
    call.signal,
  )
}

/** Makes a single call: by its own method and path if it has them, else as a batch of one. */
async function reachAlone(upstream: Upstream, path: string, call: BatchableCall): Promise<Reached | AppError> {
  if (isWhole(call)) return reach(upstream, call).catch(asRefusal)
  const [reached] = await reachTogether(upstream, path, [call])
  return reached ?? upstreamFailed(200, upstream.base)
}

function isWhole(call: BatchableCall): call is BatchableCall & UpstreamRequest {
  return call.method !== undefined && call.path !== undefined
}

async function reachTogether(
  upstream: Upstream,
  path: string,
  calls: readonly BatchableCall[],
): Promise<(Reached | AppError)[]> {
  const spans = calls.map((call) => startCall(upstream.name, { ...call, method: 'POST' }))
  const items = calls.map(({ shared, trace }, i) => ({
    ...shared,
    correlation_id: trace.correlationId,
    ...traceparentOf(spans[i]?.isRecorded ? { span: spans[i] } : { trace }),
  }))
  const trace = calls.length === 1 ? calls[0]?.trace : undefined
  // The request of several callers is part of no caller's trace: each call has its own.
  const own = trace ? { trace, span: spans[0] } : { span: upstream.telemetry.tracer?.startUnrecorded() }
  const outcome = await reach(upstream, { method: 'POST', path, body: { calls: items }, ...own }).catch(asRefusal)
  const outcomes = outcomesOf(calls, outcome)
  if (calls.length > 1) for (const [i, span] of spans.entries()) endCall(span, outcomes[i] ?? outcome)
  // An upstream of another version may not know the batch route, or may refuse one of the calls: make each alone.
  if (calls.length > 1 && !(outcome instanceof AppError) && [400, 404, 405, 413].includes(outcome.status)) {
    return Promise.all(calls.map((call) => reachAlone(upstream, path, call)))
  }
  return outcomes
}

/** The outcome of each call. That of the whole request, where it has no results, is the outcome of each. */
function outcomesOf(calls: readonly unknown[], outcome: Reached | AppError): (Reached | AppError)[] {
  if (outcome instanceof AppError || outcome.status !== 200) return calls.map(() => outcome)
  const parsed = BatchResponse.safeParse(outcome.body)
  if (parsed.success && parsed.data.results.length === calls.length) return parsed.data.results
  return calls.map(() => ({ status: 200, body: undefined, replayed: false }))
}

async function exchange(upstream: Upstream, call: UpstreamRequest, signal: AbortSignal): Promise<Reached> {
  signal.throwIfAborted()
  const response = await upstream.fetch(`${upstream.base.replace(/\/+$/, '')}${call.path}`, {
    method: call.method,
    headers: headersOf(upstream, call),
    redirect: 'manual',
    signal,
    ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
  })
  const replayed = response.headers.get('idempotent-replayed') === 'true'
  const retryAfter = secondsIn(response.headers.get('retry-after'))
  return { status: response.status, body: parseJson(await response.text()), replayed, retryAfter }
}

/** The seconds in `Retry-After`; undefined for its other form, a date. */
function secondsIn(header: string | null): number | undefined {
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) : undefined
}

/** A body that is not JSON, such as a proxy's page, becomes undefined, which no response schema accepts. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function headersOf(upstream: Upstream, call: UpstreamRequest): Record<string, string> {
  return {
    authorization: `Bearer ${upstream.token}`,
    accept: 'application/json',
    ...(call.trace && { 'x-correlation-id': call.trace.correlationId }),
    ...traceparentOf(call),
    ...(call.body !== undefined && { 'content-type': 'application/json' }),
    ...(call.idempotencyKey !== undefined && { 'idempotency-key': call.idempotencyKey }),
    ...(call.onBehalfOf !== undefined && { 'x-on-behalf-of': call.onBehalfOf }),
    ...interstitialHeader(upstream.base),
  }
}

function traceparentOf({ span, trace }: Pick<UpstreamRequest, 'span' | 'trace'>): { traceparent?: string } {
  const traceparent = span?.traceparent ?? trace?.traceparent
  return traceparent === undefined ? {} : { traceparent }
}

/** Laptop tunnels send an interstitial page first, unless a header turns it off. */
function interstitialHeader(base: string): Record<string, string> {
  const { hostname } = new URL(base)
  if (hostname.endsWith('.loca.lt')) return { 'bypass-tunnel-reminder': 'true' }
  if (/\.ngrok(-free)?\.(app|dev|io)$/.test(hostname)) return { 'ngrok-skip-browser-warning': 'true' }
  return {}
}

/** Turns an upstream's problem document back into an AppError. */
function refusalOf(reached: Reached, refusals: readonly ErrorDefinition[], base: string): AppError {
  const seconds = retryAfterOf(reached)
  const when = seconds === undefined ? {} : { retry_after: seconds }
  const who = { cause: `${base} answered ${reached.status}` }
  const { unavailable, deadline_exceeded } = PLATFORM_ERRORS
  if (reached.status === 429) return new AppError(unavailable, 'A service asks to be called less often.', when, who)
  const { code, detail, type, title, status, request_id, ...extra } = unsafeCast<Record<string, unknown>>(
    reached.body ?? {},
  )
  const known = [...Object.values(PLATFORM_ERRORS), ...refusals].find((definition) => definition.code === code)
  if (known !== undefined && typeof detail === 'string') {
    // The upstream refuses this service's token or path: the fault is between the services, not the caller's.
    const ours = [401, 403, 405].includes(reached.status) || known === PLATFORM_ERRORS.route_not_found
    if (ours || reached.status === 500) return upstreamFailed(reached.status, base)
    if (known.status === reached.status) {
      if (reached.status < 500) return new AppError(known, detail, extra)
      // Only the log shows why the upstream failed. The caller needs just the time to retry.
      return new AppError(known, `${known.title}.`, when, { cause: `${who.cause}: ${detail}` })
    }
  }
  if (reached.status === 503) return new AppError(unavailable, 'A service cannot answer right now.', when, who)
  if (reached.status === 504) return new AppError(deadline_exceeded, 'A service did not answer in time.', {}, who)
  return upstreamFailed(reached.status, base)
}

/** Only the log shows the upstream and its status. */
function upstreamFailed(status: number, base: string): AppError {
  const hint = status === 401 || status === 403 ? ': is SERVICE_TOKEN one of its tokens?' : ''
  return serviceFailed('A service failed.', `${base} answered ${status}${hint}`)
}

function serviceFailed(detail: string, cause: unknown): AppError {
  return new AppError(PLATFORM_ERRORS.upstream_failed, detail, {}, { cause })
}

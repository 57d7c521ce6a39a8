import type { z } from 'zod'
import { createLoader } from '../batching/loader.ts'
import { AppError, type ErrorDefinition, isRefusal, PLATFORM_ERRORS } from '../core/errors.ts'
import { untilAborted, withTimeLimit } from '../core/timeout.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { CheckFailed } from '../http/readiness.ts'
import type { Trace } from '../telemetry/trace.ts'
import { BatchResponse, MAX_BATCHED_CALLS } from './batch-contract.ts'
import type { Fetch } from './http-fetch.ts'

/** How one service reaches another. */
export interface Upstream {
  /** Where the service is; any path in it is kept, a trailing slash does not matter. */
  base: string
  fetch: Fetch
  token: string
  /** The time limit of each call, in milliseconds. */
  timeoutMs: number
  /** How often a call may be made that meets a network fault or a 429, 502, 503 or 504. */
  attempts: number
}

/** What is asked of a neighbour. */
interface UpstreamRequest {
  method: 'GET' | 'POST'
  path: string
  /** Absent where it is asked for several callers, each with a trace of its own. */
  trace?: Trace
  body?: unknown
  idempotencyKey?: string
  /** The id of the caller that the call is made for. */
  onBehalfOf?: string
  /** Ends the call earlier than its own time limit. */
  signal?: AbortSignal | undefined
}

export interface Call<T extends z.ZodType> extends UpstreamRequest {
  trace: Trace
  /** What the answer must look like. A neighbour is input too. */
  responseSchema: T
  /** The refusals, besides those of the platform, that reach the caller as they are. */
  refusals?: readonly ErrorDefinition[]
}

/** A call that travels with others. One that has a path can also be made alone. */
export type BatchedCall<T extends z.ZodType> = Omit<Call<T>, 'method' | 'path'> &
  Partial<Pick<Call<T>, 'method' | 'path'>>

/** A shared call, with what it is as an item of the one request. */
type BatchableCall = BatchedCall<z.ZodType> & { shared: object }

export interface Reply<T> {
  value: T
  /** The neighbour sent its stored first answer again. */
  replayed: boolean
}

/** What came back for one call. */
interface Reached {
  status: number
  body: unknown
  replayed: boolean
  /** What its `Retry-After` says, in seconds. */
  retryAfter?: number | undefined
}

const PASSING_STATUS = new Set([429, 502, 503, 504])
const MAX_PAUSE_MS = 1_000

/**
 * Calls a neighbour, again after a short random wait while its failure may be a passing one: so a call must be safe to
 * repeat, by its nature or by its idempotency key. It waits for as long as the neighbour asks for, unless that is longer
 * than a call may take: then the refusal says when to try again.
 * @throws AppError the neighbour's own refusal; `upstream_failed` when it answered with a fault or nonsense;
 *   `unavailable` when it could not be reached; `deadline_exceeded` when it took too long
 */
export function callService<T extends z.ZodType>(upstream: Upstream, call: Call<T>): Promise<Reply<z.output<T>>> {
  return withRetries(upstream, call, () => reach(upstream, call))
}

/**
 * Like {@link callService}, for calls of which many are made at once: those of one moment travel in one request to
 * `path`, where each is answered as it would have been alone.
 */
export function createBatchedCalls(upstream: Upstream, path: string) {
  const enqueue = createLoader<BatchableCall, Reached>(async (calls) => {
    const [first, second] = calls
    if (first === undefined) return []
    if (second === undefined) return [await reachAlone(upstream, path, first)]
    return reachTogether(upstream, path, calls)
  }, MAX_BATCHED_CALLS)

  /** @param shared the call as an item of the one request */
  return <T extends z.ZodType>(call: BatchedCall<T>, shared: object): Promise<Reply<z.output<T>>> =>
    withRetries(upstream, call, async () => {
      if (call.signal?.aborted) throw tooLate(call.signal.reason)
      return raceAbort(call.signal, enqueue({ ...call, shared }))
    })
}

async function withRetries<T extends z.ZodType>(
  upstream: Upstream,
  call: BatchedCall<T>,
  tryOnce: () => Promise<Reached>,
): Promise<Reply<z.output<T>>> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await tryOnce().catch(asRefusal)
    const passing = outcome instanceof AppError || PASSING_STATUS.has(outcome.status)
    const askedMs = outcome instanceof AppError ? 0 : (retryAfterOf(outcome) ?? 0) * 1_000
    if (!passing || attempt >= upstream.attempts || askedMs > upstream.timeoutMs || call.signal?.aborted) {
      if (outcome instanceof AppError) throw outcome
      return readReply(outcome, call, upstream.base)
    }
    await pause(askedMs + Math.random() * Math.min(MAX_PAUSE_MS, 100 * 2 ** attempt), call.signal)
  }
}

/** In seconds. In a shared answer the problem document says it, for one call has no header of its own. */
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
 * Asks whether a neighbour can be called with our token. One of an earlier version, which does not know the path, answers
 * 404: it is there.
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

/** Waits, or less when the signal ends it. */
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

/** For a neighbour's refusal that means: there is none. @throws all other refusals */
export function unlessNotFound(error: unknown): undefined {
  if (isRefusal(error, PLATFORM_ERRORS.not_found)) return undefined
  throw error
}

/** Work that another does, until the signal ends the wait for it. @throws AppError `deadline_exceeded` */
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

function reach(upstream: Upstream, call: UpstreamRequest): Promise<Reached> {
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

/** Goes its own way, if it has one. */
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
  const items = calls.map(({ shared, trace }) => ({
    ...shared,
    correlation_id: trace.correlationId,
    ...(trace.traceparent !== undefined && { traceparent: trace.traceparent }),
  }))
  const trace = calls.length === 1 ? calls[0]?.trace : undefined
  const question = { method: 'POST', path, body: { calls: items }, ...(trace && { trace }) } as const
  const outcome = await reach(upstream, question).catch(asRefusal)
  // A neighbour of another version does not know the way, or does not take one of the calls: each goes alone.
  if (calls.length > 1 && !(outcome instanceof AppError) && [400, 404, 405, 413].includes(outcome.status)) {
    return Promise.all(calls.map((call) => reachAlone(upstream, path, call)))
  }
  // What was said to all of them was said to each.
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

/** A date, which `Retry-After` may be too, is no number of seconds. */
function secondsIn(header: string | null): number | undefined {
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) : undefined
}

/** A page instead of JSON is no answer either: it becomes undefined, which no schema takes. */
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
    ...(call.trace?.traceparent !== undefined && { traceparent: call.trace.traceparent }),
    ...(call.body !== undefined && { 'content-type': 'application/json' }),
    ...(call.idempotencyKey !== undefined && { 'idempotency-key': call.idempotencyKey }),
    ...(call.onBehalfOf !== undefined && { 'x-on-behalf-of': call.onBehalfOf }),
    ...interstitialHeader(upstream.base),
  }
}

/** Tunnels for laptops show browsers a page of their own first, unless a header asks them not to. */
function interstitialHeader(base: string): Record<string, string> {
  const { hostname } = new URL(base)
  if (hostname.endsWith('.loca.lt')) return { 'bypass-tunnel-reminder': 'true' }
  if (/\.ngrok(-free)?\.(app|dev|io)$/.test(hostname)) return { 'ngrok-skip-browser-warning': 'true' }
  return {}
}

/** A problem document turned back into the error it was. */
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
    // Our token, or our idea of its paths, is wrong there: a fault between the services, not of the caller.
    const ours = [401, 403, 405].includes(reached.status) || known === PLATFORM_ERRORS.route_not_found
    if (ours || reached.status === 500) return upstreamFailed(reached.status, base)
    if (known.status === reached.status) {
      if (reached.status < 500) return new AppError(known, detail, extra)
      // Why a service failed is for the log, not for the caller; when to try again is.
      return new AppError(known, `${known.title}.`, when, { cause: `${who.cause}: ${detail}` })
    }
  }
  if (reached.status === 503) return new AppError(unavailable, 'A service cannot answer right now.', when, who)
  if (reached.status === 504) return new AppError(deadline_exceeded, 'A service did not answer in time.', {}, who)
  return upstreamFailed(reached.status, base)
}

/** Who answered what is for the log. */
function upstreamFailed(status: number, base: string): AppError {
  const hint = status === 401 || status === 403 ? ': is SERVICE_TOKEN one of its tokens?' : ''
  return serviceFailed('A service failed.', `${base} answered ${status}${hint}`)
}

function serviceFailed(detail: string, cause: unknown): AppError {
  return new AppError(PLATFORM_ERRORS.upstream_failed, detail, {}, { cause })
}

import type { z } from 'zod'
import type { Trace } from './app.ts'
import { AppError, ERRORS, type ErrorCode } from './errors.ts'
import { untilAborted, withTimeLimit } from './time-limit.ts'
import { trusted } from './trusted.ts'

/** How one service reaches another: over HTTP, or through the other app's own `fetch` in the same process. */
export interface Route {
  /** Where the service is; any path in it is kept, a trailing slash does not matter. */
  base: string
  fetch: (url: string, init: RequestInit) => Response | Promise<Response>
  token: string
  /** The time limit of each call, in milliseconds. */
  timeoutMs: number
  /** How often a call may be made that meets a network fault or a 429, 502, 503 or 504. */
  attempts: number
}

export interface Call<T extends z.ZodType> {
  method: 'GET' | 'POST'
  path: string
  trace: Trace
  /** What the answer must look like. A neighbour is input too. */
  answer: T
  body?: unknown
  idempotencyKey?: string
  /** Ends the call earlier than its own time limit. */
  signal?: AbortSignal | undefined
}

export interface Reply<T> {
  value: T
  /** The neighbour sent its stored first answer again. */
  replayed: boolean
}

const PASSING_STATUS = new Set([429, 502, 503, 504])
const LONGEST_PAUSE_MS = 1_000

/**
 * Calls a neighbour, again after a short random wait while its failure may be a passing one: so a call must be safe to
 * repeat, by its nature or by its idempotency key.
 * @throws AppError the neighbour's own refusal; `upstream_failed` when it answered with a fault or nonsense;
 *   `unavailable` when it could not be reached; `deadline_exceeded` when it took too long
 */
export async function callService<T extends z.ZodType>(route: Route, call: Call<T>): Promise<Reply<z.output<T>>> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await reach(route, call).catch((error: AppError) => error)
    const passing = outcome instanceof AppError || PASSING_STATUS.has(outcome.response.status)
    if (!passing || attempt >= route.attempts || call.signal?.aborted) {
      if (outcome instanceof AppError) throw outcome
      return readReply(outcome, call)
    }
    await pause(Math.random() * Math.min(LONGEST_PAUSE_MS, 100 * 2 ** attempt), call.signal)
  }
}

function readReply<T extends z.ZodType>({ response, body }: Reached, call: Call<T>): Reply<z.output<T>> {
  if (!response.ok) throw refusalOf(response, body)
  const parsed = call.answer.safeParse(body)
  if (!parsed.success) {
    throw new AppError('upstream_failed', 'A service answered in an unknown form.', {}, { cause: parsed.error })
  }
  return { value: parsed.data, replayed: response.headers.get('idempotent-replayed') === 'true' }
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

interface Reached {
  response: Response
  body: unknown
}

function reach<T extends z.ZodType>(route: Route, call: Call<T>): Promise<Reached> {
  return withTimeLimit(
    route.timeoutMs,
    async (signal) => {
      try {
        return await untilAborted(signal, exchange(route, call, signal))
      } catch (cause) {
        if (signal.aborted) throw new AppError('deadline_exceeded', 'A service did not answer in time.', {}, { cause })
        throw new AppError('unavailable', 'A service cannot be reached.', {}, { cause })
      }
    },
    call.signal,
  )
}

async function exchange<T extends z.ZodType>(route: Route, call: Call<T>, signal: AbortSignal): Promise<Reached> {
  signal.throwIfAborted()
  const response = await route.fetch(`${route.base.replace(/\/+$/, '')}${call.path}`, {
    method: call.method,
    headers: headersOf(route, call),
    redirect: 'manual',
    signal,
    ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
  })
  return { response, body: parseJson(await response.text()) }
}

/** A page instead of JSON is no answer either: it becomes undefined, which no schema takes. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function headersOf<T extends z.ZodType>(route: Route, call: Call<T>): Record<string, string> {
  return {
    authorization: `Bearer ${route.token}`,
    accept: 'application/json',
    'x-correlation-id': call.trace.correlationId,
    ...(call.trace.traceparent !== undefined && { traceparent: call.trace.traceparent }),
    ...(call.body !== undefined && { 'content-type': 'application/json' }),
    ...(call.idempotencyKey !== undefined && { 'idempotency-key': call.idempotencyKey }),
    ...interstitialHeader(route.base),
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
function refusalOf(response: Response, body: unknown): AppError {
  if (response.status === 429) return new AppError('unavailable', 'A service asks to be called less often.')
  const { code, detail, type, title, status, request_id, ...extra } = trusted<Record<string, unknown>>(body ?? {})
  if (typeof code === 'string' && code in ERRORS && typeof detail === 'string') {
    const known = trusted<ErrorCode>(code)
    // Our token, or our idea of its paths, is wrong there: a fault between the services, not of the caller.
    const ours = [401, 403, 405].includes(response.status) || known === 'route_not_found'
    if (ours || response.status === 500) return upstreamFailed(response)
    if (ERRORS[known].status === response.status) {
      if (response.status < 500) return new AppError(known, detail, extra)
      // Why a service failed is for the log, not for whoever called us; when to try again is.
      const { retry_after } = extra
      const when = typeof retry_after === 'number' ? { retry_after } : {}
      return new AppError(known, `${ERRORS[known].title}.`, when, { cause: detail })
    }
  }
  if (response.status === 503) return new AppError('unavailable', 'A service cannot answer right now.')
  if (response.status === 504) return new AppError('deadline_exceeded', 'A service did not answer in time.')
  return upstreamFailed(response)
}

function upstreamFailed(response: Response): AppError {
  return new AppError('upstream_failed', 'A service failed.', {}, { cause: `it answered ${response.status}` })
}

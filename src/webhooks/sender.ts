import { createSingleFlight } from '../platform/core/single-flight.ts'
import { withTimeLimit } from '../platform/core/timeout.ts'
import { type AddressCheck, createAddressCheck } from './addresses.ts'
import { type AttemptError, AttemptFailed } from './attempt-failed.ts'
import { openConnection } from './connection.ts'
import { exchange, type Message, type ReceiverResponse } from './exchange.ts'
import { hostOf, type Lookup, lookupAll, resolveHost } from './hosts.ts'
import { readUrl, type UrlRules } from './urls.ts'

const TIMEOUT_MS = 15_000

/**
 * What became of one attempt. Exactly one of `status` and `error` is null. A response counts by its status alone, from the
 * moment the status arrives: a receiver that has said 2xx has the message, however slow, long or broken its body is.
 */
export interface Attempt {
  /** The status of the response. Redirects are not followed, so a 3xx is the response. */
  status: number | null
  /** Why there is no response. */
  error: AttemptError | null
  /** The time of the whole attempt, in whole milliseconds. */
  durationMs: number
  /** The begin of the response's body, safe to store and show. Empty without a response. */
  excerpt: string
  /** The `Retry-After` header of the response: seconds or a date. */
  retryAfter: string | null
  /** What `error` comes from, for the log: it may name addresses. */
  cause?: unknown
}

/** Makes one attempt, and never rejects. @param signal gives the attempt up */
export type Send = (url: string, message: Message, signal?: AbortSignal) => Promise<Attempt>

export interface SenderOptions extends UrlRules {
  /** The time limit of an attempt: name, connection, TLS, headers and body together. */
  timeoutMs?: number
}

/**
 * Makes the sender of webhooks, whose URLs are untrusted input. Each attempt resolves the host, checks all its addresses,
 * and connects to one of the checked addresses. So a name that changes between check and connection gains nothing.
 */
export function createSender({ lookup = lookupAll, timeoutMs = TIMEOUT_MS, ...rules }: SenderOptions): Send {
  const isAllowed = createAddressCheck(rules.allowedNetworks)
  const ways = { lookup: shareLookups(lookup, timeoutMs), isAllowed, allowHttp: rules.allowHttp }
  return async (url, message, outer) => {
    const began = performance.now()
    const work = (signal: AbortSignal) =>
      attempt(url, message, ways, signal).catch((cause) => failureOf(cause, signal, outer))
    const outcome = await withTimeLimit(timeoutMs, work, outer)
    return { ...outcome, durationMs: Math.round(performance.now() - began) }
  }
}

/** Node does two lookups at a time: attempts that wait for the same silent name server must not take both. */
function shareLookups(lookup: Lookup, maxAgeMs: number): Lookup {
  const share = createSingleFlight<string, readonly string[]>(maxAgeMs)
  return (name) => share(name, () => lookup(name)).result
}

type Outcome = Omit<Attempt, 'durationMs'>

/** What every attempt of a sender goes by. */
interface Ways {
  lookup: Lookup
  isAllowed: AddressCheck
  allowHttp: boolean
}

async function attempt(text: string, message: Message, ways: Ways, signal: AbortSignal): Promise<Outcome> {
  const url = readUrl(text, ways.allowHttp)
  if (typeof url === 'string') throw new AttemptFailed('url_not_allowed', url)
  const addresses = await resolveHost(hostOf(url), ways, signal)
  const socket = await openConnection(url, addresses, ways.isAllowed, signal)
  return { ...(await exchange(socket, url, message, signal)), error: null }
}

const NO_RESPONSE: Omit<ReceiverResponse, 'status'> = { excerpt: '', retryAfter: null }

function failureOf(cause: unknown, signal: AbortSignal, outer: AbortSignal | undefined): Outcome {
  return { ...NO_RESPONSE, status: null, error: errorOf(cause, signal, outer), cause }
}

function errorOf(cause: unknown, signal: AbortSignal, outer: AbortSignal | undefined): AttemptError {
  if (outer?.aborted) return 'aborted'
  if (signal.aborted) return 'timeout'
  if (cause instanceof AttemptFailed) return cause.code
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  return ERRORS[code] ?? (code.startsWith('HPE_') ? 'invalid_response' : 'failed')
}

/** By the code of the socket's error. When several addresses were tried, it is that of the first. */
const ERRORS: Record<string, AttemptError> = {
  ECONNREFUSED: 'connection_refused',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  ETIMEDOUT: 'timeout',
  ECONNRESET: 'connection_lost',
  EPIPE: 'connection_lost',
}

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** The pauses before the attempts of a delivery, in ms: ten attempts over 75 hours. */
const PAUSES_MS = [
  0,
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
] as const

export const MAX_ATTEMPTS = PAUSES_MS.length
/** Spreads the retries of deliveries that failed together. */
const JITTER = 0.2
const MAX_PAUSE_MS = 24 * HOUR

/** The statuses whose `Retry-After` pauses an endpoint: it says that it is overloaded. */
const OVERLOADED = new Set([429, 502, 503, 504])
const SECONDS = /^\d+$/
/** The format that senders must use (RFC 9110, section 5.6.7). `Date` alone would accept nearly anything. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

export type Outcome = 'succeeded' | 'gone' | 'failed'

/**
 * How long a delivery waits for its next attempt, in ms, counted from the end of the attempt before.
 * @param made the attempts that were made
 * @param random from 0 to 1
 * @returns undefined when no attempt is left
 */
export function pauseBeforeRetry(made: number, random: number): number | undefined {
  const pauseMs = PAUSES_MS[made]
  return pauseMs === undefined ? undefined : Math.round(pauseMs * (1 - JITTER + 2 * JITTER * random))
}

/** What a response's status says. A redirect is a failure, and is never followed. */
export function outcomeOf(status: number): Outcome {
  if (status >= 200 && status < 300) return 'succeeded'
  return status === 410 ? 'gone' : 'failed'
}

/**
 * How long a response asks to send nothing to its endpoint, in ms, 24 hours at most.
 * @param retryAfter the header `Retry-After`: seconds or a date
 * @param nowMs since 1970
 * @returns undefined when it does not ask for a pause
 */
export function pauseOf(status: number, retryAfter: string | null, nowMs: number): number | undefined {
  if (!OVERLOADED.has(status) || retryAfter === null) return undefined
  const pauseMs = msIn(retryAfter.trim(), nowMs)
  return pauseMs > 0 ? Math.min(pauseMs, MAX_PAUSE_MS) : undefined
}

/** NaN for any other text. */
function msIn(retryAfter: string, nowMs: number): number {
  if (SECONDS.test(retryAfter)) return Number(retryAfter) * SECOND
  return HTTP_DATE.test(retryAfter) ? Date.parse(retryAfter) - nowMs : Number.NaN
}

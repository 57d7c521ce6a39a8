import { addMs, type DbTime, msOf } from '../platform/core/time.ts'
import { MAX_ATTEMPTS, outcomeOf, pauseBeforeRetry, pauseOf } from './retry-schedule.ts'

/** What came of one attempt. */
export interface AttemptResult {
  status: number | null
  error: string | null
  retryAfter: string | null
}

/** What an attempt means for its delivery and for the endpoint. */
export interface Consequence {
  delivery:
    | { status: 'succeeded'; tries: number; next_attempt_at: null; finished_at: DbTime }
    | { status: 'failed'; tries: number; next_attempt_at: null; finished_at: DbTime }
    | { status: 'pending'; tries: number; next_attempt_at: DbTime }
  /** The endpoint answered that it is gone for good. */
  isGone: boolean
  /** Until when the endpoint asked to be left alone. */
  pausedUntil: DbTime | undefined
}

/**
 * Decides what follows an attempt.
 * @param tries the attempts before this one
 * @param random from 0 to 1: spreads retries
 */
export function consequenceOf(
  { status, retryAfter }: AttemptResult,
  tries: number,
  now: DbTime,
  random: number,
): Consequence {
  const outcome = status === null ? 'failed' : outcomeOf(status)
  const made = tries + 1
  if (outcome === 'succeeded') return { delivery: ended('succeeded', made, now), isGone: false, pausedUntil: undefined }
  // Once somebody enables the endpoint again, the delivery goes on as if this attempt had not been made.
  if (outcome === 'gone') {
    return { delivery: { status: 'pending', tries, next_attempt_at: now }, isGone: true, pausedUntil: undefined }
  }
  const askedMs = status === null ? undefined : pauseOf(status, retryAfter, msOf(now))
  const pausedUntil = askedMs === undefined ? undefined : addMs(now, askedMs)
  const pauseMs = made >= MAX_ATTEMPTS ? undefined : pauseBeforeRetry(made, random)
  if (pauseMs === undefined) return { delivery: ended('failed', made, now), isGone: false, pausedUntil }
  const next_attempt_at = addMs(now, pauseMs)
  return { delivery: { status: 'pending', tries: made, next_attempt_at }, isGone: false, pausedUntil }
}

function ended<S extends 'succeeded' | 'failed'>(status: S, tries: number, now: DbTime) {
  return { status, tries, next_attempt_at: null, finished_at: now }
}

/**
 * Whether an endpoint is given up: one of its deliveries is exhausted, and nothing has reached it for so many hours.
 * @param since its last success, or when it was enabled if that is later
 */
export function isGivenUp(since: DbTime, now: DbTime, disableAfterHours: number): boolean {
  return msOf(now) - msOf(since) >= disableAfterHours * 3_600_000
}

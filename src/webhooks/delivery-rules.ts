import { addMs, type DbTime, msOf } from '../platform/core/time.ts'
import { outcomeOf, pauseBeforeRetry, pauseOf } from './retry-schedule.ts'

/** How long nothing is signed for an endpoint after a key was missing. */
const NOT_SIGNED_PAUSE_MS = 5 * 60_000

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
  /** The endpoint has refused the delivery as often as it is tried. */
  isExhausted: boolean
  /** Until when the endpoint is left alone. */
  pausedUntil: DbTime | undefined
}

const NOTHING = { isGone: false, isExhausted: false, pausedUntil: undefined }

/**
 * Decides what follows an attempt.
 * @param tries the attempts before this one
 * @param random from 0 to 1: spreads retries
 */
export function consequenceOf(result: AttemptResult, tries: number, now: DbTime, random: number): Consequence {
  const made = tries + 1
  if (result.status === null) return withoutResponse(result.error, tries, now, random)
  switch (outcomeOf(result.status)) {
    case 'succeeded':
      return { ...NOTHING, delivery: ended('succeeded', made, now) }
    case 'gone':
      // Once somebody enables the endpoint again, the delivery goes on as if this attempt had not been made.
      return { ...NOTHING, delivery: unchanged(tries, now), isGone: true }
    case 'failed':
      return { ...tryAgain(made, now, random), pausedUntil: pauseAfter(result.status, result.retryAfter, now) }
  }
}

function withoutResponse(error: string | null, tries: number, now: DbTime, random: number): Consequence {
  // No later attempt could have the event.
  if (error === 'event_deleted') return { ...NOTHING, delivery: ended('failed', tries + 1, now) }
  // The endpoint is not to blame, so its attempts are not used up.
  if (error === 'not_signed')
    return { ...NOTHING, delivery: unchanged(tries, now), pausedUntil: addMs(now, NOT_SIGNED_PAUSE_MS) }
  return tryAgain(tries + 1, now, random)
}

function tryAgain(made: number, now: DbTime, random: number): Consequence {
  const pauseMs = pauseBeforeRetry(made, random)
  if (pauseMs === undefined) return { ...NOTHING, delivery: ended('failed', made, now), isExhausted: true }
  return { ...NOTHING, delivery: { status: 'pending', tries: made, next_attempt_at: addMs(now, pauseMs) } }
}

function unchanged(tries: number, now: DbTime) {
  return { status: 'pending', tries, next_attempt_at: now } as const
}

function ended<S extends 'succeeded' | 'failed'>(status: S, tries: number, now: DbTime) {
  return { status, tries, next_attempt_at: null, finished_at: now }
}

function pauseAfter(status: number, retryAfter: string | null, now: DbTime): DbTime | undefined {
  const askedMs = pauseOf(status, retryAfter, msOf(now))
  return askedMs === undefined ? undefined : addMs(now, askedMs)
}

/**
 * Whether an endpoint is given up: one of its deliveries is exhausted, and nothing has reached it for so many hours.
 * @param since its last success, or when it was enabled if that is later
 */
export function isGivenUp(since: DbTime, now: DbTime, disableAfterHours: number): boolean {
  return msOf(now) - msOf(since) >= disableAfterHours * 3_600_000
}

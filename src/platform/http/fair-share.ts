import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { callerIdOf, type Principal, SERVICE_ID } from './principal.ts'

/** The refusal of a principal that has its share in flight. Other principals are still served. */
export const OVER_SHARE = new AppError(
  PLATFORM_ERRORS.overloaded,
  'Too many of your requests are in progress. Try again soon.',
  {
    retry_after: 1,
  },
)

/** How many tokens of refused callers are kept. */
const MAX_REMEMBERED = 1_000

export interface FairShare {
  /**
   * Does a principal's work, unless the principal has its share in flight.
   * @param authorization the header by which the principal was authenticated
   * @throws AppError `overloaded`
   */
  run<T>(principal: Principal, work: () => Promise<T>, authorization?: string): Promise<T>
  /** Whether the token was refused and its principal's share is still in flight. No new verification is needed then. */
  isTaken(authorization: string | undefined): boolean
}

/**
 * One principal may have at most half of `maxInFlight`, so that a flood slows down only its sender. A service that
 * calls on behalf of a caller takes from that caller's share; a service that calls for itself has no limit.
 */
export function createFairShare(maxInFlight: number): FairShare {
  const maxOfOne = Math.max(1, Math.floor(maxInFlight / 2))
  const inFlight = new Map<string, number>()
  const refused = new Map<string, string>()
  const hasShare = (callerId: string) => (inFlight.get(callerId) ?? 0) >= maxOfOne

  function count(callerId: string, change: number): void {
    const now = (inFlight.get(callerId) ?? 0) + change
    if (now === 0) inFlight.delete(callerId)
    else inFlight.set(callerId, now)
  }

  function remember({ id, onBehalfOf }: Principal, authorization = ''): void {
    // A service token stands for many callers, so it does not identify the refused one.
    if (onBehalfOf !== undefined) return
    if (refused.size >= MAX_REMEMBERED) refused.clear()
    refused.set(authorization, id)
  }

  return {
    isTaken(authorization = '') {
      const callerId = refused.get(authorization)
      return callerId !== undefined && hasShare(callerId)
    },
    async run(principal, work, authorization) {
      const callerId = callerIdOf(principal)
      if (callerId === SERVICE_ID) return work()
      if (hasShare(callerId)) {
        remember(principal, authorization)
        throw OVER_SHARE
      }
      count(callerId, 1)
      try {
        return await work()
      } finally {
        count(callerId, -1)
      }
    },
  }
}

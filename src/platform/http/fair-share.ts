import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { callerIdOf, type Principal, SERVICE_ID } from './principal.ts'

/** Why a principal's request is refused while others are served. */
export const OVER_SHARE = new AppError(
  PLATFORM_ERRORS.overloaded,
  'Too many of your requests are in progress. Try again soon.',
  {
    retry_after: 1,
  },
)

/** So many tokens of refused callers are remembered. */
const MAX_REMEMBERED = 1_000

export interface FairShare {
  /**
   * Does a principal's work, unless the principal has its share under way.
   * @param authorization the header that proved the principal
   * @throws AppError `overloaded`
   */
  run<T>(principal: Principal, work: () => Promise<T>, authorization?: string): Promise<T>
  /** Whether the bearer was refused and still has its share under way: then nobody need ask again who is calling. */
  isTaken(authorization: string | undefined): boolean
}

/**
 * One principal has at most half of the requests that may be under way, so that a flood makes its own sender wait. A
 * service that calls for somebody else takes from that caller's share; one that calls for itself has no bound.
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
    // A service's token is that of many callers.
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

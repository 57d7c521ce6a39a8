import { callerIdOf, type Principal, SERVICE } from './auth.ts'
import { AppError } from './errors.ts'

/** Why a principal's request is refused while others are served. */
export const OVER_SHARE = new AppError('overloaded', 'Too many of your requests are under way. Try again shortly.', {
  retry_after: 1,
})

export interface FairShare {
  /** Does a principal's work, unless the principal has its share under way. @throws AppError `overloaded` */
  run<T>(principal: Principal, work: () => Promise<T>): Promise<T>
}

/**
 * One principal has at most half of the requests that may be under way, so that a flood makes its own sender wait. A
 * service that calls for somebody else takes from that caller's share; one that calls for itself has no bound.
 */
export function createFairShare(maxInFlight: number): FairShare {
  const maxOfOne = Math.max(1, Math.floor(maxInFlight / 2))
  const inFlight = new Map<string, number>()

  function count(callerId: string, change: number): void {
    const now = (inFlight.get(callerId) ?? 0) + change
    if (now === 0) inFlight.delete(callerId)
    else inFlight.set(callerId, now)
  }

  return {
    async run(principal, work) {
      const callerId = callerIdOf(principal)
      if (callerId === SERVICE.id) return work()
      if ((inFlight.get(callerId) ?? 0) >= maxOfOne) throw OVER_SHARE
      count(callerId, 1)
      try {
        return await work()
      } finally {
        count(callerId, -1)
      }
    },
  }
}

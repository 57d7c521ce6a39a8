import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type FairShare, OVER_SHARE } from './fair-share.ts'

/** Health probes, which come every few seconds. They are never shed: they matter most under overload and cost almost nothing. */
export const PROBE = /^\/(health|ready|internal\/ping)$/

const OVERLOADED = new AppError(PLATFORM_ERRORS.overloaded, 'Too many requests are in progress. Try again soon.', {
  retry_after: 1,
})
/**
 * A batch needs several turns of the event loop, and a turn serves all that is there to be served: refusals by the
 * thousand would make turns so long that hardly a batch got done.
 */
const REFUSALS_A_TURN = 32
const REFUSALS_REPORTED_EVERY_MS = 1_000

/** A service's places: so many requests may be under way at once. To refuse one more must cost less than to serve it. */
export interface LoadShedder {
  /** Why there is no place for a request, as far as its path and its `Authorization` header tell. */
  refusalOf(path: string, authorization: string | undefined): AppError | undefined
  /** Does the work in a place. */
  take(work: () => Promise<void>): Promise<void>
  /** Waits until it is a refused request's turn to be told. It has no place meanwhile. */
  tellRefusal(): Promise<void>
}

export function createLoadShedder(maxInFlight: number, fairShare: FairShare, logger: Logger): LoadShedder {
  const reportRefusal = createRefusalReport(logger)
  const turnToRefuse = createPerTickLimiter(REFUSALS_A_TURN)
  let inFlight = 0
  return {
    refusalOf(path, authorization) {
      if (PROBE.test(path)) return undefined
      if (inFlight >= maxInFlight) return OVERLOADED
      return fairShare.isTaken(authorization) ? OVER_SHARE : undefined
    },
    async take(work) {
      inFlight++
      try {
        await work()
      } finally {
        inFlight--
      }
    },
    tellRefusal() {
      reportRefusal()
      return turnToRefuse()
    },
  }
}

/** Lets so many go on in each turn of the event loop, in the order they came. */
function createPerTickLimiter(aTurn: number): () => Promise<void> {
  let waiting: (() => void)[] = []
  const turn = () => {
    const going = waiting
    waiting = going.splice(aTurn)
    for (const go of going) go()
    if (waiting.length > 0) setImmediate(turn)
  }
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve)
      if (waiting.length === 1) setImmediate(turn)
    })
}

/** One line for all refusals of a second: a line for each would keep the service busy with those it can't serve. */
function createRefusalReport(logger: Logger): () => void {
  let refused = 0
  return () => {
    refused++
    if (refused > 1) return
    setTimeout(() => {
      logger.warn({ refused }, 'too many requests are under way')
      refused = 0
    }, REFUSALS_REPORTED_EVERY_MS).unref()
  }
}

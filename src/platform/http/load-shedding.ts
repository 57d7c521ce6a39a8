import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import type { Logger } from '../telemetry/logger.ts'
import { REQUESTS_IN_FLIGHT, REQUESTS_REJECTED } from '../telemetry/series.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { type FairShare, OVER_SHARE } from './fair-share.ts'

/** Health probes are never shed: they matter most under overload, and cost almost nothing. */
export const PROBE = /^\/(health|ready|internal\/ping)$/

const OVERLOADED = new AppError(PLATFORM_ERRORS.overloaded, 'Too many requests are in progress. Try again soon.', {
  retry_after: 1,
})
/**
 * A batch needs several turns of the event loop, and each turn serves everything that is ready. Thousands of refusals
 * in one turn would make turns so long that batches would hardly progress.
 */
const REFUSALS_A_TURN = 32
const REFUSALS_REPORTED_EVERY_MS = 1_000

/** Bounds the requests that a service has in flight. A refusal must cost less than serving the request. */
export interface LoadShedder {
  /** The refusal of a request, by its path and its `Authorization` header alone; undefined when a slot is free. */
  refusalOf(path: string, authorization: string | undefined): AppError | undefined
  /** Runs the work in a slot. */
  take(work: () => Promise<void>): Promise<void>
  /** Counts a refusal, and waits until it may be sent. A refused request holds no slot meanwhile. */
  tellRefusal(refusal: AppError): Promise<void>
}

export function createLoadShedder(
  maxInFlight: number,
  fairShare: FairShare,
  logger: Logger,
  { metrics }: Telemetry,
): LoadShedder {
  const reportRefusal = createRefusalReport(logger)
  const turnToRefuse = createPerTickLimiter(REFUSALS_A_TURN)
  const overloaded = metrics.counter(REQUESTS_REJECTED, 'max_requests')
  const overShare = metrics.counter(REQUESTS_REJECTED, 'fair_share')
  let inFlight = 0
  metrics.atScrape(REQUESTS_IN_FLIGHT, () => [{ labels: [], value: inFlight }])
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
    tellRefusal(refusal) {
      if (refusal === OVER_SHARE) overShare()
      else overloaded()
      reportRefusal()
      return turnToRefuse()
    },
  }
}

/** Lets `aTurn` waiters continue in each turn of the event loop, in the order of their arrival. */
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

/** Logs one line a second for all refusals: a line for each would spend the service's time on refused requests. */
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

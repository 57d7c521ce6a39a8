import type { Logger } from './logger.ts'

const REPORTED_EVERY_MS = 60_000
const NONE = { spans: 0, err: undefined }

/** Counts spans that are not sent. @param err why, where it is known */
export type CountLost = (spans: number, err?: unknown) => void

/**
 * Logs one line at the first loss, and then at most one a minute: a collector that is away for hours must not fill the log.
 */
export function createLossReport(logger: Logger, everyMs = REPORTED_EVERY_MS): CountLost {
  let lost: { spans: number; err: unknown } = NONE
  let isPausing = false

  function report(): void {
    isPausing = lost.spans > 0
    if (!isPausing) return
    logger.warn({ event: 'traces_lost', ...lost }, 'traces could not be sent to the collector; they are dropped')
    lost = NONE
    setTimeout(report, everyMs).unref()
  }

  return (spans, err) => {
    lost = { spans: lost.spans + spans, err: err ?? lost.err }
    if (!isPausing) report()
  }
}

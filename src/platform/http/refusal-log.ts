import type { Logger } from '../telemetry/logger.ts'

const REPORTED_EVERY_MS = 1_000

/** Counts one refusal by its kind, such as a status. `address` is the caller's, where it is known. */
export type CountRefusal = (kind: string, address?: string | undefined) => void

/**
 * Logs one line a second for all refusals before an app saw the request, with the first known address. A line for each
 * would let a flood of malformed requests fill the log.
 */
export function createRefusalLog(logger: Logger): CountRefusal {
  let refused: Record<string, number> = {}
  let address: string | undefined
  const report = () => {
    logger.warn({ refused, address }, 'refused before an app saw it')
    refused = {}
    address = undefined
  }
  return (kind, from) => {
    if (Object.keys(refused).length === 0) setTimeout(report, REPORTED_EVERY_MS).unref()
    refused[kind] = (refused[kind] ?? 0) + 1
    address ??= from
  }
}

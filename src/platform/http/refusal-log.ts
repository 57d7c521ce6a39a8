import type { Logger } from '../telemetry/logger.ts'

const REPORTED_EVERY_MS = 1_000

/** Counts one more refusal: its kind, such as a status, and the address that it went to, where that is known. */
export type CountRefusal = (kind: string, address?: string | undefined) => void

/**
 * One line a second for all that is refused before an app sees it, with one of the addresses: whoever sends by the
 * thousand what is no request must not fill the log too.
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

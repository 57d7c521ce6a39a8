import type { Logger } from '../telemetry/logger.ts'
import { REQUESTS_REJECTED } from '../telemetry/series.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'

const REPORTED_EVERY_MS = 1_000

/** The kinds of refusals, with the reason that their series has. */
const REASONS: Readonly<Record<string, string>> = {
  400: 'malformed',
  401: 'metrics_token',
  408: 'request_timeout',
  431: 'headers_too_large',
  500: 'unforeseen',
  connection: 'max_connections',
}

/** Counts one refusal by its kind: a status or `connection`. `address` is the caller's, where it is known. */
export type CountRefusal = (kind: string, address?: string | undefined) => void

/** Counts refusals in their series, and in the log where there is one. */
export function createRefusalCount({ metrics }: Telemetry, logger: Logger | undefined): CountRefusal {
  const log = logger ? createRefusalLog(logger) : () => {}
  return (kind, address) => {
    metrics.counter(REQUESTS_REJECTED, REASONS[kind] ?? 'unforeseen')()
    log(kind, address)
  }
}

/**
 * Logs one line a second for all refusals before an app saw the request, with the first known address. A line for each
 * would let a flood of malformed requests fill the log.
 */
function createRefusalLog(logger: Logger): CountRefusal {
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

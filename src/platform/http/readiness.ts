import { AppError } from '../core/errors.ts'
import { createSingleFlight } from '../core/single-flight.ts'
import { untilAborted, withTimeLimit } from '../core/timeout.ts'
import { databaseFaultOf } from '../database/errors.ts'

/** One part that a service needs. */
export interface Check {
  /** Without an essential part the service can do nothing; without another part it is degraded. */
  essential: boolean
  /** Resolves when the part can be used. @throws CheckFailed, or what the database's driver throws */
  ask(): Promise<void>
}

/** A part can't be used. `word` is stable, and reveals nothing about how the system is built. */
export class CheckFailed extends Error {
  readonly word: string

  constructor(word: string, options?: ErrorOptions) {
    super(word, options)
    this.word = word
  }
}

export interface Readiness {
  status: 'ok' | 'degraded' | 'unavailable'
  /** By part: `ok`, or why it can't be used. */
  checks: Record<string, string>
  /** The errors of the parts that can't be used. */
  causes: unknown[]
}

/** A load balancer may wait only two seconds for the response. */
const CHECK_LIMIT_MS = 1_500

/**
 * Checks all parts at once. Probes share a check that is already running, so that a silent database or service costs
 * one connection, however many probes come.
 */
export function createReadiness(checks: Readonly<Record<string, Check>>): () => Promise<Readiness> {
  const share = createSingleFlight<string, void>(Number.POSITIVE_INFINITY)

  async function failureOf(name: string, { ask }: Check): Promise<unknown> {
    try {
      await withTimeLimit(CHECK_LIMIT_MS, (signal) => untilAborted(signal, share(name, ask).result))
      return undefined
    } catch (error) {
      return error ?? new Error('a check failed')
    }
  }

  return async () => {
    const asked = Object.entries(checks).map(async ([name, check]) => {
      return { name, check, error: await failureOf(name, check) }
    })
    const outcomes = await Promise.all(asked)
    const failed = outcomes.filter(({ error }) => error !== undefined)
    const isUnavailable = failed.some(({ check }) => check.essential)
    return {
      status: isUnavailable ? 'unavailable' : failed.length > 0 ? 'degraded' : 'ok',
      checks: Object.fromEntries(outcomes.map(({ name, error }) => [name, error === undefined ? 'ok' : wordOf(error)])),
      causes: failed.map(({ error }) => error),
    }
  }
}

function wordOf(error: unknown): string {
  if (error instanceof CheckFailed) return error.word
  if (error instanceof DOMException) return 'too_slow'
  return databaseFaultOf(error instanceof AppError ? (error.cause ?? error) : error)
}

import { z } from 'zod'
import { isOneOrTwo, weaknessesOf } from '../core/secrets.ts'
import { listed, oneOf, type ParsedVariables, port, type RawVariables } from '../core/variables.ts'

export const telemetryVariables = {
  LOG_LEVEL: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent').default('info'),
  METRICS_TOKEN: z.string().optional(),
  METRICS_PORT: port.optional(),
}

export interface TelemetryConfig {
  logLevel: string
  metrics: MetricsConfig
}

/** Metrics are off without tokens and port, but for programs that say otherwise. */
export interface MetricsConfig {
  /** A scrape needs one of these bearer tokens; without any, none. */
  tokens: readonly string[]
  /** A port that serves nothing but metrics; undefined: the port of the service. */
  port: number | undefined
}

export function telemetryConfigOf(vars: ParsedVariables<typeof telemetryVariables>): TelemetryConfig {
  const tokens = vars.METRICS_TOKEN === undefined ? [] : listed(vars.METRICS_TOKEN)
  return { logLevel: vars.LOG_LEVEL, metrics: { tokens, port: vars.METRICS_PORT } }
}

/** The faults of the tokens, each as one line that never shows one. @param strict whether they must be fit for production */
export function telemetryFaults({ METRICS_TOKEN }: RawVariables, strict: boolean): string[] {
  if (METRICS_TOKEN === undefined) return []
  const tokens = listed(METRICS_TOKEN)
  const faults = strict ? weaknessesOf('METRICS_TOKEN', tokens, NOT_PUBLISHED) : []
  if (isOneOrTwo(tokens)) return faults
  return ['METRICS_TOKEN: must be one token, or two with a comma between while one is rotated', ...faults]
}

const NOT_PUBLISHED: ReadonlySet<string> = new Set()

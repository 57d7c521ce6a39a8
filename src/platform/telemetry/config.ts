import { z } from 'zod'
import { weaknessesOf } from '../core/secrets.ts'
import { oneOf, type ParsedVariables, port, type RawVariables } from '../core/variables.ts'

export const telemetryVariables = {
  LOG_LEVEL: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent').default('info'),
  METRICS_TOKEN: z.string().optional(),
  METRICS_PORT: port.optional(),
}

export interface TelemetryConfig {
  logLevel: string
  metrics: MetricsConfig
}

/** Metrics are off while both are undefined, but for programs that say otherwise. */
export interface MetricsConfig {
  /** The bearer token that a scrape needs. */
  token: string | undefined
  /** A port that serves nothing but metrics; undefined: the port of the service. */
  port: number | undefined
}

export function telemetryConfigOf(vars: ParsedVariables<typeof telemetryVariables>): TelemetryConfig {
  return { logLevel: vars.LOG_LEVEL, metrics: { token: vars.METRICS_TOKEN, port: vars.METRICS_PORT } }
}

/** The faults of the token, each as one line that never shows it. @param strict whether it must be fit for production */
export function telemetryFaults({ METRICS_TOKEN }: RawVariables, strict: boolean): string[] {
  return METRICS_TOKEN === undefined || !strict ? [] : weaknessesOf('METRICS_TOKEN', [METRICS_TOKEN], NOT_PUBLISHED)
}

const NOT_PUBLISHED: ReadonlySet<string> = new Set()

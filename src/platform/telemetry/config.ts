import { oneOf, type ParsedVariables } from '../core/variables.ts'

export const telemetryVariables = {
  LOG_LEVEL: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent').default('info'),
}

export interface TelemetryConfig {
  logLevel: string
}

export function telemetryConfigOf(vars: ParsedVariables<typeof telemetryVariables>): TelemetryConfig {
  return { logLevel: vars.LOG_LEVEL }
}

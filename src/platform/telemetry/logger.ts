import { type Logger, pino } from 'pino'
import { serializeError } from './error-serializer.ts'

export type { Logger }

/** Logs JSON lines to standard output, or pretty lines to a terminal. Values of redacted fields are hidden. */
export async function createLogger(level: string): Promise<Logger> {
  const options = {
    level,
    base: {},
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: serializeError },
    formatters: { level: (label: string) => ({ level: label }) },
    redact: ['authorization', '*.authorization', 'client_secret', '*.client_secret', 'access_token', '*.access_token'],
  }
  if (!process.stdout.isTTY) return pino(options)
  const { default: pretty } = await import('pino-pretty').catch(() => ({ default: undefined }))
  if (pretty === undefined) return pino(options)
  return pino(options, pretty({ translateTime: 'SYS:HH:MM:ss.l', singleLine: true, sync: true }))
}

import { pino } from 'pino'
import { serializeError } from './error-serializer.ts'

/** The fields of a line. `event` names the kind of line and stays the same: alerts and searches use it. The text may change. */
export type LogFields = Readonly<{ event: string } & Record<string, unknown>>

type Write = (fields: LogFields, text: string) => void

export interface Logger {
  debug: Write
  info: Write
  warn: Write
  error: Write
  fatal: Write
  /** A logger whose lines have these fields too. */
  child(fields: Readonly<Record<string, unknown>>, options?: { redact: string[] }): Logger
}

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
  const pretty = process.stdout.isTTY ? await loadPretty() : undefined
  const logger: Logger = pretty ? pino(options, pretty(PRETTY)) : pino(options)
  return logger
}

const PRETTY = { translateTime: 'SYS:HH:MM:ss.l', singleLine: true, sync: true }

/** @returns undefined where only the packages of production are installed */
async function loadPretty() {
  const { default: pretty } = await import('pino-pretty').catch(() => ({ default: undefined }))
  return pretty
}

import { existsSync, readFileSync } from 'node:fs'
import { parseEnv as parseFile } from 'node:util'
import { createLogger } from '../platform/telemetry/logger.ts'

/** A start that failed for a known reason. The message is for the person who started the program. */
export class StartError extends Error {}

/** Reads `.env` in the working directory. @throws StartError when the file can't be read */
export function readEnvFile(): ReturnType<typeof parseFile> {
  try {
    return existsSync('.env') ? parseFile(readFileSync('.env', 'utf8')) : {}
  } catch (error) {
    throw new StartError(`.env can't be read: ${reasonOf(error)}`)
  }
}

/** The message of an error, or of each of several. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ')
  if (!(error instanceof Error)) return String(error)
  return error.message || ('code' in error ? String(error.code) : error.name)
}

/** Prints why a command failed, and ends the process. */
export async function tellFailure(message: string, code = 1): Promise<never> {
  console.error(`\n${message}\n`)
  process.exit(code)
}

/** Like {@link tellFailure}, for a service: in production the message is one line of the log. */
export async function failStart(message: string, code = 1): Promise<never> {
  if (!isProduction()) return tellFailure(message, code)
  const lines = message.split('\n').filter((line) => line !== '')
  const logger = await createLogger('fatal')
  logger.fatal({ event: 'start_failed', reasons: lines }, 'the start failed')
  process.exit(code)
}

/** Reads one variable without `parseEnv`: the environment itself may be the reason of the failure. */
function isProduction(): boolean {
  try {
    return (process.env.NODE_ENV ?? readEnvFile().NODE_ENV) === 'production'
  } catch {
    return false
  }
}

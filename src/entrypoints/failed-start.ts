import { createLogger } from '../platform/logging.ts'

/**
 * Tells why a service can't start, and ends the process. In production it is one line of the log, as everything else that
 * the process says.
 */
export async function failStart(message: string, code = 1): Promise<never> {
  if (process.env.NODE_ENV !== 'production') console.error(`\n${message}\n`)
  else {
    const lines = message.split('\n').filter((line) => line !== '')
    const logger = await createLogger('fatal')
    logger.fatal({ reasons: lines }, 'the start failed')
  }
  process.exit(code)
}

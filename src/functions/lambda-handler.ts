import { type Env, parseEnv } from '../compose/env.ts'
import type { ServiceApp } from '../platform/http/app.ts'
import { createHttpFetch } from '../platform/rpc/http-fetch.ts'
import { createLogger, type Logger } from '../platform/telemetry/logger.ts'
import { behindGateway } from './gateway.ts'
import { withParameters } from './parameters.ts'

/** The input of a function's start. The start runs once for each instance, and all invocations share its result. */
export interface Start {
  env: Env
  logger: Logger
}

/**
 * A handler for requests.
 * @param prefixes the paths below which the gateway serves the service, e.g. `/orders-api`
 */
export function onRequests(
  service: string,
  prefixes: readonly string[],
  compose: (start: Start) => Promise<ServiceApp>,
): ReturnType<typeof behindGateway> {
  const started = startOnce(service, { serves: true }, async (start) =>
    behindGateway(await compose(start), prefixes, start.env.serviceTokens),
  )
  return async (event, context) => (await started())(event, context)
}

/** A handler for scheduled events. */
export function onSchedule<T>(service: string, compose: (start: Start) => Promise<() => Promise<T>>) {
  const started = startOnce(service, { serves: false }, compose)
  return async (): Promise<T> => (await started())()
}

/**
 * In Lambda the start begins before the first invocation, when it has a whole processor. A failed start is logged, and
 * the next invocation tries it again.
 */
function startOnce<T>(
  service: string,
  options: { serves: boolean },
  start: (start: Start) => Promise<T>,
): () => Promise<T> {
  let started: Promise<T> | undefined
  const begin = async () => {
    const env = parseEnv(await withParameters(process.env, createHttpFetch()), options)
    return start({ env, logger: await openLog(env.logLevel, service) })
  }
  const get = () => {
    started ??= begin().catch(async (err) => {
      started = undefined
      const logger = await openLog('error', service)
      logger.error({ err }, 'the start failed')
      throw err
    })
    return started
  }
  if (process.env.AWS_LAMBDA_FUNCTION_NAME !== undefined) get().catch(() => {})
  return get
}

async function openLog(level: string, service: string): Promise<Logger> {
  return (await createLogger(level)).child({ service })
}

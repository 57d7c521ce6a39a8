import { type Env, parseEnv } from '../compose/env.ts'
import type { ServiceApp } from '../platform/http/app.ts'
import { createHttpFetch } from '../platform/rpc/http-fetch.ts'
import { createEmbed } from '../platform/telemetry/embedded.ts'
import { createLogger, type Logger } from '../platform/telemetry/logger.ts'
import { openTracing } from '../platform/telemetry/open-tracing.ts'
import { NO_TELEMETRY, type Telemetry } from '../platform/telemetry/telemetry.ts'
import { behindGateway } from './gateway.ts'
import { withParameters } from './parameters.ts'

/** The input of a function's start. The start runs once for each instance, and all invocations share its result. */
export interface Start {
  env: Env
  logger: Logger
  telemetry: Telemetry
}

/** How long a response waits for the collector of traces. After the response, Lambda freezes the instance. */
const MAX_LAST_SPANS_MS = 200

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
  return async (event, context) => {
    const { work, flush } = await started()
    return work(event, context).finally(flush)
  }
}

/** A handler for scheduled events. */
export function onSchedule<T>(service: string, compose: (start: Start) => Promise<() => Promise<T>>) {
  const started = startOnce(service, { serves: false }, compose)
  return async (): Promise<T> => {
    const { work, flush } = await started()
    return work().finally(flush)
  }
}

/** What the start made, and what must be done before each response. */
interface Started<T> {
  work: T
  flush(): Promise<void> | undefined
}

/**
 * In Lambda the start begins before the first invocation, when it has a whole processor. A failed start is logged, and
 * the next invocation tries it again.
 */
function startOnce<T>(
  service: string,
  options: { serves: boolean },
  start: (start: Start) => Promise<T>,
): () => Promise<Started<T>> {
  let started: Promise<Started<T>> | undefined
  const begin = async () => {
    const env = parseEnv(await withParameters(process.env, createHttpFetch()), options)
    const logger = await openLog(env.logLevel, service)
    const tracing = await openTracing(env.traces, logger)
    const embed = env.metrics.embedded ? createEmbed(process.env.AWS_LAMBDA_FUNCTION_NAME ?? service) : undefined
    const telemetry = { ...NO_TELEMETRY, tracer: tracing?.tracerOf(service), embed }
    return { work: await start({ env, logger, telemetry }), flush: () => tracing?.flush(MAX_LAST_SPANS_MS) }
  }
  const get = () => {
    started ??= begin().catch(async (err) => {
      started = undefined
      const logger = await openLog('error', service)
      logger.error({ event: 'start_failed', err }, 'the start failed')
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

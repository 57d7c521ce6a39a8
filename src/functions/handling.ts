import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import type { ServiceApp } from '../platform/app.ts'
import { type Env, parseEnv } from '../platform/env.ts'
import { createLogger, type Logger } from '../platform/logging.ts'

/** What a function starts with. Its work is made once for each instance, and used by all of its invocations. */
export interface Start {
  env: Env
  logger: Logger
}

/**
 * A handler for the events of a REST API (v1), an HTTP API (v2) and a function URL: all reach the same paths.
 * @param prefix the path below which the service lies at the gateway, e.g. `/orders-api`
 */
export function onRequests(service: string, prefix: string, compose: (start: Start) => Promise<ServiceApp>) {
  const started = startOnce(service, async (start) => handle(await compose(start)))
  return async (event: LambdaEvent, context?: LambdaContext) => {
    const answer = await started()
    return answer(withoutPrefix(event, prefix), context)
  }
}

/** A handler for the ticks of a schedule. */
export function onSchedule<T>(service: string, compose: (start: Start) => Promise<() => Promise<T>>) {
  const started = startOnce(service, compose)
  return async (): Promise<T> => (await started())()
}

/**
 * In Lambda the work begins at once, in the time before the first invocation, which has a whole processor. A start that
 * failed is tried again by the next invocation.
 */
function startOnce<T>(service: string, start: (start: Start) => Promise<T>): () => Promise<T> {
  let started: Promise<T> | undefined
  const begin = async () => {
    const env = parseEnv(process.env)
    return start({ env, logger: (await createLogger(env.logLevel)).child({ service }) })
  }
  const get = () => {
    started ??= begin().catch((error) => {
      started = undefined
      throw error
    })
    return started
  }
  if (process.env.AWS_LAMBDA_FUNCTION_NAME !== undefined) get().catch(() => {})
  return get
}

/** Takes off what the gateway put in front of the path: the name of an HTTP API's stage, and the service's own prefix. */
function withoutPrefix(event: LambdaEvent, prefix: string): LambdaEvent {
  if ('rawPath' in event) {
    const { stage } = event.requestContext
    const staged = stage === '$default' ? event.rawPath : cut(event.rawPath, `/${stage}`)
    return { ...event, rawPath: cut(staged, prefix) }
  }
  return 'path' in event ? { ...event, path: cut(event.path, prefix) } : event
}

function cut(path: string, front: string): string {
  if (front === '' || (path !== front && !path.startsWith(`${front}/`))) return path
  return path.slice(front.length) || '/'
}

import type { Env, Hono } from 'hono'
import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'

/**
 * A handler for the events of a REST API (v1), an HTTP API (v2) and a function URL: all reach the same paths. The app
 * never sees the stage or the prefix that the gateway has in front of them; its links are relative, so they hold there.
 * @param prefixes the paths below which the app lies at the gateway, e.g. `/orders-api`
 */
export function behindGateway<E extends Env>(app: Hono<E>, prefixes: readonly string[]) {
  const answer = handle(app)
  return (event: LambdaEvent, context?: LambdaContext) => {
    const path = prefixes.reduce(cut, withoutStage(event))
    return answer('rawPath' in event ? { ...event, rawPath: path } : { ...event, path }, context)
  }
}

/** A REST API takes the stage off itself, an HTTP API leaves it. */
function withoutStage(event: LambdaEvent): string {
  if (!('rawPath' in event)) return event.path
  const { stage } = event.requestContext
  return stage === '$default' ? event.rawPath : cut(event.rawPath, `/${stage}`)
}

function cut(path: string, front: string): string {
  if (path !== front && !path.startsWith(`${front}/`)) return path
  return path.slice(front.length) || '/'
}

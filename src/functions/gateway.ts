import type { Env, Hono } from 'hono'
import { type APIGatewayProxyResult, handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'

/**
 * A handler for the events of a REST API (v1), an HTTP API (v2) and a function URL: all reach the same paths. What the
 * gateway has in front of them, a stage or a prefix, the app never sees; it is put back before a `Location`.
 * @param prefixes the paths below which the app lies at the gateway, e.g. `/orders-api`
 */
export function behindGateway<E extends Env>(app: Hono<E>, prefixes: readonly string[]) {
  const answer = handle(app)
  return async (event: LambdaEvent, context?: LambdaContext) => {
    const { front, path } = placeOf(event, prefixes)
    const given = 'rawPath' in event ? { ...event, rawPath: path } : { ...event, path }
    const result: APIGatewayProxyResult = await answer(given, context)
    const { headers, multiValueHeaders } = result
    if (headers?.location) headers.location = `${front}${headers.location}`
    if (multiValueHeaders?.location)
      multiValueHeaders.location = multiValueHeaders.location.map((it) => `${front}${it}`)
    return result
  }
}

/** The path as the app knows it, and what the caller sent before it. */
function placeOf(event: LambdaEvent, prefixes: readonly string[]): { front: string; path: string } {
  const { sent, staged } = pathsOf(event)
  const path = prefixes.reduce(cut, staged)
  return { front: sent.endsWith(path) ? sent.slice(0, -path.length) : '', path }
}

/** The path as the caller sent it, and without the stage: a REST API takes that off itself, an HTTP API leaves it. */
function pathsOf(event: LambdaEvent): { sent: string; staged: string } {
  if (!('rawPath' in event)) {
    const { requestContext, path } = event
    return { sent: 'path' in requestContext ? requestContext.path : path, staged: path }
  }
  const { stage } = event.requestContext
  return { sent: event.rawPath, staged: stage === '$default' ? event.rawPath : cut(event.rawPath, `/${stage}`) }
}

function cut(path: string, front: string): string {
  if (path !== front && !path.startsWith(`${front}/`)) return path
  return path.slice(front.length) || '/'
}

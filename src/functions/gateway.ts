import { type Env, Hono } from 'hono'
import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { sameSecret } from '../platform/core/crypto.ts'

/**
 * A handler for the events of a REST API (v1), an HTTP API (v2), a function URL, a load balancer (ALB) and VPC Lattice
 * (v2). The app sees no stage and no prefix; its links are relative, so they work behind both. Other functions invoke
 * it directly (`platform/rpc/lambda-fetch.ts`), with events that no gateway can send.
 * @param prefixes the paths below which the gateway serves the app, e.g. `/orders-api`
 * @param serviceTokens tokens that are removed from the requests of a gateway
 */
export function behindGateway<E extends Env>(
  app: Hono<E>,
  prefixes: readonly string[],
  serviceTokens: readonly string[] = [],
) {
  const respondDirect = handle(app)
  const response = handle(forOutsiders(app, serviceTokens))
  return (event: LambdaEvent, context?: LambdaContext) => {
    if ('direct' in event) return respondDirect(event, context)
    const path = prefixes.reduce(cut, withoutStage(event))
    if ('rawPath' in event) return response({ ...event, rawPath: path }, context)
    return response({ ...event, path: `${path}${latticeQuery(event)}` }, context)
  }
}

const INTERNAL = /^(\/dev)?\/internal(?=\/|$)/
const NOWHERE = '/internal'

/**
 * The app for callers behind a gateway: it has no internal routes, and service tokens are removed. Without the token,
 * internal routes stay closed however a path is written.
 */
function forOutsiders<E extends Env>(app: Hono<E>, serviceTokens: readonly string[]): Hono<E> {
  const isServiceToken = (token: string) => serviceTokens.map((known) => sameSecret(known, token)).includes(true)
  return new Hono<E>().all('*', (c) => {
    const { raw, path } = c.req
    const [, token = ''] = /^Bearer +(\S+)$/i.exec(raw.headers.get('authorization') ?? '') ?? []
    if (isServiceToken(token)) raw.headers.delete('authorization')
    return app.fetch(INTERNAL.test(path) ? new Request(new URL(NOWHERE, raw.url), raw) : raw, c.env)
  })
}

/** The query of a VPC Lattice event: the adapter reads a query only as a part of the path. */
function latticeQuery({ requestContext, ...event }: LambdaEvent): string {
  if (!('serviceArn' in requestContext) || !('path' in event)) return ''
  const [, inPath] = event.path.split('?')
  if (inPath !== undefined) return `?${inPath}`
  const given = Object.entries(event.queryStringParameters ?? {})
  const pairs = given.flatMap(([name, values]) => [values ?? []].flat().map((value) => [name, value]))
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs)}`
}

/** A REST API removes the stage from the path, an HTTP API keeps it. */
function withoutStage(event: LambdaEvent): string {
  if (!('rawPath' in event)) return event.path.replace(/\?.*$/s, '')
  const { stage } = event.requestContext
  return stage === '$default' ? event.rawPath : cut(event.rawPath, `/${stage}`)
}

function cut(path: string, front: string): string {
  if (path !== front && !path.startsWith(`${front}/`)) return path
  return path.slice(front.length) || '/'
}

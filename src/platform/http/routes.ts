import type { RouteConfig, RouteConfigToTypedResponse, RouteHandler } from '@hono/zod-openapi'
import type { Handler, MiddlewareHandler } from 'hono'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { AppEnv, ServiceApp } from './app.ts'
import type { Route } from './contract.ts'
import { requireScope, requireServiceToken } from './guards.ts'
import { z } from './schema.ts'

const NO_QUERY = z.strictObject({})

/** Like the library's own, but a route that also has answers without a body is not free to send whatever it likes. */
type StrictHandler<R extends Route> =
  RouteHandler<R, AppEnv> extends Handler<infer E, infer P, infer I>
    ? Handler<E, P, I, RouteConfigToTypedResponse<R> | Promise<RouteConfigToTypedResponse<R>>>
    : never

/**
 * Adds a route of a contract to an app, with the guard that it asks for. Its query is strict: a misspelled filter must not
 * be answered with everything, so a route that names no query takes none.
 * @param first what runs before the guard, so that a refused request has it too
 */
export function addRoute<R extends Route>(
  app: ServiceApp,
  route: R,
  handler: StrictHandler<R>,
  ...first: MiddlewareHandler<AppEnv>[]
): void {
  const middleware = [...first, guardOf(route), ...(isBodyOptional(route) ? [acceptEmptyBody] : [])]
  app.openapi({ ...operationOf(route), middleware }, unsafeCast<RouteHandler<RouteConfig, AppEnv>>(handler))
}

/** The route as the document has it. Tools that take only one of its security schemes take the first: any token does. */
function operationOf({ scope, internal, request, ...operation }: Route): RouteConfig {
  const security = internal ? [{ serviceToken: [] }] : [{ bearer: [scope] }, { oauth2: [scope] }]
  // Tools that publish documents leave out what is `x-internal`.
  const access = { security, ...(internal && { 'x-internal': true }) }
  return { ...access, ...operation, request: { query: NO_QUERY, ...request } }
}

function guardOf({ scope, internal }: Route): MiddlewareHandler<AppEnv> {
  return internal ? requireServiceToken() : requireScope(scope)
}

function isBodyOptional({ request }: Route): boolean {
  return request?.body !== undefined && request.body.required !== true
}

/** For a body that may be left out: no bytes are no body, whatever content type a client announces with them. */
const acceptEmptyBody: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (c.req.header('content-type') !== undefined && (await c.req.text()) === '') {
    const { url, method, headers } = c.req.raw
    const named = new Headers(headers)
    named.set('content-type', 'application/json')
    c.req.raw = new Request(url, { method, headers: named, body: '{}' })
    c.req.bodyCache = {}
  }
  await next()
}

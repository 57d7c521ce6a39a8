import type { RouteConfig, RouteConfigToTypedResponse, RouteHandler } from '@hono/zod-openapi'
import type { Handler, MiddlewareHandler } from 'hono'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { AppEnv, ServiceApp } from './app.ts'
import type { Route } from './contract.ts'
import { requireScope, requireServiceToken } from './guards.ts'
import { z } from './schema.ts'

const NO_QUERY = z.strictObject({})

/** The library's type lets a route with a bodiless response send anything; this type checks every response. */
type StrictHandler<R extends Route> =
  RouteHandler<R, AppEnv> extends Handler<infer E, infer P, infer I>
    ? Handler<E, P, I, RouteConfigToTypedResponse<R> | Promise<RouteConfigToTypedResponse<R>>>
    : never

/**
 * Adds a route of a contract to an app, with its guard. Queries are strict, and a route that declares no query accepts
 * none: a misspelled filter must not return all rows.
 * @param first middleware that runs before the guard, so that it applies to refused requests too
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

/**
 * Refuses the other methods at a route's path. Without this, a path such as `/orders/preview` would be read as an id by
 * the routes of `/orders/{id}`, which must be added later.
 * @throws AppError `method_not_allowed`
 */
export function refuseOtherMethods(app: ServiceApp, { method, path }: Route): void {
  app.all(path, (c) => {
    const allow = [method.toUpperCase()]
    throw new AppError(PLATFORM_ERRORS.method_not_allowed, `This path has no ${c.req.method}.`, { allow })
  })
}

/** The route for the document. Tools that use only one security scheme use the first: `bearer` works with any token. */
function operationOf({ scope, internal, request, ...operation }: Route): RouteConfig {
  const security = internal ? [{ serviceToken: [] }] : [{ bearer: [scope] }, { oauth2: [scope] }]
  // Tools that publish documents leave out operations with `x-internal`.
  const access = { security, ...(internal && { 'x-internal': true }) }
  return { ...access, ...operation, request: { query: NO_QUERY, ...request } }
}

function guardOf({ scope, internal }: Route): MiddlewareHandler<AppEnv> {
  return internal ? requireServiceToken() : requireScope(scope)
}

function isBodyOptional({ request }: Route): boolean {
  return request?.body !== undefined && request.body.required !== true
}

/** For an optional body: zero bytes mean no body, whatever content type the request names. */
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

import type { RouteConfigToTypedResponse } from '@hono/zod-openapi'
import type { Context, TypedResponse } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { StoredResponse } from '../idempotency/store.ts'
import type { AppEnv } from './app.ts'
import type { Route } from './contract.ts'
import { etagOf, namesVersion } from './etag.ts'

/** Answers are data: nothing to keep, to run, to frame, or to guess the type of (OWASP's cheat sheet for REST). */
export const ALWAYS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=15552000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-dns-prefetch-control': 'off',
  'x-download-options': 'noopen',
  'x-frame-options': 'SAMEORIGIN',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
}

/**
 * Answers with what every answer carries. The headers are given as they are: to set them one by one on a response that
 * is there already costs more than all else that is done to it.
 */
export function send(
  c: Context<AppEnv>,
  body: string | Uint8Array<ArrayBuffer> | null,
  status: StatusCode,
  headers?: Readonly<Record<string, string>>,
): Response {
  const trace = c.get('trace')
  const all = { ...ALWAYS, ...(trace && { 'x-correlation-id': trace.correlationId }), ...headers }
  // Where the rate is limited, what is left of it was set on the context before.
  return c.get('limited') ? c.newResponse(body, status, all) : new Response(body, { status, headers: all })
}

const JSON_TYPE = { 'content-type': 'application/json' }

/** Sends a value as JSON, typed so that the route's own declaration of its answers is held to it. */
export function sendJson<T, S extends StatusCode>(
  c: Context<AppEnv>,
  value: T,
  status: S,
  headers?: Readonly<Record<string, string>>,
): Response & TypedResponse<T, S, 'json'> {
  const all = headers ? { ...headers, ...JSON_TYPE } : JSON_TYPE
  return unsafeCast<Response & TypedResponse<T, S, 'json'>>(send(c, JSON.stringify(value), status, all))
}

/**
 * Sends a stored response byte for byte, so that the first one and its replays are the same. A 204 has no body, and so no
 * content type.
 * @param route the route whose response it is
 */
export function sendStored<R extends Route>(
  c: Context<AppEnv>,
  route: R,
  stored: Pick<StoredResponse, 'status' | 'body' | 'replayed'>,
  headers: Readonly<Record<string, string>> = {},
): RouteConfigToTypedResponse<R> {
  if (!(stored.status in route.responses)) throw new Error(`${route.operationId} declares no ${stored.status}`)
  const hasBody = stored.status !== 204
  const replayed = stored.replayed && { 'idempotent-replayed': 'true' }
  const all = { ...headers, ...(hasBody && JSON_TYPE), ...replayed }
  const response = send(c, hasBody ? stored.body : null, unsafeCast<StatusCode>(stored.status), all)
  return unsafeCast<RouteConfigToTypedResponse<R>>(response)
}

/** The `ETag` of the resource in an answer: of a replay it is the version that the first answer told. */
export function etagOfStored({ body }: StoredResponse): string {
  return etagOf(unsafeCast<{ version: number }>(JSON.parse(body)))
}

/** Sends a resource with its `ETag`, or that alone when `If-None-Match` names the version that there is. */
export function sendVersioned<T extends { version: number }>(c: Context<AppEnv>, resource: T) {
  const headers = { etag: etagOf(resource) }
  const known = c.req.header('if-none-match')
  if (known === undefined || !namesVersion(known, resource)) return sendJson(c, resource, 200, headers)
  return unsafeCast<Response & TypedResponse<object, 304, string>>(send(c, null, 304, headers))
}

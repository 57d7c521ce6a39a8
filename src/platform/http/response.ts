import type { RouteConfigToTypedResponse } from '@hono/zod-openapi'
import type { Context, TypedResponse } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { StoredResponse } from '../idempotency/store.ts'
import { REPLAYS } from '../telemetry/series.ts'
import type { AppEnv } from './app.ts'
import type { Route } from './contract.ts'
import { etagOf, namesVersion } from './etag.ts'

/** Responses are data: not to be cached, run, framed or sniffed (OWASP's REST Security Cheat Sheet). */
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
 * Sends a response with the headers that all responses carry. Headers are passed to the constructor: setting them one
 * by one on an existing response costs more than everything else here.
 */
export function send(
  c: Context<AppEnv>,
  body: string | Uint8Array<ArrayBuffer> | null,
  status: StatusCode,
  headers?: Readonly<Record<string, string>>,
): Response {
  const trace = c.get('trace')
  const all = { ...ALWAYS, ...(trace && { 'x-correlation-id': trace.correlationId }), ...headers }
  // A rate limiter has set its headers on the context: only `newResponse` includes them.
  return c.get('limited') ? c.newResponse(body, status, all) : new Response(body, { status, headers: all })
}

const JSON_TYPE = { 'content-type': 'application/json' }

/** Sends a value as JSON. Its type lets the compiler check it against the responses that the route declares. */
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
 * Sends a stored response byte for byte, so that the first response and its replays are equal. A 204 has no body, so it
 * has no content type.
 * @param route the route that declares the response
 * @throws Error when the route does not declare the status
 */
export function sendStored<R extends Route>(
  c: Context<AppEnv>,
  route: R,
  stored: Pick<StoredResponse, 'status' | 'body' | 'replayed'>,
  headers: Readonly<Record<string, string>> = {},
): RouteConfigToTypedResponse<R> {
  if (!(stored.status in route.responses)) throw new Error(`${route.operationId} declares no ${stored.status}`)
  if (stored.replayed) countReplay(c, route)
  const hasBody = stored.status !== 204
  const replayed = stored.replayed && { 'idempotent-replayed': 'true' }
  const all = { ...headers, ...(hasBody && JSON_TYPE), ...replayed }
  const response = send(c, hasBody ? stored.body : null, unsafeCast<StatusCode>(stored.status), all)
  return unsafeCast<RouteConfigToTypedResponse<R>>(response)
}

/** Counts a request that gets the stored response of an earlier one. */
export function countReplay(c: Context<AppEnv>, { operationId = 'unknown' }: Route): void {
  c.get('telemetry').metrics.counter(REPLAYS, operationId)()
}

/**
 * The `ETag` of the resource in a stored response, as a header. A replay gets the version of the first response; one that
 * was stored before its resource had a version gets no `ETag`.
 */
export function etagHeader({ body }: StoredResponse): Record<string, string> {
  const { version } = unsafeCast<{ version?: number }>(JSON.parse(body))
  return version === undefined ? {} : { etag: etagOf({ version }) }
}

/** Sends a resource with its `ETag`, or a 304 with only the `ETag` when `If-None-Match` names the current version. */
export function sendVersioned<T extends { version: number }>(c: Context<AppEnv>, resource: T) {
  const headers = { etag: etagOf(resource) }
  const known = c.req.header('if-none-match')
  if (known === undefined || !namesVersion(known, resource)) return sendJson(c, resource, 200, headers)
  return unsafeCast<Response & TypedResponse<object, 304, string>>(send(c, null, 304, headers))
}

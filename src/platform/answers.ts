import type { Context, TypedResponse } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import type { AppEnv } from './app.ts'
import type { Answer } from './idempotency.ts'
import { trusted } from './trusted.ts'

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
  return trusted<Response & TypedResponse<T, S, 'json'>>(send(c, JSON.stringify(value), status, all))
}

/** Sends an answer's own bytes, so that the first answer and its replays are one. */
export function sendAnswer<T>(c: Context<AppEnv>, answer: Answer, headers: Readonly<Record<string, string>> = {}): T {
  const all = { ...headers, ...JSON_TYPE, ...(answer.replayed && { 'idempotent-replayed': 'true' }) }
  return trusted<T>(send(c, answer.body, trusted<StatusCode>(answer.status), all))
}

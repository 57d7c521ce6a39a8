import type { Context, MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import type { AppEnv } from './app.ts'

const SENT = [
  'Authorization',
  'Content-Type',
  'Idempotency-Key',
  'X-Idempotency-Key',
  'If-Match',
  'If-None-Match',
  'X-Correlation-Id',
  'Traceparent',
]

const READ = [
  'ETag',
  'Location',
  'Link',
  'Idempotent-Replayed',
  'Retry-After',
  'RateLimit',
  'RateLimit-Policy',
  'WWW-Authenticate',
  'X-Correlation-Id',
]

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
const MAX_AGE_SECONDS = 600

/**
 * Lets pages of these origins call the service from a browser and read its responses, refusals included. Cookies are
 * not allowed, because callers authenticate with tokens.
 */
export function allowOrigins(origins: readonly string[]): MiddlewareHandler<AppEnv> {
  const handle = cors({
    origin: [...origins],
    allowMethods: METHODS,
    allowHeaders: SENT,
    exposeHeaders: READ,
    maxAge: MAX_AGE_SECONDS,
  })
  // An OPTIONS request that is no preflight goes to the routes, of which none has that method.
  return (c, next) => (c.req.method === 'OPTIONS' && !isPreflight(c) ? next() : handle(c, next))
}

function isPreflight(c: Context): boolean {
  return c.req.header('origin') !== undefined && c.req.header('access-control-request-method') !== undefined
}

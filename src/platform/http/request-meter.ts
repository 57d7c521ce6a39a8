import type { Context } from 'hono'
import { routePath } from 'hono/route'
import { NO_METRICS, secondsSince } from '../telemetry/metrics.ts'
import { REQUEST_SECONDS } from '../telemetry/series.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'

/** The methods of RFC 9110 and RFC 5789. Callers can send any word as a method. */
const METHODS = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'])

/** As the semantic conventions name all other methods. */
const OTHER_METHOD = '_OTHER'
const UNMATCHED = 'unmatched'

/** @returns tells of a request that has its response, and came at `start`, a moment of `performance.now()` */
export function createRequestMeter({ metrics }: Telemetry): (c: Context, start: number) => void {
  // Off, not even the labels are made.
  if (metrics === NO_METRICS) return () => {}
  return (c, start) => {
    const seconds = secondsSince(start)
    metrics.histogram(REQUEST_SECONDS, methodOf(c), routeOf(c), String(c.res.status))(seconds)
  }
}

export function methodOf(c: Context): string {
  return METHODS.has(c.req.method) ? c.req.method : OTHER_METHOD
}

/** The template of the route. A request that no route takes has the middleware's pattern. */
export function routeOf(c: Context): string {
  const route = routePath(c, -1)
  return route.endsWith('*') ? UNMATCHED : route
}

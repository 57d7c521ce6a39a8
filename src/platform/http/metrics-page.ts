import { parseAccept } from 'hono/utils/accept'
import { getPath } from 'hono/utils/url'
import { sameSecret } from '../core/crypto.ts'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import type { ExpositionFormat } from '../telemetry/prometheus.ts'
import { problemHeaders } from './problem-details.ts'
import { problemDocument } from './problem-document.ts'
import type { CountRefusal } from './refusal-log.ts'
import { ALWAYS } from './response.ts'
import type { Connection } from './server.ts'

export interface MetricsSource {
  /** A scrape needs one of these bearer tokens; without any, none. */
  tokens: readonly string[]
  expose(format: ExpositionFormat): Promise<string>
  contentTypes: Readonly<Record<ExpositionFormat, string>>
}

const PATH = '/metrics'

/** Something that answers requests as an app does. */
interface App {
  fetch(request: Request, connection: Connection): Response | Promise<Response>
}

/**
 * Puts `GET /metrics` before an app. A scrape never reaches the app, so it takes no slot of it, has no rate, and gets its
 * answer under overload too. A Lambda function serves the app alone, so no gateway leads here.
 * @param countRefusal counts scrapes without the token
 */
export function withMetrics(app: App, source: MetricsSource, countRefusal: CountRefusal): App {
  return {
    fetch(request, connection) {
      if (getPath(request) !== PATH) return app.fetch(request, connection)
      const refusal = refusalOf(request, source.tokens)
      if (refusal === undefined) return sendMetrics(request, source)
      if (refusal.status === 401) countRefusal('401', connection.incoming.socket.remoteAddress)
      return refuse(refusal)
    },
  }
}

/** Serves the metrics and nothing else. */
export function createMetricsApp(source: MetricsSource, countRefusal: CountRefusal): App {
  return withMetrics({ fetch: () => refuse(NOTHING_ELSE) }, source, countRefusal)
}

const NOTHING_ELSE = new AppError(PLATFORM_ERRORS.route_not_found, `There is no such path. This port has ${PATH}.`)
const NO_TOKEN = new AppError(PLATFORM_ERRORS.unauthorized, 'A scrape needs METRICS_TOKEN as its bearer token.')
const WRONG_TOKEN = new AppError(PLATFORM_ERRORS.invalid_token, 'The token is not METRICS_TOKEN.')
const GET_ALONE = new AppError(PLATFORM_ERRORS.method_not_allowed, 'Metrics can be read only.', {
  allow: ['GET', 'HEAD'],
})

async function sendMetrics({ method, headers }: Request, { expose, contentTypes }: MetricsSource): Promise<Response> {
  const format = formatFor(headers.get('accept') ?? '')
  const body = method === 'HEAD' ? null : await expose(format)
  return new Response(body, { headers: { ...ALWAYS, 'content-type': contentTypes[format], vary: 'accept' } })
}

function refusalOf({ method, headers }: Request, tokens: readonly string[]): AppError | undefined {
  if (method !== 'GET' && method !== 'HEAD') return GET_ALONE
  if (tokens.length === 0) return undefined
  const [, given] = /^Bearer +(\S+)$/i.exec(headers.get('authorization') ?? '') ?? []
  if (given === undefined) return NO_TOKEN
  // All are compared, so that the time does not tell which one it is.
  return tokens.map((token) => sameSecret(given, token)).includes(true) ? undefined : WRONG_TOKEN
}

/** OpenMetrics for callers that prefer it to plain text; text for all others. */
function formatFor(accept: string): ExpositionFormat {
  const wanted = parseAccept(accept).find(({ type, q }) => q > 0 && (type === OPENMETRICS || TEXT.has(type)))
  return wanted?.type === OPENMETRICS ? 'openmetrics' : 'text'
}

const OPENMETRICS = 'application/openmetrics-text'
const TEXT = new Set(['text/plain', 'text/*', '*/*'])

function refuse(error: AppError): Response {
  const problem = problemDocument(error, crypto.randomUUID())
  const headers = { ...ALWAYS, ...problemHeaders(error), 'x-correlation-id': problem.request_id }
  return new Response(JSON.stringify(problem), { status: problem.status, headers })
}

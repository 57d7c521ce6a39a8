import { parseAccept } from 'hono/utils/accept'
import { sameSecret } from '../core/crypto.ts'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import type { ExpositionFormat } from '../telemetry/prometheus.ts'
import { problemHeaders } from './problem-details.ts'
import { problemDocument } from './problem-document.ts'
import { ALWAYS } from './response.ts'

export interface MetricsSource {
  /** The bearer token that a scrape needs; undefined: none. */
  token: string | undefined
  expose(format: ExpositionFormat): Promise<string>
  contentTypes: Readonly<Record<ExpositionFormat, string>>
}

const PATH = '/metrics'

/** Something that answers requests as an app does. */
interface Fetcher<E> {
  fetch(request: Request, env: E): Response | Promise<Response>
}

/**
 * Puts `GET /metrics` before an app. A scrape never reaches the app, so it takes no slot of it, has no rate, and gets its
 * answer under overload too. A Lambda function serves the app alone, so no gateway leads here.
 */
export function withMetrics<E>(app: Fetcher<E>, source: MetricsSource | undefined): Fetcher<E> {
  if (source === undefined) return app
  return {
    fetch: (request, env) =>
      new URL(request.url).pathname === PATH ? answerScrape(request, source) : app.fetch(request, env),
  }
}

/** Serves the metrics and nothing else. */
export function metricsApp(source: MetricsSource): Fetcher<unknown> {
  return withMetrics({ fetch: () => refuse(NOTHING_ELSE) }, source)
}

const NOTHING_ELSE = new AppError(PLATFORM_ERRORS.route_not_found, `There is no such path. This port has ${PATH}.`)
const NO_TOKEN = new AppError(PLATFORM_ERRORS.unauthorized, 'A scrape needs METRICS_TOKEN as its bearer token.')
const WRONG_TOKEN = new AppError(PLATFORM_ERRORS.invalid_token, 'The token is not METRICS_TOKEN.')
const GET_ALONE = new AppError(PLATFORM_ERRORS.method_not_allowed, 'Metrics can be read only.', {
  allow: ['GET', 'HEAD'],
})

async function answerScrape(request: Request, { token, expose, contentTypes }: MetricsSource): Promise<Response> {
  const refusal = refusalOf(request, token)
  if (refusal) return refuse(refusal)
  const format = formatFor(request.headers.get('accept') ?? '')
  const headers = { ...ALWAYS, 'content-type': contentTypes[format], vary: 'accept' }
  return new Response(request.method === 'HEAD' ? null : await expose(format), { headers })
}

function refusalOf({ method, headers }: Request, token: string | undefined): AppError | undefined {
  if (method !== 'GET' && method !== 'HEAD') return GET_ALONE
  if (token === undefined) return undefined
  const [, given] = /^Bearer +(\S+)$/i.exec(headers.get('authorization') ?? '') ?? []
  if (given === undefined) return NO_TOKEN
  return sameSecret(given, token) ? undefined : WRONG_TOKEN
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

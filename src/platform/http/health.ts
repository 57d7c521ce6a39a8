import { createRoute } from '@hono/zod-openapi'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { ServiceApp, ServiceDeps } from './app.ts'
import { declareProblems, defineRoute, jsonResponse, problems } from './contract.ts'
import { sendProblem } from './problem-details.ts'
import type { ProblemShape } from './problem-document.ts'
import { createReadiness, type Readiness } from './readiness.ts'
import { sendJson } from './response.ts'
import { addRoute } from './routes.ts'
import { z } from './schema.ts'

export const HEALTH_TAG = 'Health'

export const Health = z.object({ status: z.literal('ok') }).openapi('Health')

const ReadinessShape = z
  .object({
    status: z.enum(['ok', 'degraded']).openapi('ReadinessStatus', {
      description: '`degraded`: some of its routes can do nothing now, the others can',
    }),
    checks: z.record(z.string(), z.string()).openapi('ReadinessChecks', {
      description:
        'By part: `ok`, or why it cannot be used: `unreachable`, `too_slow`, `full`, `read_only`, `denied`, `locked`, ' +
        '`token_refused`, `failed`',
      example: { database: 'ok' },
    }),
  })
  .openapi('Readiness')

/**
 * Adds `/health` (the process runs) and `/ready` (all essential parts can be used, and the process is not stopping).
 * A 503 of a failed check has `checks` too.
 */
export function addHealthRoutes(
  app: ServiceApp,
  { lifecycle, checks, logger }: Pick<ServiceDeps, 'lifecycle' | 'checks' | 'logger'>,
  shape: ProblemShape,
): void {
  const common = { method: 'get' as const, tags: [HEALTH_TAG], security: [] }
  const askReadiness = createReadiness(checks)
  const logChange = createChangeLog(logger)

  const getHealth = createRoute({
    ...common,
    path: '/health',
    operationId: 'getHealth',
    summary: 'Whether the service runs',
    responses: {
      200: jsonResponse(Health, 'It runs'),
      ...declareProblems(shape, [PLATFORM_ERRORS.internal_error]),
    },
  })
  app.openapi(getHealth, (c) => sendJson(c, { status: 'ok' as const }, 200))

  const getReadiness = createRoute({
    ...common,
    path: '/ready',
    operationId: 'getReadiness',
    summary: 'Whether the service can do its work: for load balancers',
    responses: {
      200: jsonResponse(ReadinessShape, 'It can'),
      ...declareProblems(shape, [PLATFORM_ERRORS.internal_error, PLATFORM_ERRORS.unavailable]),
    },
  })
  app.openapi(getReadiness, async (c) => {
    const refuse = (error: AppError) => unsafeCast<never>(sendProblem(c, error, shape))
    if (lifecycle.draining) return refuse(new AppError(PLATFORM_ERRORS.unavailable, 'The service is stopping.'))
    const readiness = await askReadiness()
    logChange(readiness)
    const { status, checks: found } = readiness
    if (status !== 'unavailable') return sendJson(c, { status, checks: found }, 200)
    return refuse(
      new AppError(PLATFORM_ERRORS.unavailable, 'A part that the service needs cannot be used.', { checks: found }),
    )
  })
}

/** Logs only changes of readiness, with the cause: probes come every few seconds. */
function createChangeLog(logger: Logger): (readiness: Readiness) => void {
  let last = 'ok'
  return ({ status, checks, causes }) => {
    const now = JSON.stringify([status, checks])
    const isOk = status === 'ok'
    if (now === last || (isOk && last === 'ok')) return
    last = isOk ? 'ok' : now
    if (isOk) logger.info({ event: 'readiness_changed', status, checks }, 'readiness')
    else logger.warn({ event: 'readiness_changed', status, checks, err: causes[0] }, 'readiness')
  }
}

const ping = defineRoute({
  internal: true,
  method: 'get',
  path: '/internal/ping',
  operationId: 'ping',
  tags: ['Internal'],
  summary: 'Whether the service token opens this service, for the readiness of the others',
  responses: {
    200: jsonResponse(Health, 'It does'),
    ...problems(PLATFORM_ERRORS.unauthorized, PLATFORM_ERRORS.invalid_token),
  },
})

export function addPing(app: ServiceApp): void {
  addRoute(app, ping, (c) => sendJson(c, { status: 'ok' as const }, 200))
}

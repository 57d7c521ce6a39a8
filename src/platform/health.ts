import { createRoute, z } from '@hono/zod-openapi'
import { sendJson } from './answers.ts'
import type { ServiceApp, ServiceDeps } from './app.ts'
import { declareProblems, jsonAnswer } from './contract.ts'
import { AppError } from './errors.ts'
import type { ProblemShape } from './problems.ts'

export const HEALTH_TAG = 'Health'

export const Health = z.object({ status: z.literal('ok') }).openapi('Health')

/** `/health`: the process answers. `/ready`: so does all that it needs, and it is not about to stop. */
export function addHealthRoutes(
  app: ServiceApp,
  { lifecycle, ready }: Pick<ServiceDeps, 'lifecycle' | 'ready'>,
  shape: ProblemShape,
): void {
  const common = { method: 'get' as const, tags: [HEALTH_TAG], security: [] }

  const getHealth = createRoute({
    ...common,
    path: '/health',
    operationId: 'getHealth',
    summary: 'Whether the service runs',
    responses: {
      200: jsonAnswer(Health, 'It runs'),
      ...declareProblems(shape, ['internal_error']),
    },
  })
  app.openapi(getHealth, (c) => sendJson(c, { status: 'ok' as const }, 200))

  const getReadiness = createRoute({
    ...common,
    path: '/ready',
    operationId: 'getReadiness',
    summary: 'Whether the service can do its work: for load balancers',
    responses: {
      200: jsonAnswer(Health, 'It can'),
      ...declareProblems(shape, ['internal_error', 'unavailable']),
    },
  })
  app.openapi(getReadiness, async (c) => {
    if (lifecycle.draining) throw new AppError('unavailable', 'The service is stopping.')
    await ready().catch((cause) => {
      throw new AppError('unavailable', 'A part that the service needs does not answer.', {}, { cause })
    })
    return sendJson(c, { status: 'ok' as const }, 200)
  })
}

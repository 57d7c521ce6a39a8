import type { Context, MiddlewareHandler } from 'hono'
import { z } from 'zod'
import {
  type AppEnv,
  callerOf,
  correlationIdIn,
  createServiceApp,
  type ServiceApp,
  type ServiceDeps,
} from '../platform/http/app.ts'
import { sendStored } from '../platform/http/response.ts'
import { addRoute } from '../platform/http/routes.ts'
import { idempotencyKey } from '../platform/idempotency/header.ts'
import { CORRELATION_ID } from '../platform/telemetry/trace.ts'
import { createAndConfirmOrder, failureShape } from './contract.ts'
import { correlationIdOf } from './keys.ts'
import type { OrchestratorService } from './service.ts'

export interface OrchestratorDeps extends ServiceDeps {
  orchestrator: OrchestratorService
}

/** The orchestrator's app, a pure function of its dependencies. */
export function createOrchestratorApp({ orchestrator, ...deps }: OrchestratorDeps): ServiceApp {
  const docs = {
    title: 'Orchestrator',
    description: 'Creates and confirms an order in one call, which may be sent again at any moment.',
    tokens: false,
    internal: false,
  }
  const app = createServiceApp(deps, docs, failureShape)

  addRoute(
    app,
    createAndConfirmOrder,
    async (c) => {
      const input = c.req.valid('json')
      // Without a caller's key, each request has its own key: retries at Orders are one order, but a repeated request
      // is another order.
      const key = keyOf(c, input) ?? crypto.randomUUID()
      if (input.correlation_id === undefined && correlationIdIn(c) === undefined) {
        c.set('trace', { ...c.get('trace'), correlationId: correlationIdOf(c.get('principal').id, key) })
      }
      c.get('addToLog')({ customer_id: input.customer_id })
      const { value, replayed } = await orchestrator.createAndConfirm(callerOf(c), input, key)
      c.get('addToLog')({ order_id: orderIdIn(value), replayed })
      // The stored text is sent unchanged: a replay has the same bytes.
      const body = `{"success":true,"correlationId":${JSON.stringify(c.get('trace').correlationId)},"data":${value}}`
      return sendStored(c, createAndConfirmOrder, { status: 201, body, replayed })
    },
    takeCorrelationId,
  )

  return app
}

const BodyCorrelation = z.object({ correlation_id: z.string().regex(CORRELATION_ID) })

/** The correlation id is read from the body before the guard runs, so that a refused request has it too. */
const takeCorrelationId: MiddlewareHandler<AppEnv> = async (c, next) => {
  const body = BodyCorrelation.safeParse(await c.req.json().catch(() => undefined))
  if (body.success) c.set('trace', { ...c.get('trace'), correlationId: body.data.correlation_id })
  await next()
}

/** The caller's key, from the body or a header. @throws AppError `invalid_idempotency_key` */
function keyOf(c: Context<AppEnv>, { idempotency_key }: { idempotency_key?: string | undefined }): string | undefined {
  return idempotencyKey(idempotency_key, c.req.header('idempotency-key'), c.req.header('x-idempotency-key'))
}

/** Quotes within a JSON string are escaped, so no customer's name matches this. */
const ORDER_ID = /"order":\{"id":(\d+)/

function orderIdIn(text: string): number | undefined {
  const [, id] = ORDER_ID.exec(text) ?? []
  return id === undefined ? undefined : Number(id)
}

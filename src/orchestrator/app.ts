import { sendJson } from '../platform/answers.ts'
import { callerOf, createServiceApp, type ServiceApp, type ServiceDeps } from '../platform/app.ts'
import { idempotencyKey } from '../platform/contract.ts'
import { createAndConfirmOrder, failureShape } from './contract.ts'
import type { OrchestratorService } from './service.ts'

export interface OrchestratorDeps extends ServiceDeps {
  orchestrator: OrchestratorService
}

/** The orchestrator, a pure function of what it is given. */
export function createOrchestratorApp({ orchestrator, ...deps }: OrchestratorDeps): ServiceApp {
  const docs = {
    title: 'Orchestrator',
    description: 'Creates and confirms an order in one call, which may be sent again at any moment.',
    tokens: false,
    internal: false,
  }
  const app = createServiceApp(deps, docs, failureShape)

  app.openapi(createAndConfirmOrder, async (c) => {
    const input = c.req.valid('json')
    if (input.correlation_id !== undefined) c.set('trace', { ...c.get('trace'), correlationId: input.correlation_id })
    const key = idempotencyKey(
      input.idempotency_key,
      c.req.header('idempotency-key'),
      c.req.header('x-idempotency-key'),
    )
    // A key of this request alone: the retries of its steps are one order, the same request sent again is another one.
    const { data, replayed } = await orchestrator.createAndConfirm(callerOf(c), input, key ?? crypto.randomUUID())
    const headers = replayed ? { 'idempotent-replayed': 'true' } : {}
    return sendJson(c, { success: true as const, correlationId: c.get('trace').correlationId, data }, 201, headers)
  })

  return app
}

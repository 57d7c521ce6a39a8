import { onTestFinished, vi } from 'vitest'
import type { Database } from '../src/platform/database/types.ts'
import type { ApiRequest } from './api-client.ts'
import type { TestSystem } from './system.ts'
import { type Receiver, startReceiver } from './webhook-receiver.ts'

/** Variables with which endpoints may be on this machine. */
export const LOOPBACK = { WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' }

const LONG_AGO = '2020-01-01 00:00:00.000'

export interface TestEndpoint {
  receiver: Receiver
  // biome-ignore lint/suspicious/noExplicitAny: an endpoint as the API shows it; expectations check it.
  endpoint: any
}

/** Creates an endpoint with a receiver of its own, until the test ends. */
export async function newEndpoint(
  system: TestSystem,
  fields: Record<string, unknown> = {},
  request: ApiRequest = {},
): Promise<TestEndpoint> {
  const receiver = await startReceiver()
  const input = { url: receiver.url, event_types: ['order.*'], ...fields }
  const { status, body } = await system.orders.post('/webhook-endpoints', input, request)
  if (status !== 201) throw new Error(`no endpoint: ${status} ${JSON.stringify(body)}`)
  deleteAfterTest(system, body.id)
  return { receiver, endpoint: body }
}

/** Otherwise later tests would send to it too. */
export function deleteAfterTest(system: TestSystem, endpointId: number): void {
  onTestFinished(async () => {
    await system.orders.delete(`/webhook-endpoints/${endpointId}`)
  })
}

// biome-ignore lint/suspicious/noExplicitAny: deliveries as the API shows them; expectations check them.
export async function deliveriesOf(system: TestSystem, endpointId: number, query = ''): Promise<any[]> {
  return (await system.orders.get(`/webhook-endpoints/${endpointId}/deliveries?limit=100${query}`)).body.data
}

export async function attemptsOf(system: TestSystem, deliveryId: number) {
  return (await system.orders.get(`/webhook-deliveries/${deliveryId}`)).body.attempts
}

/** Lets every delivery of an endpoint that pauses before its next attempt be due. */
export async function passRetryPauses({ db }: TestSystem, endpointId: number): Promise<void> {
  await db
    .updateTable('webhook_deliveries')
    .set({ next_attempt_at: LONG_AGO })
    .where('endpoint_id', '=', endpointId)
    .where('next_attempt_at', 'is not', null)
    .execute()
}

/** Lets the pause that an endpoint asked for be over. */
export async function passPause({ db }: TestSystem, endpointId: number): Promise<void> {
  await db.updateTable('webhook_endpoints').set({ paused_until: LONG_AGO }).where('id', '=', endpointId).execute()
}

/** Lets the leases of an endpoint's deliveries end, as those of a dispatcher that was killed. */
export async function endLeases({ db }: TestSystem, endpointId: number): Promise<void> {
  await db
    .updateTable('webhook_deliveries')
    .set({ leased_until: LONG_AGO })
    .where('endpoint_id', '=', endpointId)
    .where('leased_until', 'is not', null)
    .execute()
}

/** The next transaction of this pool commits, but the answer of its commit is lost. */
export function loseNextCommit(db: Database): void {
  const begin = db.transaction.bind(db)
  const spy = vi.spyOn(db, 'transaction').mockImplementationOnce(() => {
    spy.mockRestore()
    const builder = begin()
    const execute = builder.execute.bind(builder)
    return Object.assign(builder, {
      execute: async (work: Parameters<typeof execute>[0]) => {
        await execute(work)
        throw Object.assign(new Error('the connection is lost'), { code: 'ECONNRESET' })
      },
    })
  })
}

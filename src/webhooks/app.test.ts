import { expect, it } from 'vitest'
import { newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { type Receiver, startReceiver } from '../../testing/webhook-receiver.ts'

const LOOPBACK = { WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' }

describeEachEngine('webhooks', (engine) => {
  const system = useSystem(engine, LOOPBACK)

  async function newEndpoint(fields: Record<string, unknown> = {}) {
    const receiver = await startReceiver()
    const body = { url: receiver.url, event_types: ['order.*'], ...fields }
    const response = await system.orders.post('/webhook-endpoints', body)
    expect(response.status).toBe(201)
    return { receiver, endpoint: response.body }
  }

  async function deliveriesOf(endpointId: number) {
    return (await system.orders.get(`/webhook-endpoints/${endpointId}/deliveries?limit=100`)).body.data
  }

  /** Lets every delivery that waits for its next attempt be due. */
  async function passRetryPauses() {
    await system.db
      .updateTable('webhook_deliveries')
      .set({ next_attempt_at: '2020-01-01 00:00:00.000' })
      .where('next_attempt_at', 'is not', null)
      .execute()
  }

  const shown = (receiver: Receiver) => receiver.received.map(({ event }) => [event.type, event.resource.version])

  it('when an order is placed and confirmed, then both events arrive signed and in order', async () => {
    const { receiver, endpoint } = await newEndpoint()
    const product = await newProduct(system)
    const order = await newOrder(system, [{ product_id: product.id, qty: 1 }])
    const headers = { 'x-idempotency-key': newKey() }
    await system.orders.post(`/orders/${order.id}/confirm`, undefined, { headers })
    await system.dispatch()
    expect(shown(receiver)).toEqual([
      ['order.placed', 1],
      ['order.confirmed', 2],
    ])
    receiver.verifyAll(endpoint.secret)
    const history = await system.orders.get(`/orders/${order.id}/history`)
    expect(receiver.received.map(({ event }) => event)).toEqual(history.body.data)
    expect(await deliveriesOf(endpoint.id)).toMatchObject([
      { status: 'succeeded', tries: 1, event_type: 'order.confirmed' },
      { status: 'succeeded', tries: 1, event_type: 'order.placed' },
    ])
    const [delivery] = await deliveriesOf(endpoint.id)
    expect((await system.orders.get(`/webhook-deliveries/${delivery.id}`)).body.attempts).toMatchObject([
      { status: 200, error: null, response: 'ok' },
    ])
  })

  it('when one order fails, then its next events wait, and others go on', async () => {
    const { receiver, endpoint } = await newEndpoint()
    const product = await newProduct(system)
    const items = [{ product_id: product.id, qty: 1 }]
    const [bad, good] = [await newOrder(system, items), await newOrder(system, items)]
    for (const { id } of [bad, good]) await system.orders.post(`/orders/${id}/cancel`)
    receiver.answer = ({ event }) => ({ status: event.resource.id === bad.id ? 500 : 200 })
    await system.dispatch()
    const sent = receiver.received.map(({ event }) => [event.resource.id, event.type])
    expect(sent.toSorted()).toEqual(
      [
        [bad.id, 'order.placed'],
        [good.id, 'order.placed'],
        [good.id, 'order.canceled'],
      ].toSorted(),
    )
    receiver.answer = () => ({ status: 204 })
    await passRetryPauses()
    await system.dispatch()
    expect(receiver.received.slice(3).map(({ event }) => [event.resource.id, event.type])).toEqual([
      [bad.id, 'order.placed'],
      [bad.id, 'order.canceled'],
    ])
    receiver.verifyAll(endpoint.secret)
  })
})

import { describe, expect, inject, it, vi } from 'vitest'
import { type Instance, startInstance } from '../../testing/instances.ts'
import { atOnce, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { useSystem } from '../../testing/system.ts'
import type { Receiver } from '../../testing/webhook-receiver.ts'
import { deliveriesOf, endLeases, LOOPBACK, newEndpoint } from '../../testing/webhooks.ts'

// Each round starts three programs, on machines that may be busy.
vi.setConfig({ testTimeout: 120_000 })

const POLL = { timeout: 60_000 }
const ROUNDS = 3
const ORDERS = 12
const VERSIONS = ['order.placed', 'order.confirmed', 'order.canceled']

describe.skipIf(inject('mysql') === null)('three processes of Orders', () => {
  const system = useSystem('mysql', LOOPBACK)

  const startAll = () => atOnce(3, () => startInstance('orders', system, LOOPBACK))

  async function change(orderId: number, to: 'confirm' | 'cancel'): Promise<void> {
    const headers = { 'idempotency-key': newKey() }
    expect((await system.orders.post(`/orders/${orderId}/${to}`, undefined, { headers })).status).toBe(200)
  }

  async function placeAndChange(productId: number): Promise<number> {
    const { id } = await newOrder(system, [{ product_id: productId, qty: 1 }])
    await change(id, 'confirm')
    await change(id, 'cancel')
    return id
  }

  /** The types of an order's events, in the order in which they were first taken. */
  function takenOf({ taken, received }: Receiver, orderId: number): string[] {
    const events = [...new Set(taken)].map((id) => received.find(({ event }) => event.id === id)?.event)
    return events.flatMap((event) => (event?.resource.id === orderId ? [event.type] : []))
  }

  it('when all processes are killed again and again, then each event is taken, in order', async () => {
    const { id: productId } = await newProduct(system, { stock: 1_000 })
    const endpoints = [await newEndpoint(system), await newEndpoint(system)]
    const orders: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const instances: Instance[] = await startAll()
      const before = endpoints.map(({ receiver }) => receiver.received.length)
      const placing = atOnce(ORDERS, () => placeAndChange(productId))
      for (const [i, { receiver }] of endpoints.entries()) {
        await expect.poll(() => receiver.received.length, POLL).toBeGreaterThan((before[i] ?? 0) + ORDERS / 2)
      }
      await Promise.all(instances.map((instance) => instance.kill()))
      orders.push(...(await placing))
      for (const { endpoint } of endpoints) await endLeases(system, endpoint.id)
    }
    await startAll()
    for (const { receiver, endpoint } of endpoints) {
      const isAll = () => new Set(receiver.taken).size
      await expect.poll(isAll, POLL).toBe(ROUNDS * ORDERS * VERSIONS.length)
      await expect.poll(() => deliveriesOf(system, endpoint.id, '&status=pending'), POLL).toEqual([])
      for (const id of orders) expect(takenOf(receiver, id)).toEqual(VERSIONS)
      receiver.verifyAll(endpoint.secret)
    }
  })
})

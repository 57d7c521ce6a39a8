import { describe, expect, it } from 'vitest'
import { atOnce, endHold, newCustomer, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

describeEachEngine('the feed', (engine) => {
  const system = useSystem(engine)

  /** Reads the feed from a cursor to its end. */
  async function readOn(after: string, query = '') {
    const events = []
    for (let cursor = after; ; ) {
      const { status, body } = await system.orders.get(`/events?after=${cursor}${query}`)
      expect(status).toBe(200)
      events.push(...body.data)
      cursor = body.next_cursor
      if (!body.has_more) return { events, cursor }
    }
  }

  async function latest(): Promise<string> {
    return (await system.orders.get('/events?after=latest')).body.next_cursor
  }

  const short = ({ type, resource, data }: any) => [
    type,
    resource.version,
    data.order?.status,
    data.previous?.status,
    data.reason,
  ]

  describe('orders', () => {
    it('when an order is placed, confirmed and canceled, then each is an event with its old values', async () => {
      const product = await newProduct(system)
      const start = await latest()
      const order = await newOrder(system, [{ product_id: product.id, qty: 2 }])
      const headers = { 'x-idempotency-key': newKey(), 'x-correlation-id': 'corr-1' }
      const confirmed = await system.orders.post(`/orders/${order.id}/confirm`, undefined, { headers })
      await system.orders.post(`/orders/${order.id}/confirm`, undefined, { headers })
      const canceled = await system.orders.post(`/orders/${order.id}/cancel`)
      const { events } = await readOn(start)
      expect(events.map(short)).toEqual([
        ['order.placed', 1, 'CREATED', undefined, undefined],
        ['order.confirmed', 2, 'CONFIRMED', 'CREATED', undefined],
        ['order.canceled', 3, 'CANCELED', 'CONFIRMED', 'requested'],
      ])
      expect(events.map(({ data }: any) => data.order)).toEqual([order, confirmed.body, canceled.body])
      expect(events[1]).toMatchObject({
        id: expect.stringMatching(/^evt_\d+$/),
        timestamp: confirmed.body.confirmed_at,
        resource: { type: 'order', id: order.id, version: 2 },
        actor: { type: 'client', id: 'tests' },
        correlation_id: 'corr-1',
      })
      const history = await system.orders.get(`/orders/${order.id}/history`)
      expect(history.body).toEqual({ data: events, next_cursor: null })
    })

    it('when a hold ends, then the system cancels the order', async () => {
      const product = await newProduct(system, { stock: 5 })
      const order = await newOrder(system, [{ product_id: product.id, qty: 5 }])
      const start = await latest()
      await endHold(system, order.id)
      await system.sweeps.releaseExpiredHolds()
      const { events } = await readOn(start)
      expect(events).toMatchObject([
        { type: 'product.back_in_stock', data: { product: { id: product.id, stock: 5, stock_low_at: null } } },
        { type: 'order.canceled', actor: { type: 'system', id: 'holds' }, data: { reason: 'hold_expired' } },
      ])
    })

    it('when 50 orders are placed at once, then positions have no gap, and each order is there', async () => {
      const product = await newProduct(system, { stock: 50, stock_low_at: 10 })
      const customer = await newCustomer(system)
      const start = await latest()
      const items = [{ product_id: product.id, qty: 1 }]
      const orders = await atOnce(50, () => newOrder(system, items, { customer_id: customer.id }))
      const { events } = await readOn(start, '&limit=7')
      const positions = events.map(({ position }: any) => position)
      expect(positions).toEqual(positions.map((_: number, i: number) => positions[0] + i))
      const placed = events.filter(({ type }: any) => type === 'order.placed')
      expect(placed.map(({ resource }: any) => resource.id).sort()).toEqual(orders.map(({ id }) => id).sort())
      const others = events.filter(({ type }: any) => type !== 'order.placed').map(({ type }: any) => type)
      expect(others).toEqual(['product.stock_low', 'product.out_of_stock'])
    })
  })
})

import { expect, it } from 'vitest'
import { newKey, newOrder, newProduct, statusCounts, stockOf } from './support/rows.ts'
import { describeEachEngine, useSystem } from './support/system.ts'

describeEachEngine('exactly once', (engine) => {
  const system = useSystem(engine)

  it('when 200 orders come at once for 20 pieces, then exactly 20 are taken and 180 refused', async () => {
    const product = await newProduct(system, { stock: 20 })
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const answers = await Promise.all(Array.from({ length: 200 }, () => system.orders.post('/orders', order)))
    expect(statusCounts(answers)).toEqual({ 201: 20, 409: 180 })
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when the orchestrator is called 20 times at once with one key, then it is one order and 20 equal answers', async () => {
    const product = await newProduct(system, { stock: 20 })
    const body = {
      customer_id: 1,
      items: [{ product_id: product.id, qty: 2 }],
      idempotency_key: newKey(),
      correlation_id: 'same',
    }
    const path = '/dev/orchestrator/create-and-confirm-order'
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => system.orchestrator.post(path, body, { token: null })),
    )
    expect(statusCounts(answers)).toEqual({ 201: 20 })
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1)
    expect(await stockOf(system, product.id)).toBe(18)
  })

  it('when one order is canceled 10 times at once, then its stock goes back once', async () => {
    const product = await newProduct(system, { stock: 10 })
    const order = await newOrder(system, [{ product_id: product.id, qty: 4 }])
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => system.orders.post(`/orders/${order.id}/cancel`)),
    )
    expect(statusCounts(answers)).toEqual({ 200: 10 })
    expect(await stockOf(system, product.id)).toBe(10)
  })
})

import { createHash, randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { derivedKeys } from '../../src/orchestrator/keys.ts'
import { newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex')

describeEachEngine('the origin of an order', (engine) => {
  const system = useSystem(engine)

  const originOf = (id: number) =>
    system.db
      .selectFrom('orders')
      .select(['placed_by', 'correlation_id', 'key_hash'])
      .where('id', '=', id)
      .executeTakeFirstOrThrow()

  it('when an order is placed, then its row has the caller, the request and the key', async () => {
    const { id: product_id } = await newProduct(system)
    const [key, correlation] = [newKey(), `order-${randomUUID()}`]
    const order = { customer_id: 1, items: [{ product_id, qty: 1 }] }
    const headers = { 'idempotency-key': key, 'x-correlation-id': correlation }
    const { status, body } = await system.orders.post('/orders', order, { headers })
    expect(status).toBe(201)
    const origin = { placed_by: 'client:tests', correlation_id: correlation, key_hash: hashOf(key) }
    expect(await originOf(body.id)).toEqual(origin)
    await system.orders.post('/orders', order, { headers: { ...headers, 'x-correlation-id': 'another' } })
    expect(await originOf(body.id)).toEqual(origin)
  })

  it('when an order is placed without a key, then its row has no key hash', async () => {
    const { id: product_id } = await newProduct(system)
    const { id } = await newOrder(system, [{ product_id, qty: 1 }])
    expect(await originOf(id)).toEqual({
      placed_by: 'client:tests',
      correlation_id: expect.any(String),
      key_hash: null,
    })
  })

  it('when the orchestrator places an order, then its row has caller and derived key', async () => {
    const { id: product_id } = await newProduct(system)
    const [idempotency_key, correlation_id] = [newKey(), `order-${randomUUID()}`]
    const call = { customer_id: 1, items: [{ product_id, qty: 1 }], idempotency_key, correlation_id }
    const { status, body } = await system.orchestrator.post('/orchestrator/create-and-confirm-order', call)
    expect(status).toBe(201)
    const { key_hash, ...origin } = await originOf(body.data.order.id)
    expect(origin).toEqual({ placed_by: 'client:tests', correlation_id })
    expect(derivedKeys('client:tests', idempotency_key).map(hashOf)).toContain(key_hash)
  })
})

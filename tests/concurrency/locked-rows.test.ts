import { sql } from 'kysely'
import { describe, expect, inject, it } from 'vitest'
import type { ApiResponse } from '../../testing/api-client.ts'
import { expectProblem } from '../../testing/problems.ts'
import {
  endHold,
  newCustomer,
  newKey,
  newOrder,
  newProduct,
  orderOf,
  statusCounts,
  stockOf,
} from '../../testing/rows.ts'
import { openSession, useSystem } from '../../testing/system.ts'

const LOCK_WAIT_MS = 1_500
/** The tolerated delay of an order that needs no locked row. */
const DELAY_MS = 1_000
/** Tolerance for a busy machine. */
const GRACE_MS = 1_000

describe.skipIf(inject('mysql') === null)('rows that another session has locked', () => {
  const system = useSystem('mysql')

  /** Begins a transaction in another session, runs the statement, and leaves it open. */
  async function leaveOpen(statement: string, values: unknown[]) {
    const session = await openSession(system)
    await session.query('begin')
    await session.query(statement, values)
    return {
      release: () => session.query('rollback'),
      async commit(last: string, values: unknown[]) {
        await session.query(last, values)
        await session.query('commit')
      },
    }
  }

  /** Polls slowly: the server keeps this table for 0.1 s after each read of it. */
  async function untilLockWait(): Promise<void> {
    const waiting = sql`select 1 from information_schema.innodb_trx where trx_state = 'LOCK WAIT'`
    await expect.poll(async () => (await waiting.execute(system.db)).rows, { interval: 150 }).not.toEqual([])
  }

  const lock = (table: string, id: number) => leaveOpen('select id from ?? where id = ? for update', [table, id])

  async function timed(work: Promise<ApiResponse>): Promise<ApiResponse & { ms: number }> {
    const began = performance.now()
    const response = await work
    return { ...response, ms: performance.now() - began }
  }

  function place(productId: number, { customerId = 1, key = newKey() } = {}) {
    const order = { customer_id: customerId, items: [{ product_id: productId, qty: 1 }] }
    return timed(system.orders.post('/orders', order, { headers: { 'idempotency-key': key } }))
  }

  const confirm = (orderId: number, key = newKey()) =>
    timed(system.orders.post(`/orders/${orderId}/confirm`, undefined, { headers: { 'idempotency-key': key } }))
  const cancel = (orderId: number) => timed(system.orders.post(`/orders/${orderId}/cancel`, {}))

  function expectRefusedInTime(response: ApiResponse & { ms: number }): void {
    expectProblem(response, 503, 'unavailable')
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.ms).toBeLessThan(LOCK_WAIT_MS + GRACE_MS)
  }

  function expectUndisturbed(responses: (ApiResponse & { ms: number })[], status: number): void {
    expect(statusCounts(responses)).toEqual({ [status]: responses.length })
    expect(Math.max(...responses.map(({ ms }) => ms))).toBeLessThan(DELAY_MS + GRACE_MS)
  }

  it('when a product is locked, then only orders of it are refused, and in time', async () => {
    const [stuck, a, b] = [await newProduct(system), await newProduct(system), await newProduct(system)]
    const session = await lock('products', stuck.id)
    const together = [a, b, stuck, a, b, a, b, a, b, a].map(({ id }) => place(id))
    const others = (await Promise.all(together.filter((_, i) => i !== 2))) ?? []
    expectUndisturbed(others, 201)
    const health = await timed(system.orders.get('/health'))
    expect(health.ms).toBeLessThan(DELAY_MS)
    const read = await timed(system.orders.get(`/products/${stuck.id}`))
    expect(read.status).toBe(200)
    expect(read.ms).toBeLessThan(DELAY_MS)
    expectUndisturbed(await Promise.all([a, b, a].map(({ id }) => place(id))), 201)
    for (const refused of await Promise.all([together[2], place(stuck.id)])) {
      if (refused === undefined) throw new Error('an order is missing')
      expectRefusedInTime(refused)
    }
    await session.release()
    expect((await place(stuck.id)).status).toBe(201)
    expect(await stockOf(system, stuck.id)).toBe(99)
  })

  it('when the lock ends in time, then the order that waited for it is placed', async () => {
    const product = await newProduct(system)
    const session = await lock('products', product.id)
    const waiting = place(product.id)
    expect((await place((await newProduct(system)).id)).status).toBe(201)
    await session.release()
    expect((await waiting).status).toBe(201)
    expect(await stockOf(system, product.id)).toBe(99)
  })

  it('when its PO number and its stock go to another order meanwhile, then the PO number is the reason', async () => {
    const [customer, product] = [await newCustomer(system), await newProduct(system, { stock: 1 })]
    const other = await newProduct(system)
    const first = await newOrder(system, [{ product_id: other.id, qty: 1 }], { customer_id: customer.id })
    const session = await leaveOpen('update products set stock = 0 where id = ?', [product.id])
    const order = { customer_id: customer.id, items: [{ product_id: product.id, qty: 1 }], po_number: 'PO' }
    const waiting = system.orders.post('/orders', order)
    await untilLockWait()
    await session.commit("update orders set po_number = 'PO', po_key = 'po', po_slot = 0 where id = ?", [first.id])
    const refused = await waiting
    expectProblem(refused, 409, 'po_number_taken')
    expect(refused.body.order_id).toBe(first.id)
  })

  it('when a canceled order needs a locked product, then confirms of others continue', async () => {
    const [stuck, free] = [await newProduct(system), await newProduct(system)]
    const canceled = await newOrder(system, [{ product_id: stuck.id, qty: 1 }])
    const orders = [1, 2, 3].map(() => newOrder(system, [{ product_id: free.id, qty: 1 }]))
    const confirmed = await Promise.all(orders)
    const session = await lock('products', stuck.id)
    const refused = cancel(canceled.id)
    expectUndisturbed(await Promise.all(confirmed.map(({ id }) => confirm(id))), 200)
    expectRefusedInTime(await refused)
    expect((await orderOf(system, canceled.id)).status).toBe('CREATED')
    await session.release()
    expect((await cancel(canceled.id)).body.status).toBe('CANCELED')
    expect(await stockOf(system, stuck.id)).toBe(100)
  })

  it('when many changes wait for a locked product, then other orders continue', async () => {
    const [stuck, free] = [await newProduct(system), await newProduct(system)]
    await lock('products', stuck.id)
    const changes = Array.from({ length: 40 }, (_, i) => system.orders.patch(`/products/${stuck.id}`, { stock: i }))
    expectUndisturbed([await place(free.id), await place(free.id)], 201)
    for (const change of await Promise.all(changes)) expectProblem(change, 503, 'unavailable')
  })

  it('when an order is locked, then only its own changes are refused', async () => {
    const product = await newProduct(system)
    const [stuck, other, third] = [
      await newOrder(system, [{ product_id: product.id, qty: 1 }]),
      await newOrder(system, [{ product_id: product.id, qty: 1 }]),
      await newOrder(system, [{ product_id: product.id, qty: 1 }]),
    ]
    await lock('orders', stuck.id)
    const refused = [confirm(stuck.id), cancel(stuck.id)]
    expectUndisturbed([await confirm(other.id), await cancel(third.id)], 200)
    for (const response of await Promise.all(refused)) expectRefusedInTime(response)
  })

  it('when a customer is locked, then only its orders are refused', async () => {
    const [product, stuck] = [await newProduct(system), await newCustomer(system)]
    await lock('customers', stuck.id)
    const refused = place(product.id, { customerId: stuck.id })
    // The foreign key waits for the row in the insert, where InnoDB counts whole seconds.
    const others = await Promise.all([place(product.id), place(product.id)])
    expect(statusCounts(others)).toEqual({ 201: 2 })
    expect(Math.max(...others.map(({ ms }) => ms))).toBeLessThan(2 * DELAY_MS + GRACE_MS)
    expectUndisturbed([await place(product.id)], 201)
    expectProblem(await refused, 503, 'unavailable')
    expect(await stockOf(system, product.id)).toBe(97)
  })

  it('when another session is writing the same key, then only that request waits', async () => {
    const [product, key] = [await newProduct(system), newKey()]
    await leaveOpen(
      `insert into idempotency_keys values
       ('orders.place', ?, 'client:tests', repeat('0', 64), 'order', 1, 201, '{}', utc_timestamp(3), '2100-01-01')`,
      [key],
    )
    const refused = place(product.id, { key })
    const others = await Promise.all([place(product.id), place(product.id)])
    expect(statusCounts(others)).toEqual({ 201: 2 })
    expectProblem(await refused, 503, 'unavailable')
    expect(await stockOf(system, product.id)).toBe(98)
  })

  it('when another session is placing the same PO number, then only that order waits', async () => {
    const [product, customer, other] = [await newProduct(system), await newCustomer(system), await newCustomer(system)]
    const session = await leaveOpen(
      `insert into orders (customer_id, status, total_cents, created_at, confirmed_at, po_number, po_key, po_slot)
       values (?, 'CONFIRMED', 0, utc_timestamp(3), utc_timestamp(3), 'PO', 'po', 0)`,
      [customer.id],
    )
    const placeFor = ({ id }: { id: number }) => {
      const order = { customer_id: id, items: [{ product_id: product.id, qty: 1 }], po_number: 'PO' }
      return timed(system.orders.post('/orders', order))
    }
    const refused = placeFor(customer)
    const others = await Promise.all([place(product.id), placeFor(other), place(product.id)])
    expect(statusCounts(others)).toEqual({ 201: 3 })
    expectProblem(await refused, 503, 'unavailable')
    const waiting = placeFor(customer)
    await session.release()
    expect((await waiting).status).toBe(201)
    expect(await stockOf(system, product.id)).toBe(96)
  })

  it('when an order was placed before, then its replay needs no lock', async () => {
    const [product, key] = [await newProduct(system), newKey()]
    expect((await place(product.id, { key })).status).toBe(201)
    await lock('products', product.id)
    const replay = await place(product.id, { key })
    expect([replay.status, replay.headers.get('idempotent-replayed')]).toEqual([201, 'true'])
    expect(replay.ms).toBeLessThan(DELAY_MS + GRACE_MS)
  })

  it('when another session releases an ended hold, then an order waits for its stock', async () => {
    const product = await newProduct(system, { stock: 1 })
    const hold = await newOrder(system, [{ product_id: product.id, qty: 1 }])
    await endHold(system, hold.id)
    const session = await leaveOpen("update orders set status = 'CANCELED', canceled_at = created_at where id = ?", [
      hold.id,
    ])
    const waiting = place(product.id)
    expectUndisturbed([await place((await newProduct(system)).id)], 201)
    await session.commit('update products set stock = stock + 1 where id = ?', [product.id])
    expect((await waiting).status).toBe(201)
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when an ended hold stays locked, then only orders of its stock are refused', async () => {
    const product = await newProduct(system, { stock: 1 })
    const hold = await newOrder(system, [{ product_id: product.id, qty: 1 }])
    await endHold(system, hold.id)
    const session = await lock('orders', hold.id)
    const waiting = place(product.id)
    expectUndisturbed([await place((await newProduct(system)).id)], 201)
    expectRefusedInTime(await waiting)
    await session.release()
    expect((await place(product.id)).status).toBe(201)
  })

  it('when an ended hold needs a locked product, then the sweep releases the others', async () => {
    const [stuck, free] = [await newProduct(system), await newProduct(system)]
    const [held, ended] = [
      await newOrder(system, [{ product_id: stuck.id, qty: 1 }]),
      await newOrder(system, [{ product_id: free.id, qty: 1 }]),
    ]
    for (const { id } of [held, ended]) await endHold(system, id)
    const session = await lock('products', stuck.id)
    expect(await system.sweeps.releaseExpiredHolds()).toBe(1)
    expect((await orderOf(system, ended.id)).status).toBe('CANCELED')
    expect((await orderOf(system, held.id)).status).toBe('CREATED')
    await session.release()
    expect(await system.sweeps.releaseExpiredHolds()).toBe(1)
    expect(await stockOf(system, stuck.id)).toBe(100)
  })

  it('when a product or a customer is locked, then changes of it are refused in time', async () => {
    const [product, customer] = [await newProduct(system), await newCustomer(system)]
    await lock('products', product.id)
    await lock('customers', customer.id)
    const responses = await Promise.all([
      timed(system.orders.patch(`/products/${product.id}`, { stock: 5 })),
      timed(system.orders.post(`/products/${product.id}/stock-adjustments`, { delta: 1, reason: 'found' })),
      timed(system.customers.put(`/customers/${customer.id}`, { name: 'New', email: `${newKey()}@example.com` })),
      timed(system.customers.delete(`/customers/${customer.id}`)),
    ])
    for (const response of responses) expectRefusedInTime(response)
    expect(await stockOf(system, product.id)).toBe(100)
  })
})

import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { sha256 } from '../../src/platform/core/crypto.ts'
import { eventsOf, typesOf } from '../../testing/feed.ts'
import { newCustomer, newKey, newProduct, stockOf } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const NOW = '2026-01-05 09:00:00.000'
const TIMES = '"created_at":"2026-01-05T09:00:00.000Z","confirmed_at":null,"canceled_at":null,"expires_at":null'

// Rows and responses as the version before PO numbers wrote them.
describeEachEngine('a database of an earlier version', (engine) => {
  const system = useSystem(engine)

  /** Writes an order of 1 piece as that version did: without details, and its lines without SKU and name. */
  async function oldOrder(customerId: number, productId: number): Promise<number> {
    const { insertId } = await system.db
      .insertInto('orders')
      .values({
        customer_id: customerId,
        status: 'CREATED',
        total_cents: 1000,
        created_at: NOW,
        confirmed_at: null,
        canceled_at: null,
        expires_at: '2099-01-01 00:00:00.000',
      })
      .executeTakeFirstOrThrow()
    const order_id = Number(insertId)
    const line = { order_id, product_id: productId, qty: 1, unit_price_cents: 1000, subtotal_cents: 1000 }
    await system.db.insertInto('order_items').values(line).execute()
    return order_id
  }

  async function storeResponse(operation: string, key: string, request: string, orderId: number, body: string) {
    const status = operation === 'orders.place' ? 201 : 200
    const principal = 'client:tests'
    await system.db
      .insertInto('idempotency_keys')
      .values({
        operation,
        key,
        principal,
        request_hash: sha256(request),
        target_type: 'order',
        target_id: orderId,
        status,
        response_body: body,
        created_at: NOW,
        expires_at: '2099-01-01 00:00:00.000',
      })
      .execute()
  }

  it('when a request of then is sent again, then it gets the bytes of then', async () => {
    const [customer, product] = [await newCustomer(system), await newProduct(system)]
    const id = await oldOrder(customer.id, product.id)
    const line = `{"product_id":${product.id},"qty":1,"unit_price_cents":1000,"subtotal_cents":1000}`
    const order = `{"id":${id},"customer_id":${customer.id},"status":"CREATED","total_cents":1000,"items":[${line}],${TIMES}}`
    const [placed, confirmed] = [newKey(), newKey()]
    const items = `[{"product_id":${product.id},"qty":1}]`
    await storeResponse('orders.place', placed, `[${customer.id},${items},null]`, id, order)
    await storeResponse('orders.confirm', confirmed, `[${id}]`, id, order)
    const again = await system.orders.post(
      '/orders',
      { customer_id: customer.id, items: JSON.parse(items) },
      { headers: { 'idempotency-key': placed } },
    )
    expect([again.status, again.text, again.headers.get('idempotent-replayed')]).toEqual([201, order, 'true'])
    const confirming = await system.orders.post(`/orders/${id}/confirm`, undefined, {
      headers: { 'idempotency-key': confirmed },
    })
    expect([confirming.status, confirming.text, confirming.headers.get('etag')]).toEqual([200, order, null])
  })

  it('when an order of then changes, then the feed begins with that change', async () => {
    const [customer, product] = [await newCustomer(system), await newProduct(system)]
    const id = await oldOrder(customer.id, product.id)
    const history = async () => (await system.orders.get(`/orders/${id}/history`)).body
    expect(await history()).toEqual({ data: [], next_cursor: null })
    const events = await eventsOf(system, () =>
      system.orders.post(`/orders/${id}/confirm`, undefined, { headers: { 'idempotency-key': newKey() } }),
    )
    expect(events).toMatchObject([
      { type: 'order.confirmed', resource: { id, version: 2 }, data: { previous: { status: 'CREATED' } } },
    ])
    expect((await history()).data).toEqual(events)
  })

  it('when the version of then writes meanwhile, then it works, and makes no event', async () => {
    const [customer, product] = [await newCustomer(system), await newProduct(system, { stock: 5, stock_low_at: 4 })]
    const events = await eventsOf(system, async () => {
      const id = await oldOrder(customer.id, product.id)
      const columns = sql.raw('sku, sku_key, name, price_cents, stock, created_at, updated_at')
      const sku = newKey()
      await sql`insert into products (${columns}) values (${sku}, ${sku}, 'n', 1, 0, ${NOW}, ${NOW})`.execute(system.db)
      const taken = sql`update products set stock = stock - 5, version = version + 1, updated_at = ${NOW}`
      await sql`${taken} where id = ${product.id}`.execute(system.db)
      const canceled = sql`update orders set status = 'CANCELED', canceled_at = ${NOW}, version = version + 1`
      await sql`${canceled} where id = ${id} and status = 'CREATED'`.execute(system.db)
    })
    expect(events).toEqual([])
    const back = await eventsOf(system, () =>
      system.orders.post(`/products/${product.id}/stock-adjustments`, { delta: 5, reason: 'count' }),
    )
    expect(typesOf(back)).toEqual(['product.stock_adjusted', 'product.back_in_stock'])
  })

  it('when an order of then is read, changed and canceled, then it has no SKUs but all else', async () => {
    const [customer, product] = [await newCustomer(system), await newProduct(system)]
    const id = await oldOrder(customer.id, product.id)
    const { body } = await system.orders.get(`/orders/${id}`)
    expect(body).toMatchObject({ po_number: null, metadata: null, placed_by: null, version: 1 })
    expect(body.items).toMatchObject([{ line: 1, sku: null, name: null }])
    expect((await system.orders.patch(`/orders/${id}`, { notes: 'n' })).body).toMatchObject({ notes: 'n', version: 2 })
    const canceled = await system.orders.post(`/orders/${id}/cancel`)
    expect(canceled.body).toMatchObject({ status: 'CANCELED', notes: 'n', version: 3 })
    expect(await stockOf(system, product.id)).toBe(101)
  })
})

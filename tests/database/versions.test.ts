import { describe, expect, it } from 'vitest'
import type { ApiResponse } from '../../testing/api-client.ts'
import { expectProblem } from '../../testing/problems.ts'
import { atOnce, newCustomer, newKey, newOrder, newProduct, statusCounts, stockOf } from '../../testing/rows.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'

type Headers = Record<string, string>

/** One way to change a versioned resource. */
interface Write {
  make(system: TestSystem): Promise<{ id: number }>
  /** Different values of `which` make different requests. */
  send(system: TestSystem, id: number, headers: Headers, which?: number): Promise<ApiResponse>
  read(system: TestSystem, id: number): Promise<ApiResponse>
  success: number
}

const readCustomer: Write['read'] = (on, id) => on.customers.get(`/customers/${id}`)
const readProduct: Write['read'] = (on, id) => on.orders.get(`/products/${id}`)

async function orderOfOne(system: TestSystem): Promise<{ id: number }> {
  const product = await newProduct(system)
  return newOrder(system, [{ product_id: product.id, qty: 1 }])
}

const WRITES: Record<string, Write> = {
  'PUT /customers': {
    make: newCustomer,
    send: (on, id, headers, which = 1) =>
      on.customers.put(`/customers/${id}`, { name: `Ann ${which}`, email: `ann-${id}@example.com` }, { headers }),
    read: readCustomer,
    success: 200,
  },
  'DELETE /customers': {
    make: newCustomer,
    send: (on, id, headers) => on.customers.delete(`/customers/${id}`, { headers }),
    read: readCustomer,
    success: 204,
  },
  'PATCH /products': {
    make: newProduct,
    send: (on, id, headers, which = 1) => on.orders.patch(`/products/${id}`, { stock: 50 + which }, { headers }),
    read: readProduct,
    success: 200,
  },
  'POST /products/:id/stock-adjustments': {
    make: newProduct,
    send: (on, id, headers, which = 1) =>
      on.orders.post(`/products/${id}/stock-adjustments`, { delta: which, reason: 'Counted' }, { headers }),
    read: readProduct,
    success: 201,
  },
  'PATCH /orders': {
    make: orderOfOne,
    send: (on, id, headers, which = 1) => on.orders.patch(`/orders/${id}`, { notes: `Note ${which}` }, { headers }),
    read: (on, id) => on.orders.get(`/orders/${id}`),
    success: 200,
  },
}
const EACH = Object.entries(WRITES)
const CHANGES = EACH.filter(([, { success }]) => success !== 204)

const keyed = (): Headers => ({ 'idempotency-key': newKey() })

describeEachEngine('a change of a versioned resource', (engine) => {
  const system = useSystem(engine)

  describe.each(EACH)('%s', (_, { make, send, read, success }) => {
    it.each(['"1"', 'W/"1"', '*', '"7", W/"1"'])(
      'when If-Match is %s and the version is 1, then it is done',
      async (tags) => {
        const { id } = await make(system)
        expect((await send(system, id, { 'if-match': tags })).status).toBe(success)
      },
    )

    it.each([
      { 'if-match': '"2"' },
      { 'if-match': 'W/"2"' },
      { 'if-match': '1' },
      { 'if-none-match': '*' },
      { 'if-none-match': '"1"' },
      { 'if-none-match': '"5", W/"1"' },
      { 'if-match': '"1"', 'if-none-match': '*' },
    ])('when the version is 1 and it says %j, then 412 and nothing changes', async (headers) => {
      const { id } = await make(system)
      const before = await read(system, id)
      expectProblem(await send(system, id, headers), 412, 'precondition_failed')
      expect((await read(system, id)).text).toBe(before.text)
    })

    it('when If-None-Match names another version, then it is done', async () => {
      const { id } = await make(system)
      expect((await send(system, id, { 'if-none-match': '"2"' })).status).toBe(success)
    })

    it('when it is retried with its key, then it is a replay', async () => {
      const { id } = await make(system)
      const headers = { ...keyed(), 'if-match': '"1"' }
      const first = await send(system, id, headers)
      expect([first.status, first.headers.get('idempotent-replayed')]).toEqual([success, null])
      if (success !== 204) await send(system, id, {}, 2)
      const changed = await read(system, id)
      const again = await send(system, id, headers)
      expect([again.status, again.text]).toEqual([first.status, first.text])
      for (const name of ['etag', 'content-type']) expect(again.headers.get(name)).toBe(first.headers.get(name))
      expect(again.headers.get('idempotent-replayed')).toBe('true')
      expect((await send(system, id, { ...headers, 'if-match': '"9"' })).text).toBe(first.text)
      expect((await read(system, id)).text.replace(/"request_id".*/, '')).toBe(
        changed.text.replace(/"request_id".*/, ''),
      )
    })

    it('when its key comes for another resource, then 422 and nothing changes', async () => {
      const [one, other] = [await make(system), await make(system)]
      const before = await read(system, other.id)
      const headers = keyed()
      await send(system, one.id, headers)
      expectProblem(await send(system, other.id, headers), 422, 'idempotency_key_reused')
      expect((await read(system, other.id)).text).toBe(before.text)
    })

    it('when it was refused for its version, then its key works with the right one', async () => {
      const { id } = await make(system)
      const headers = keyed()
      expectProblem(await send(system, id, { ...headers, 'if-match': '"7"' }), 412, 'precondition_failed')
      const response = await send(system, id, { ...headers, 'if-match': '"1"' })
      expect([response.status, response.headers.get('idempotent-replayed')]).toEqual([success, null])
    })

    it('when ten retries of one key come at once, then all get the response of one', async () => {
      for (let round = 0; round < 5; round++) {
        const { id } = await make(system)
        const headers = { ...keyed(), 'if-match': '"1"' }
        const responses = await atOnce(10, () => send(system, id, headers))
        expect(statusCounts(responses)).toEqual({ [success]: 10 })
        expect(new Set(responses.map(({ text, headers }) => `${text} ${headers.get('etag')}`)).size).toBe(1)
        expect(responses.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(9)
        if (success !== 204) expect((await read(system, id)).body.version).toBe(2)
      }
    })

    it('when its key is invalid or doubled, then it is refused and nothing changes', async () => {
      const { id } = await make(system)
      const before = await read(system, id)
      for (const headers of [{ 'idempotency-key': 'a b' }, { 'idempotency-key': 'a', 'x-idempotency-key': 'b' }]) {
        expectProblem(await send(system, id, headers), 400, 'invalid_idempotency_key')
      }
      expect((await read(system, id)).text).toBe(before.text)
    })
  })

  it.each(CHANGES)('when %s comes with another body and its key, then 422 and nothing changes', async (_, write) => {
    const { id } = await write.make(system)
    const headers = keyed()
    await write.send(system, id, headers)
    const before = await write.read(system, id)
    expectProblem(await write.send(system, id, headers, 2), 422, 'idempotency_key_reused')
    expect((await write.read(system, id)).text).toBe(before.text)
  })

  it('when one key is used for two kinds of change, then it is two keys', async () => {
    const { id } = await newProduct(system, { stock: 10 })
    const headers = keyed()
    expect((await system.orders.patch(`/products/${id}`, { stock: 5 }, { headers })).status).toBe(200)
    const adjustment = { delta: 1, reason: 'Counted' }
    expect((await system.orders.post(`/products/${id}/stock-adjustments`, adjustment, { headers })).status).toBe(201)
    expect(await stockOf(system, id)).toBe(6)
  })

  it('when the customer was deleted since, then a retry is still a replay', async () => {
    const { id } = await newCustomer(system)
    const headers = keyed()
    const body = { name: 'Bob', email: `bob-${id}@example.com` }
    const first = await system.customers.put(`/customers/${id}`, body, { headers })
    await system.customers.delete(`/customers/${id}`)
    const again = await system.customers.put(`/customers/${id}`, body, { headers })
    expect([again.status, again.text, again.headers.get('etag')]).toEqual([200, first.text, '"2"'])
  })

  it('when an order took stock since the count, then an adjustment is refused', async () => {
    const { id } = await newProduct(system, { stock: 10 })
    await system.orders.post('/orders', { customer_id: 1, items: [{ product_id: id, qty: 1 }] })
    const adjustment = { delta: -9, reason: 'Counted' }
    const headers = { 'if-match': '"1"' }
    const refused = await system.orders.post(`/products/${id}/stock-adjustments`, adjustment, { headers })
    expectProblem(refused, 412, 'precondition_failed')
    expect(await stockOf(system, id)).toBe(9)
  })
})

describe('a read of a versioned resource', () => {
  const system = useSystem('sqlite')

  type Read = (id: number, headers: Headers, method?: string) => Promise<ApiResponse>
  const READS: Record<string, Read> = {
    'GET /customers/:id': (id, headers, method = 'GET') =>
      system.customers.call(method, `/customers/${id}`, { headers }),
    'GET /products/:id': (id, headers, method = 'GET') => system.orders.call(method, `/products/${id}`, { headers }),
    'GET /orders/:id': (id, headers, method = 'GET') => system.orders.call(method, `/orders/${id}`, { headers }),
    'GET /internal/customers/:id': (id, headers, method = 'GET') =>
      system.customers.call(method, `/internal/customers/${id}`, { headers, token: system.env.serviceTokens[0] ?? '' }),
  }

  describe.each(Object.entries(READS))('%s', (name, read) => {
    const make = (): Promise<{ id: number }> => {
      if (name.includes('orders')) return orderOfOne(system)
      return name.includes('products') ? newProduct(system) : newCustomer(system)
    }

    it.each(['"1"', 'W/"1"', '*', '"7", "1"', '"7",W/"1"'])(
      'when If-None-Match is %s and the version is 1, then 304 without a body',
      async (tags) => {
        const { id } = await make()
        for (const method of ['GET', 'HEAD']) {
          const { status, text, headers } = await read(id, { 'if-none-match': tags }, method)
          expect({ status, text }).toEqual({ status: 304, text: '' })
          expect(headers.get('etag')).toBe('"1"')
          expect(headers.get('content-type')).toBeNull()
        }
      },
    )

    it.each(['"2"', 'W/"2"', '1', '', '"*"'])('when If-None-Match is %j, then 200 with the body', async (tags) => {
      const { id } = await make()
      const response = await read(id, { 'if-none-match': tags })
      expect([response.status, response.body.id, response.headers.get('etag')]).toEqual([200, id, '"1"'])
    })

    it('when there is none, then 404 whatever If-None-Match says', async () => {
      expectProblem(await read(999_999_999, { 'if-none-match': '*' }), 404, 'not_found')
    })
  })

  it('when it was changed since, then 200 with the body', async () => {
    const { id } = await newProduct(system)
    await system.orders.patch(`/products/${id}`, { stock: 1 })
    const response = await system.orders.get(`/products/${id}`, { headers: { 'if-none-match': '"1"' } })
    expect([response.status, response.headers.get('etag')]).toEqual([200, '"2"'])
  })

  it('when a bound client asks for another customer, then 404 for any If-None-Match', async () => {
    const { id } = await newCustomer(system)
    const request = { token: await system.token({ customerId: 1 }), headers: { 'if-none-match': '*' } }
    expectProblem(await system.customers.get(`/customers/${id}`, request), 404, 'not_found')
  })
})

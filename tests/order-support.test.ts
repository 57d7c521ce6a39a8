import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createClient } from '../src/auth/service.ts'
import { readClock } from '../src/platform/idempotency.ts'
import { addMinutes } from '../src/platform/time.ts'
import { expectProblem } from './support/problems.ts'
import { newCustomer, newKey, newProduct } from './support/rows.ts'
import { describeEachEngine, useSystem } from './support/system.ts'

const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'

describeEachEngine('GET /idempotency-keys', (engine) => {
  const system = useSystem(engine)

  const search = (key: string, client?: string) => {
    const query = new URLSearchParams({ key, ...(client !== undefined && { client }) })
    return system.orders.get(`/idempotency-keys?${query}`)
  }
  const keyed = (key: string) => ({ headers: { 'idempotency-key': key } })
  const newItems = async () => [{ product_id: (await newProduct(system)).id, qty: 2 }]
  const countOrders = async () => {
    const { n } = await system.db
      .selectFrom('orders')
      .select(({ fn }) => fn.countAll<number>().as('n'))
      .executeTakeFirstOrThrow()
    return n
  }

  /** A client that is in the database, and a token of it. */
  async function newClient() {
    const id = `client-${randomUUID()}`
    await createClient(system.db, { id, name: id, scopes: ['orders:write'], customerId: null })
    return { id, token: await system.token({ clientId: id }) }
  }

  it('when an order was placed, confirmed and canceled with a key, then all three are told in their order', async () => {
    const key = newKey()
    const placed = await system.orders.post('/orders', { customer_id: 1, items: await newItems() }, keyed(key))
    const { id, ...order } = placed.body
    await system.orders.post(`/orders/${id}/confirm`, undefined, keyed(key))
    await system.orders.post(`/orders/${id}/cancel`, undefined, keyed(key))
    const { status, body } = await search(key)
    expect(status).toBe(200)
    const { customer_id, total_cents } = order
    const use = {
      key,
      principal: 'client:tests',
      via: 'orders',
      order: { id, customer_id, status: 'CANCELED', total_cents },
    }
    expect(body.data).toMatchObject([
      { operation: 'orders.place', status: 201, ...use },
      { operation: 'orders.confirm', status: 200, ...use },
      { operation: 'orders.cancel', status: 200, ...use },
    ])
    expect(Date.parse(body.data[0].expires_at) - Date.parse(body.data[0].created_at)).toBe(24 * 3_600_000)
  })

  it('when nothing was done with a key, then the list is empty, since a time, and nothing is placed', async () => {
    const before = await countOrders()
    const { status, body } = await search(newKey())
    expect({ status, body }).toEqual({
      status: 200,
      body: { data: [], kept_since: expect.any(String), kept_hours: 24 },
    })
    const ageMs = Date.now() - Date.parse(body.kept_since)
    expect(Math.abs(ageMs - 24 * 3_600_000)).toBeLessThan(60_000)
    expect(await countOrders()).toBe(before)
  })

  it('when an order was refused, then its key tells of none', async () => {
    const key = newKey()
    const order = { customer_id: 999_999, items: await newItems() }
    expect((await system.orders.post('/orders', order, keyed(key))).status).toBe(422)
    expect((await search(key)).body.data).toEqual([])
  })

  it('when a client ordered through the orchestrator, then its own key finds the order, named or not', async () => {
    const { id, token } = await newClient()
    const key = newKey()
    const order = { customer_id: 1, items: await newItems(), idempotency_key: key }
    const placed = await system.orchestrator.post(CREATE_AND_CONFIRM, order, { token })
    const expected = [
      {
        operation: 'orders.place',
        principal: `client:${id}`,
        via: 'orchestrator',
        order: { id: placed.body.data.order.id, status: 'CONFIRMED' },
      },
    ]
    expect((await search(key)).body.data).toMatchObject(expected)
    expect((await search(key, id)).body.data).toMatchObject(expected)
    expect((await search(key, 'demo')).body.data).toEqual([])
  })

  it('when somebody without a token ordered through the orchestrator, then the key finds that order', async () => {
    const key = newKey()
    const order = { customer_id: 1, items: await newItems(), idempotency_key: key }
    const placed = await system.orchestrator.post(CREATE_AND_CONFIRM, order, { token: null })
    const expected = [{ principal: 'anonymous', order: { id: placed.body.data.order.id } }]
    expect((await search(key)).body.data).toMatchObject(expected)
    expect((await search(key, 'anonymous')).body.data).toMatchObject(expected)
  })

  it('when two clients used one key, then both orders are told, and of a named client its own', async () => {
    const [key, items, one, other] = [newKey(), await newItems(), await newClient(), await newClient()]
    const place = async (token: string) =>
      (await system.orders.post('/orders', { customer_id: 1, items }, { token, ...keyed(key) })).body.id
    const ids = [await place(one.token), await place(other.token)]
    const found = async (client?: string): Promise<number[]> =>
      (await search(key, client)).body.data.map(({ order }: { order: { id: number } }) => order.id)
    expect(await found()).toEqual(ids)
    expect(await found(other.id)).toEqual([ids[1]])
    expect(await found('')).toEqual(ids)
  })

  it('when a client for two customers used one key for both, then both orders are told of the client', async () => {
    const [key, items, clientId] = [newKey(), await newItems(), `bound-${randomUUID()}`]
    const ids = []
    for (const { id } of [await newCustomer(system), await newCustomer(system)]) {
      const token = await system.token({ customerId: id, clientId })
      ids.push((await system.orders.post('/orders', { customer_id: id, items }, { token, ...keyed(key) })).body.id)
    }
    const { data } = (await search(key, clientId)).body
    expect(data.map(({ order }: { order: { id: number } }) => order.id)).toEqual(ids)
  })

  it('when a key is past its time and still there, then it is told', async () => {
    const key = newKey()
    await system.orders.post('/orders', { customer_id: 1, items: await newItems() }, keyed(key))
    const expires_at = addMinutes(await readClock(system.db), -1)
    await system.db.updateTable('idempotency_keys').set({ expires_at }).where('key', '=', key).execute()
    expect((await search(key)).body.data).toHaveLength(1)
  })

  it('when the key is written in double quotes, then it is the same key', async () => {
    const key = newKey()
    await system.orders.post('/orders', { customer_id: 1, items: await newItems() }, keyed(`"${key}"`))
    expect((await search(`"${key}"`)).body.data).toMatchObject([{ key }])
    expect((await search(key)).body.data).toMatchObject([{ key }])
  })

  describe('what it refuses', () => {
    it.each([
      ['no key', '', 'validation_failed'],
      ['an empty key', '?key=', 'invalid_idempotency_key'],
      ['a key with a space', '?key=a+b', 'invalid_idempotency_key'],
      ['a key beyond ASCII', '?key=%C3%A9', 'invalid_idempotency_key'],
      ['a key of 256 characters', `?key=${'k'.repeat(256)}`, 'invalid_idempotency_key'],
      ['two keys', '?key=a&key=b', 'validation_failed'],
      ['a name that it does not know', '?key=a&customer_id=1', 'validation_failed'],
    ])('when it is given %s, then 400', async (_, query, code) => {
      expectProblem(await system.orders.get(`/idempotency-keys${query}`), 400, code)
    })

    it('when the client is bound to a customer, then 403', async () => {
      const token = await system.token({ customerId: 1 })
      expectProblem(await system.orders.get('/idempotency-keys?key=a', { token }), 403, 'bound_client')
    })
  })
})

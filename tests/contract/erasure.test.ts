import { describe, expect, it } from 'vitest'
import { createCustomersService, type Eraser } from '../../src/customers/service.ts'
import { newCustomer, newKey, newOrder, newProduct, newWord } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const keyed = (key: string) => ({ headers: { 'idempotency-key': key } })

describeEachEngine('erasing a customer', (engine) => {
  const system = useSystem(engine)

  /** A customer with personal data that occurs nowhere else. */
  async function person() {
    const [name, user, key] = [newWord(), newWord(), newKey()]
    const phone = `555-${user.slice(1, 9)}`
    const external_id = `passport ${newWord()}`
    const input = { name: `Ms ${name}`, email: `${user}@example.com`, phone, external_id }
    const { status, body } = await system.customers.post('/customers', input, keyed(key))
    expect(status).toBe(201)
    return { id: Number(body.id), key, input, words: [name, user, phone, external_id] }
  }

  /** Every row and log line that has one of these words. */
  async function mentions(words: string[]): Promise<unknown[]> {
    const tables = ['customers', 'customer_words', 'idempotency_keys', 'orders', 'events', 'api_clients'] as const
    const rows = await Promise.all(tables.map((table) => system.db.selectFrom(table).selectAll().execute()))
    return [...rows.flat().map((row) => JSON.stringify(row)), ...system.log].filter((text) =>
      words.some((word) => text.includes(word)),
    )
  }

  const erase = (id: number, key?: string) =>
    system.customers.post(`/customers/${id}/erase`, undefined, key === undefined ? {} : keyed(key))

  it('when it is erased, then no row and no log line has its data, and orders stay', async () => {
    const { id, words, input } = await person()
    const { id: product_id } = await newProduct(system)
    const order = await newOrder(system, [{ product_id, qty: 1 }], { customer_id: id })
    const lookUps = [`email=${input.email}`, `external_id=${encodeURIComponent(input.external_id)}`]
    for (const query of lookUps) expect((await system.customers.get(`/customers?${query}`)).body.data).toHaveLength(1)
    expect(await mentions(words)).not.toEqual([])
    expect((await erase(id)).status).toBe(204)
    expect(await mentions(words)).toEqual([])
    const { body } = await system.customers.get(`/customers/${id}`)
    const blank = { id, name: 'Erased customer', email: `erased-${id}@invalid`, phone: null, external_id: null }
    expect(body).toEqual({
      ...blank,
      po_policy: 'unique',
      version: 2,
      created_at: body.created_at,
      updated_at: body.updated_at,
    })
    for (const query of lookUps) expect((await system.customers.get(`/customers?${query}`)).body.data).toEqual([])
    for (const word of [...words, 'erased']) {
      const found = await system.customers.get(`/customers?search=${word}`)
      expect(found.body.data.filter((row: { id: number }) => row.id === id)).toEqual([])
    }
    expect((await system.orders.get(`/orders/${order.id}`)).body).toMatchObject({ id: order.id, customer_id: id })
  })

  it('when earlier requests are replayed, then they do not bring the data back', async () => {
    const { id, key, input, words } = await person()
    const [replacing, erasing] = [newKey(), newKey()]
    const changed = { ...input, name: `Dr ${words[0]}` }
    expect((await system.customers.put(`/customers/${id}`, changed, keyed(replacing))).status).toBe(200)
    expect((await erase(id, erasing)).status).toBe(204)
    const blank = { id, name: 'Erased customer', email: `erased-${id}@invalid`, phone: null, external_id: null }
    const created = await system.customers.post('/customers', input, keyed(key))
    expect(created).toMatchObject({ status: 201, body: { ...blank, version: 1 } })
    expect(created.headers.get('idempotent-replayed')).toBe('true')
    expect(created.headers.get('etag')).toBe('"1"')
    const replaced = await system.customers.put(`/customers/${id}`, changed, keyed(replacing))
    expect(replaced).toMatchObject({ status: 200, body: { ...blank, version: 2 } })
    const again = await erase(id, erasing)
    expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([204, 'true'])
    expect(await mentions(words)).toEqual([])
  })

  it('when the orchestrator placed its orders, then their replays lack the data too', async () => {
    const { id, words } = await person()
    const { id: product_id } = await newProduct(system)
    const path = '/orchestrator/create-and-confirm-order'
    const request = { customer_id: id, items: [{ product_id, qty: 1 }], idempotency_key: newKey() }
    const first = await system.orchestrator.post(path, request)
    expect(first.text).toContain(words[0])
    const other = await system.orchestrator.post(path, { ...request, customer_id: 1, idempotency_key: newKey() })
    expect((await erase(id)).status).toBe(204)
    const again = await system.orchestrator.post(path, request)
    const customer = { id, name: 'Erased customer', email: `erased-${id}@invalid`, phone: null }
    expect(again.body).toEqual({ ...first.body, data: { ...first.body.data, customer } })
    expect(await mentions(words)).toEqual([])
    expect(other.body.data.customer.name).toBe('ACME Corp')
  })

  it('when its orders have details about a person, then they are erased, also in replays', async () => {
    const { id, words } = await person()
    const [word = ''] = words
    const { id: product_id } = await newProduct(system)
    const details = {
      ship_to: { name: word, line1: word, city: word, postal_code: '1', country: 'DE' },
      notes: `for ${word}`,
      metadata: { contact: word },
      po_number: 'PO-1',
    }
    const order = { customer_id: id, items: [{ product_id, qty: 1 }], ...details }
    const key = newKey()
    const first = await system.orders.post('/orders', order, keyed(key))
    expect(first.status).toBe(201)
    const other = await newOrder(system, [{ product_id, qty: 1 }], { customer_id: 1, notes: 'stays' })
    expect((await erase(id)).status).toBe(204)
    expect(await mentions(words)).toEqual([])
    const blank = { ship_to: null, notes: null, metadata: null, po_number: 'PO-1' }
    expect((await system.orders.get(`/orders/${first.body.id}`)).body).toMatchObject({ ...blank, version: 2 })
    const again = await system.orders.post('/orders', order, keyed(key))
    expect(again.body).toEqual({ ...first.body, ...blank })
    expect((await system.orders.get(`/orders/${other.id}`)).body).toMatchObject({ notes: 'stays', version: 1 })
    expect((await erase(id)).status).toBe(204)
    expect((await system.orders.get(`/orders/${first.body.id}`)).body.version).toBe(2)
  })

  it('when it was deleted before, then it is erased all the same, and stays deleted', async () => {
    const { id, words, input } = await person()
    expect((await system.customers.delete(`/customers/${id}`)).status).toBe(204)
    expect((await erase(id)).status).toBe(204)
    expect(await mentions(words)).toEqual([])
    expect((await system.customers.get(`/customers/${id}`)).status).toBe(404)
    expect((await system.customers.post('/customers', input)).status).toBe(201)
  })

  it('when it is erased twice, then the second time changes nothing', async () => {
    const { id } = await person()
    const first = await erase(id)
    const before = await system.customers.get(`/customers/${id}`)
    expect([first.status, (await erase(id)).status]).toEqual([204, 204])
    expect((await system.customers.get(`/customers/${id}`)).text).toBe(before.text)
  })

  it('when new data is written afterwards, then erasing again erases that too', async () => {
    const { id, input, words } = await person()
    await erase(id)
    expect((await system.customers.put(`/customers/${id}`, input)).status).toBe(200)
    expect(await mentions(words)).not.toEqual([])
    expect((await erase(id)).status).toBe(204)
    expect(await mentions(words)).toEqual([])
  })

  it('when only the external id is left, then erasing removes it', async () => {
    const { id, input, words } = await person()
    await erase(id)
    const { external_id } = input
    const blank = { name: 'Erased customer', email: `erased-${id}@invalid`, phone: null }
    // As if a version without external ids had erased the customer.
    await system.db.updateTable('customers').set({ external_id }).where('id', '=', id).execute()
    expect((await erase(id)).status).toBe(204)
    expect((await system.customers.get(`/customers/${id}`)).body).toMatchObject({ ...blank, external_id: null })
    expect(await mentions(words)).toEqual([])
  })

  it('when its PO policy is set, then that stays', async () => {
    const { id } = await newCustomer(system, { po_policy: 'required' })
    expect((await erase(id)).status).toBe(204)
    expect((await system.customers.get(`/customers/${id}`)).body.po_policy).toBe('required')
  })

  describe('in other domains', () => {
    const principal = { id: 'client:erp', scopes: new Set(['customers:write']), customerId: null }
    const caller = { principal, trace: { correlationId: 'one', traceparent: undefined } }
    const serviceWith = (...erasers: Eraser[]) => createCustomersService(system.db, system.env, erasers)

    it('when a customer is erased, then each eraser runs after it, and again for a replay', async () => {
      const [{ id }, key] = [await newCustomer(system), newKey()]
      const erased: [string, number, string][] = []
      const recorder = (name: string) => async (customerId: number) => {
        const { body } = await system.customers.get(`/customers/${customerId}`)
        erased.push([name, customerId, body.name])
      }
      const service = serviceWith(recorder('first'), recorder('second'))
      const both = ['first', 'second'].map((name) => [name, id, 'Erased customer'])
      expect(await service.eraseCustomer(caller, id, key)).toMatchObject({ status: 204, replayed: false })
      expect(erased).toEqual(both)
      expect(await service.eraseCustomer(caller, id, key)).toMatchObject({ status: 204, replayed: true })
      expect(erased).toEqual([...both, ...both])
    })

    it('when an eraser fails, then the request fails, and a retry runs all of them', async () => {
      const [{ id }, key] = [await newCustomer(system), newKey()]
      const erased: number[] = []
      const fails = [true, false]
      const service = serviceWith(
        async () => {
          if (fails.shift()) throw new Error('the database is away')
        },
        async (customerId) => {
          erased.push(customerId)
        },
      )
      await expect(service.eraseCustomer(caller, id, key)).rejects.toThrow('the database is away')
      expect(erased).toEqual([])
      expect(await service.eraseCustomer(caller, id, key)).toMatchObject({ status: 204, replayed: true })
      expect(erased).toEqual([id])
    })

    it('when the erasure is refused, then no eraser runs', async () => {
      const { id } = await newCustomer(system)
      const erased: number[] = []
      const service = serviceWith(async (customerId) => {
        erased.push(customerId)
      })
      await expect(service.eraseCustomer(caller, 999_999_999, undefined)).rejects.toMatchObject({ code: 'not_found' })
      const bound = { ...caller, principal: { ...principal, customerId: id } }
      await expect(service.eraseCustomer(bound, id, undefined)).rejects.toMatchObject({ code: 'bound_client' })
      expect(erased).toEqual([])
    })
  })

  it('when the client is bound or the customer unknown, then it is refused', async () => {
    const { id } = await newCustomer(system)
    const token = await system.token({ customerId: id })
    expect((await system.customers.post(`/customers/${id}/erase`, undefined, { token })).status).toBe(403)
    expect((await system.customers.post('/customers/1/erase', undefined, { token })).status).toBe(404)
    expect((await erase(999_999_999)).status).toBe(404)
  })
})

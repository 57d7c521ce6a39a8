import { describe, expect, it } from 'vitest'
import { idsOf, readPages } from '../../testing/lists.ts'
import { expectFaults, expectProblem } from '../../testing/problems.ts'
import {
  describeKeyedCreation,
  describePages,
  describeRequests,
  describeSearch,
  type Resource,
} from '../../testing/resource-suites.ts'
import { atOnce, newKey, newOrder, newProduct, newWord, statusCounts, stockOf } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

function input(name = `Product ${newWord()}`) {
  return { sku: newWord(), name, price_cents: 1000, stock: 10 }
}

describeEachEngine('products', (engine) => {
  const system = useSystem(engine)
  const resource: Resource = { system, service: 'orders', path: '/products', input }

  const create = (body: unknown) => system.orders.post('/products', body)
  const read = (id: number) => system.orders.get(`/products/${id}`)
  const change = (id: number, body: unknown, ifMatch?: string) =>
    system.orders.patch(`/products/${id}`, body, ifMatch === undefined ? {} : { headers: { 'if-match': ifMatch } })
  const adjust = (id: number, delta: number, headers: Record<string, string> = {}) =>
    system.orders.post(`/products/${id}/stock-adjustments`, { delta, reason: 'Counted' }, { headers })
  const search = async (text: string) =>
    idsOf(await readPages(system.orders, `/products?search=${encodeURIComponent(text)}`))

  /** The product's rows in the ledger, the oldest first. */
  const ledgerOf = (id: number) =>
    system.db
      .selectFrom('stock_adjustments')
      .select(['delta', 'reason', 'principal'])
      .where('product_id', '=', id)
      .orderBy('id')
      .execute()

  /** The stock according to the ledger and the live orders. */
  async function stockByTheBooks(id: number): Promise<number> {
    const sold = await system.db
      .selectFrom('order_items as line')
      .innerJoin('orders as o', 'o.id', 'line.order_id')
      .select('line.qty')
      .where('line.product_id', '=', id)
      .where('o.status', '!=', 'CANCELED')
      .execute()
    return sum((await ledgerOf(id)).map((row) => row.delta)) - sum(sold.map((line) => line.qty))
  }

  describe('any request', () => describeRequests(resource))

  describe('creating', () => {
    it('when a product is created, then 201 with Location, ETag and all its fields', async () => {
      const body = input()
      const response = await create(body)
      expect(response.status).toBe(201)
      expect(response.body).toEqual({
        id: expect.any(Number),
        ...body,
        active: true,
        min_qty: 1,
        qty_step: 1,
        max_qty: null,
        unit: 'pc',
        created_at: expect.stringMatching(TIME),
        updated_at: response.body.created_at,
        version: 1,
      })
      expect(response.headers.get('content-type')).toBe('application/json')
      expect(response.headers.get('location')).toBe(`products/${response.body.id}`)
      expect(response.headers.get('etag')).toBe('"1"')
      const found = await read(response.body.id)
      expect(found.body).toEqual(response.body)
      expect(found.headers.get('etag')).toBe('"1"')
    })

    it('when it has initial stock, then the ledger has a first row, otherwise none', async () => {
      const [stocked, empty] = [await newProduct(system, { stock: 7 }), await newProduct(system, { stock: 0 })]
      expect(await ledgerOf(stocked.id)).toEqual([{ delta: 7, reason: 'initial stock', principal: 'client:tests' }])
      expect(await ledgerOf(empty.id)).toEqual([])
    })

    it('when numbers are at their maximum, then they are stored exactly', async () => {
      const largest = { price_cents: 100_000_000_000, stock: 1_000_000_000_000 }
      expect((await create({ ...input(), ...largest })).body).toMatchObject(largest)
    })

    it('when the SKU is taken, then 409', async () => {
      const { sku } = await newProduct(system)
      for (const same of [sku, ` ${sku} `]) expectProblem(await create({ ...input(), sku: same }), 409, 'sku_taken')
    })

    it('when ten requests want one SKU at once, then one gets it', async () => {
      const { sku } = input()
      expect(statusCounts(await atOnce(10, () => create({ ...input(), sku })))).toEqual({ 201: 1, 409: 9 })
    })

    it.each([
      ['sku', undefined],
      ['sku', ''],
      ['sku', 'two  spaces'],
      ['sku', 'tab\tin'],
      ['sku', 'a"b'],
      ['sku', 'a*'],
      ['sku', 'zero\u200bwidth'],
      ['sku', 'a\ud800'],
      ['sku', 'x'.repeat(65)],
      ['active', 1],
      ['min_qty', 0],
      ['min_qty', 1_000_001],
      ['qty_step', 0],
      ['qty_step', 1.5],
      ['max_qty', -1],
      ['max_qty', 200_000_001],
      ['unit', ''],
      ['unit', 'x'.repeat(21)],
      ['name', undefined],
      ['name', '  '],
      ['name', 'a'.repeat(201)],
      ['name', 'bell\u0007'],
      ['name', '\udc00'],
      ['price_cents', undefined],
      ['price_cents', null],
      ['price_cents', '1000'],
      ['price_cents', 9.99],
      ['price_cents', -1],
      ['price_cents', 100_000_000_001],
      ['stock', undefined],
      ['stock', true],
      ['stock', 0.5],
      ['stock', -1],
      ['stock', 1_000_000_000_001],
    ])('when %s is %j, then that field is refused', async (field, value) => {
      expectFaults(await create({ ...input(), [field]: value }), [field])
    })

    it.each(['1e400', '9007199254740993', '-1e400'])('when a price is %s, then it is refused', async (price) => {
      const text = JSON.stringify(input()).replace('"price_cents":1000', `"price_cents":${price}`)
      expect(await create(text)).toMatchObject({ status: 400, body: { code: 'validation_failed' } })
    })

    describe('with an idempotency key', () => {
      describeKeyedCreation(resource)

      it('when the product was changed since, then a retry is still a replay', async () => {
        const [body, headers] = [input(), { 'idempotency-key': newKey() }]
        const first = await system.orders.post('/products', body, { headers })
        await change(first.body.id, { stock: 3 })
        expect((await system.orders.post('/products', body, { headers })).text).toBe(first.text)
        expect(await ledgerOf(first.body.id)).toHaveLength(2)
      })
    })
  })

  describe('SKUs', () => {
    it.each(["A 1#+,:()&'_./-", '部品 12', 'Ärmel-Größe M', '🔩'.repeat(64)])(
      'when a SKU is %j, then it is kept, and found without regard to case',
      async (text) => {
        const sku = [...`${newWord().slice(0, 6)} ${text}`].slice(0, 64).join('')
        const { status, body } = await create({ ...input(), sku })
        expect([status, body.sku]).toEqual([201, sku.normalize('NFC')])
        for (const same of [sku, sku.toUpperCase(), ` ${sku.normalize('NFD')} `]) {
          const found = await system.orders.get(`/products?sku=${encodeURIComponent(same)}`)
          expect(idsOf(found.body.data)).toEqual([body.id])
        }
        expectProblem(await create({ ...input(), sku: sku.toUpperCase() }), 409, 'sku_taken')
      },
    )

    it('when ten requests want one SKU in two cases at once, then one gets it', async () => {
      const { sku } = input()
      const both = [sku, sku.toUpperCase()]
      const responses = await atOnce(10, (i) => create({ ...input(), sku: both[i % 2] }))
      expect(statusCounts(responses)).toEqual({ 201: 1, 409: 9 })
    })

    it('when many are looked up at once, then those that exist are found, each once', async () => {
      const made = await Promise.all(Array.from({ length: 60 }, () => newProduct(system)))
      const asked = [...made.map(({ sku }) => sku.toLowerCase()), ...made.slice(0, 30).map(({ sku }) => sku), 'none']
      const query = asked.map((sku) => `sku=${encodeURIComponent(sku)}`).join('&')
      const { body } = await system.orders.get(`/products?${query}`)
      expect(body.next_cursor).toBeNull()
      expect(idsOf(body.data)).toEqual(idsOf(made).sort((a, b) => a - b))
      expect(idsOf(await readPages(system.orders, `/products?${query}&limit=7`))).toEqual(idsOf(body.data))
    })

    it.each([
      [Array(101).fill('sku=a').join('&'), 'sku'],
      [`sku=${'x'.repeat(201)}`, 'sku.0'],
      ['limit=1&limit=2', 'limit'],
    ])('when the query is %s, then it is refused', async (query, path) => {
      expectFaults(await system.orders.get(`/products?${query}`), [path])
    })

    it('when it comes with a search, then both hold', async () => {
      const [{ id, sku }, other] = [await newProduct(system, { name: 'Blue lamp' }), await newProduct(system)]
      const found = async (search: string) =>
        idsOf((await system.orders.get(`/products?sku=${sku}&sku=${other.sku}&search=${search}`)).body.data)
      expect(await found('lam+bl')).toEqual([id])
      expect(await found('red')).toEqual([])
    })

    it('when the parameter is empty, then it counts as absent', async () => {
      await newProduct(system)
      expect((await system.orders.get('/products?sku=')).body.data.length).toBeGreaterThan(0)
    })

    it('when an earlier version wrote a product, then its exact SKU finds it', async () => {
      const { id, sku } = await newProduct(system)
      await system.db.updateTable('products').set({ sku_key: null }).where('id', '=', id).execute()
      const found = await system.orders.get(`/products?sku=${sku}&sku=none`)
      expect(idsOf(found.body.data)).toEqual([id])
    })

    it('when a SKU changes, then the new one finds it and the old one is free', async () => {
      const [{ id, sku }, other] = [await newProduct(system), await newProduct(system)]
      expectProblem(await change(id, { sku: other.sku.toLowerCase() }), 409, 'sku_taken')
      const renamed = newWord()
      expect((await change(id, { sku: renamed })).body).toMatchObject({ sku: renamed, version: 2 })
      expect(await search(renamed)).toEqual([id])
      expect(await search(sku)).toEqual([])
      expect((await create({ ...input(), sku })).status).toBe(201)
      expect((await change(id, { sku: renamed.toUpperCase() })).status).toBe(200)
    })
  })

  describe('quantity rules', () => {
    it('when they are given, then they are shown, changed, and a maximum of 0 is none', async () => {
      const rule = { active: false, min_qty: 12, qty_step: 6, max_qty: 120, unit: 'box of 6' }
      const { body } = await create({ ...input(), ...rule })
      expect(body).toMatchObject(rule)
      expect((await change(body.id, { active: true, max_qty: null })).body).toMatchObject({ ...rule, active: true })
      expect((await change(body.id, { max_qty: 0, min_qty: 6 })).body).toMatchObject({ max_qty: null, min_qty: 6 })
      expect((await create({ ...input(), max_qty: 0 })).body.max_qty).toBeNull()
    })

    it.each([
      [{ max_qty: 5, min_qty: 6 }, 'max_qty'],
      [{ max_qty: 11, qty_step: 12 }, 'max_qty'],
      [{ max_qty: 20, min_qty: 13, qty_step: 12 }, 'max_qty'],
    ])('when no quantity fits %j, then it is refused', async (rule, path) => {
      expectFaults(await create({ ...input(), ...rule }), [path])
      const { id } = await newProduct(system, { max_qty: 10 })
      expectFaults(await change(id, { min_qty: 11 }), ['min_qty'])
      expectFaults(await change(id, { qty_step: 11 }), ['qty_step'])
      expect((await read(id)).body.version).toBe(1)
    })
  })

  describe('the ledger', () => {
    it('when it is listed, then it has every adjustment, newest first, in pages', async () => {
      const { id } = await newProduct(system, { stock: 10 })
      for (const delta of [5, -3]) await adjust(id, delta)
      const { status, body } = await system.orders.get(`/products/${id}/stock-adjustments`)
      expect(status).toBe(200)
      const entry = { product_id: id, principal: 'client:tests', created_at: expect.stringMatching(TIME) }
      expect(body.data).toMatchObject([
        { ...entry, delta: -3, reason: 'Counted' },
        { ...entry, delta: 5, reason: 'Counted' },
        { ...entry, delta: 10, reason: 'initial stock' },
      ])
      expect(idsOf(await readPages(system.orders, `/products/${id}/stock-adjustments?limit=1`))).toEqual(
        idsOf(body.data),
      )
    })

    it('when a bound client reads it, then it does not see who did it', async () => {
      const { id } = await newProduct(system)
      const token = await system.token({ customerId: 1 })
      const { body } = await system.orders.get(`/products/${id}/stock-adjustments`, { token })
      expect(body.data).toMatchObject([{ delta: 100, principal: null }])
    })

    it('when there is no such product, or the cursor is of another list, then 404 or 400', async () => {
      expectProblem(await system.orders.get('/products/999999/stock-adjustments'), 404, 'not_found')
      const { id } = await newProduct(system)
      const { body } = await system.orders.get('/products?limit=1')
      const path = `/products/${id}/stock-adjustments?cursor=${body.next_cursor}`
      expectFaults(await system.orders.get(path), ['cursor'])
    })
  })

  describe('changing', () => {
    it.each([{ name: 'Renamed' }, { price_cents: 1 }, { price_cents: 0 }, { stock: 3 }, { name: 'Both', stock: 0 }])(
      'when only %j is sent, then only that changes',
      async (fields) => {
        const { body: before } = await create(input())
        const response = await change(before.id, fields)
        expect(response.status).toBe(200)
        expect(response.headers.get('etag')).toBe('"2"')
        expect(response.body).toEqual({ ...before, ...fields, version: 2, updated_at: expect.stringMatching(TIME) })
        expect((await read(before.id)).text).toBe(response.text)
      },
    )

    it('when no field is sent, then it is refused', async () => {
      const { id } = await newProduct(system)
      expectFaults(await change(id, {}), [''])
      expect((await read(id)).body.version).toBe(1)
    })

    it('when a read-only field is sent, then it is named and nothing changes', async () => {
      const { id } = await newProduct(system)
      expectFaults(await change(id, { name: 'New', id: 7, version: 7 }), ['id', 'version'])
      expectFaults(await change(id, { name: 'New', stock: -1, price_cents: 'no' }), ['price_cents', 'stock'])
      expect((await read(id)).body.version).toBe(1)
    })

    it('when the stock is set, then the ledger gets the difference', async () => {
      const { id } = await newProduct(system, { stock: 10 })
      await newOrder(system, [{ product_id: id, qty: 4 }])
      await change(id, { stock: 20 })
      await change(id, { stock: 15 })
      expect((await ledgerOf(id)).slice(1)).toEqual([
        { delta: 14, reason: 'count set', principal: 'client:tests' },
        { delta: -5, reason: 'count set', principal: 'client:tests' },
      ])
    })

    it('when the stock is set to the same value or not at all, then no ledger row', async () => {
      const { id } = await newProduct(system, { stock: 10 })
      await change(id, { stock: 10 })
      await change(id, { name: 'Renamed' })
      expect(await ledgerOf(id)).toHaveLength(1)
    })

    it('when the price changes, then only later orders have the new one', async () => {
      const { id } = await newProduct(system, { price_cents: 100 })
      const before = await newOrder(system, [{ product_id: id, qty: 2 }])
      await change(id, { price_cents: 150 })
      const after = await newOrder(system, [{ product_id: id, qty: 2 }])
      expect(after.total_cents).toBe(300)
      expect((await system.orders.get(`/orders/${before.id}`)).body.total_cents).toBe(200)
    })

    it('when an order came between read and change, then If-Match gets 412', async () => {
      const { id } = await newProduct(system, { stock: 10 })
      const etag = (await read(id)).headers.get('etag') ?? ''
      await newOrder(system, [{ product_id: id, qty: 4 }])
      expectProblem(await change(id, { stock: 20 }, etag), 412, 'precondition_failed')
      expect(await stockOf(system, id)).toBe(6)
      expect(await ledgerOf(id)).toHaveLength(1)
      const again = (await read(id)).headers.get('etag') ?? ''
      expect((await change(id, { stock: 20 }, again)).status).toBe(200)
    })

    it('when a cancel or an adjustment came between, then If-Match gets 412 too', async () => {
      const { id } = await newProduct(system)
      const order = await newOrder(system, [{ product_id: id, qty: 1 }])
      for (const act of [() => adjust(id, 1), () => system.orders.post(`/orders/${order.id}/cancel`)]) {
        const etag = (await read(id)).headers.get('etag') ?? ''
        expect((await act()).status).toBeLessThan(300)
        expectProblem(await change(id, { stock: 0 }, etag), 412, 'precondition_failed')
      }
    })

    it('when If-Match is *, or names the version among others, then it changes', async () => {
      const { id } = await newProduct(system)
      expect((await change(id, { stock: 1 }, '*')).status).toBe(200)
      expect((await change(id, { stock: 2 }, '"9", "2"')).status).toBe(200)
      expect((await change(id, { stock: 3 }, 'W/"3"')).status).toBe(200)
      expectProblem(await change(id, { stock: 4 }, 'W/"3"'), 412, 'precondition_failed')
    })

    it('when ten change one version at once, then one succeeds', async () => {
      const { id } = await newProduct(system)
      const responses = await atOnce(10, (i) => change(id, { stock: i }, '"1"'))
      expect(statusCounts(responses)).toEqual({ 200: 1, 412: 9 })
      expect((await read(id)).body).toEqual(responses.find(({ status }) => status === 200)?.body)
    })

    it('when the product does not exist or its id is malformed, then 404 or 400', async () => {
      expectProblem(await change(Number.MAX_SAFE_INTEGER, { stock: 1 }), 404, 'not_found')
      expectProblem(await change(0, { stock: 1 }), 400, 'invalid_id')
    })
  })

  describe('adjusting stock', () => {
    it('when stock is added or removed, then the count, version and ledger follow', async () => {
      const { id } = await newProduct(system, { stock: 10 })
      const added = await adjust(id, 5)
      expect(added.status).toBe(201)
      expect(added.body).toEqual({
        id: expect.any(Number),
        product_id: id,
        delta: 5,
        reason: 'Counted',
        stock: 15,
        created_at: expect.stringMatching(TIME),
      })
      expect((await adjust(id, -15)).body).toMatchObject({ delta: -15, stock: 0 })
      expect((await read(id)).body).toMatchObject({ stock: 0, version: 3 })
      expect((await ledgerOf(id)).slice(1)).toEqual([
        { delta: 5, reason: 'Counted', principal: 'client:tests' },
        { delta: -15, reason: 'Counted', principal: 'client:tests' },
      ])
    })

    it('when stock would fall below zero, then 409 with the stock, and nothing changes', async () => {
      const { id } = await newProduct(system, { stock: 10 })
      await newOrder(system, [{ product_id: id, qty: 4 }])
      const refused = await adjust(id, -7)
      expectProblem(refused, 409, 'insufficient_stock')
      expect(refused.body.lines).toEqual([{ product_id: id, requested: 7, available: 6 }])
      expect(await stockOf(system, id)).toBe(6)
      expect(await ledgerOf(id)).toHaveLength(1)
    })

    it.each([
      ['delta', undefined],
      ['delta', 0],
      ['delta', -0],
      ['delta', 1.5],
      ['delta', '5'],
      ['delta', 1_000_000_001],
      ['reason', undefined],
      ['reason', ''],
      ['reason', 'a\nb'],
      ['reason', 'a'.repeat(201)],
      ['stock', 5],
    ])('when %s is %j, then that field is refused', async (field, value) => {
      const { id } = await newProduct(system)
      const body = { delta: 1, reason: 'Counted', [field]: value }
      expectFaults(await system.orders.post(`/products/${id}/stock-adjustments`, body), [field])
    })

    it('when the product does not exist or its id is malformed, then 404 or 400', async () => {
      expectProblem(await adjust(Number.MAX_SAFE_INTEGER, 1), 404, 'not_found')
      expectProblem(await adjust(-1, 1), 400, 'invalid_id')
    })

    it('when an adjustment is retried with its key, then it is a replay and counts once', async () => {
      const { id } = await newProduct(system, { stock: 10 })
      const headers = { 'idempotency-key': newKey() }
      const first = await adjust(id, -4, headers)
      await adjust(id, 1)
      const again = await adjust(id, -4, headers)
      expect({ status: again.status, text: again.text }).toEqual({ status: 201, text: first.text })
      expect(again.headers.get('idempotent-replayed')).toBe('true')
      expect(await stockOf(system, id)).toBe(7)
      expect(await ledgerOf(id)).toHaveLength(3)
    })

    it('when the key comes with another delta or product, then 422 and nothing changes', async () => {
      const [one, other] = [await newProduct(system, { stock: 10 }), await newProduct(system, { stock: 10 })]
      const headers = { 'idempotency-key': newKey() }
      await adjust(one.id, -4, headers)
      expectProblem(await adjust(one.id, -5, headers), 422, 'idempotency_key_reused')
      expectProblem(await adjust(other.id, -4, headers), 422, 'idempotency_key_reused')
      expect([await stockOf(system, one.id), await stockOf(system, other.id)]).toEqual([6, 10])
    })

    it('when an adjustment was refused, then its key works once there is stock', async () => {
      const { id } = await newProduct(system, { stock: 1 })
      const headers = { 'idempotency-key': newKey() }
      expect((await adjust(id, -2, headers)).status).toBe(409)
      await adjust(id, 1)
      expect((await adjust(id, -2, headers)).status).toBe(201)
      expect(await stockOf(system, id)).toBe(0)
    })

    it('when ten retries of one adjustment come at once, then all get one response', async () => {
      for (let round = 0; round < 5; round++) {
        const { id } = await newProduct(system, { stock: 5 })
        const headers = { 'idempotency-key': newKey() }
        const responses = await atOnce(10, () => adjust(id, -5, headers))
        expect(statusCounts(responses)).toEqual({ 201: 10 })
        expect(new Set(responses.map(({ text }) => text)).size).toBe(1)
        expect(await stockOf(system, id)).toBe(0)
      }
    })

    it('when many adjustments come at once, then each counts', async () => {
      const { id } = await newProduct(system, { stock: 100 })
      const responses = await atOnce(40, (i) => adjust(id, i % 2 === 0 ? 3 : -1))
      expect(statusCounts(responses)).toEqual({ 201: 40 })
      expect(await stockOf(system, id)).toBe(100 + 20 * 3 - 20)
      expect((await read(id)).body.version).toBe(41)
    })

    it('when more is taken at once than there is, then only the stock is sold', async () => {
      const { id } = await newProduct(system, { stock: 5 })
      expect(statusCounts(await atOnce(20, () => adjust(id, -1)))).toEqual({ 201: 5, 409: 15 })
      expect(await stockOf(system, id)).toBe(0)
    })
  })

  describe('the books', () => {
    it('when all kinds of changes run at once, then the books balance', async () => {
      const products = [await newProduct(system, { stock: 50 }), await newProduct(system, { stock: 50 })]
      const [one, other] = idsOf(products)
      if (one === undefined || other === undefined) throw new Error('no products')
      const placed = await atOnce(10, () => newOrder(system, [{ product_id: one, qty: 2 }]))
      const place = (items: { product_id: number; qty: number }[]) =>
        system.orders.post('/orders', { customer_id: 1, items })
      const acts = [
        () => place([{ product_id: one, qty: 3 }]),
        () => place([other, one, other].map((product_id) => ({ product_id, qty: 1 }))),
        (i: number) => system.orders.post(`/orders/${placed[i]?.id}/cancel`),
        (i: number) => adjust(i % 2 ? one : other, i - 5 || 1),
        (i: number) => change(i % 2 ? other : one, { stock: 40 + i }),
        (i: number) => change(one, { name: `Renamed ${i}` }),
      ]
      const responses = await atOnce(60, (i) => acts[i % acts.length]?.(Math.floor(i / acts.length)) ?? read(one))
      expect(responses.map(({ status }) => status).filter((status) => status !== 409 && status >= 300)).toEqual([])
      for (const { id } of products) expect(await stockOf(system, id)).toBe(await stockByTheBooks(id))
    })
  })

  describe('listing', () => {
    describePages(resource, { path: '/orders', service: 'orders' })

    it('when a client is bound to a customer, then it still sees the products', async () => {
      const { id } = await newProduct(system)
      const request = { token: await system.token({ customerId: 1 }) }
      expect((await system.orders.get(`/products/${id}`, request)).status).toBe(200)
      expect((await system.orders.get('/products?limit=1', request)).body.data).toHaveLength(1)
    })
  })

  describe('searching', () => {
    describeSearch(resource)

    it('when the search begins any part of a SKU, then its product is found', async () => {
      const [head, tail] = [newWord(), newWord()]
      const { id } = await newProduct(system, { sku: `${head.toUpperCase()}-4/${tail}` })
      for (const text of [head, tail, `${tail} 4`, `${head}-4/${tail}`]) expect(await search(text)).toEqual([id])
    })

    it('when a product is renamed, then its new name and its SKU find it', async () => {
      const [before, after] = [newWord(), newWord()]
      const { id, sku } = await newProduct(system, { name: before, sku: newWord() })
      await change(id, { name: after })
      expect(await search(before)).toEqual([])
      expect(await search(after)).toEqual([id])
      expect(await search(sku)).toEqual([id])
    })

    it('when two common words rarely meet, then an empty page has a next cursor', async () => {
      const { db } = system
      const [one, other] = [newWord(), newWord()]
      const now = '2026-01-01 00:00:00.000'
      const fields = { name: one, price_cents: 1, stock: 0, created_at: now, updated_at: now }
      const values = Array.from({ length: 5_000 }, (_, i) => ({ ...fields, sku: `${one}-${i}` }))
      await db.insertInto('products').values(values).execute()
      const products = await db.selectFrom('products').select('id').where('name', '=', one).orderBy('id').execute()
      const both = [4_400, 4_900].map((i) => products[i]?.id ?? 0)
      const words = products.map(({ id }, i) => ({ word: i % 2 === 0 ? one : other, product_id: id }))
      await db.insertInto('product_words').values(words).execute()
      await db
        .insertInto('product_words')
        .values(both.map((product_id) => ({ word: other, product_id })))
        .execute()
      const before: number[][] = []
      const rows = await readPages(system.orders, `/products?search=${one}+${other}`, async (page) => {
        before.push(idsOf(page))
      })
      expect(before).toEqual([[]])
      expect(idsOf(rows)).toEqual(both)
    })
  })
})

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

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
import { sha256 } from '../platform/core/crypto.ts'

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** What a product has that was created without these fields. */
const DEFAULTS = { active: true, min_qty: 1, qty_step: 1, max_qty: null, unit: 'pc', stock_low_at: null }

function input(name = `Product ${newWord()}`) {
  return { sku: newWord(), name, price_cents: 1000, stock: 10 }
}

function query(skus: string[]): string {
  return `/products?${new URLSearchParams(skus.map((sku) => ['sku', sku]))}`
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

  /** The SKUs of the products that these SKUs find. */
  const skusAt = async (skus: string[]) => {
    const { body } = await system.orders.get(query(skus))
    return body.data.map(({ sku }: { sku: string }) => sku)
  }

  /** Makes a product what an earlier version would have written. */
  const withoutKey = (id: number, sku: string) =>
    system.db.updateTable('products').set({ sku, sku_key: null }).where('id', '=', id).execute()

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
        ...DEFAULTS,
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
      ['sku', null],
      ['sku', 'two  spaces'],
      ['sku', 'x'.repeat(65)],
      ['sku', '部'.repeat(65)],
      // NFC makes two characters of this one.
      ['sku', '\u0958'.repeat(64)],
      ['sku', 'a\tb'],
      ['sku', 'a\u3000b'],
      ['sku', 'a\u0000b'],
      ['sku', 'a\u200bb'],
      ['sku', 'a\u202eb'],
      ['sku', '👩\u200d👧'],
      ['sku', '\ud83d'],
      // The Greek question mark, which NFC makes a semicolon of.
      ['sku', 'a\u037eb'],
      ['active', 1],
      ['active', 'true'],
      ['min_qty', 0],
      ['min_qty', 1.5],
      ['min_qty', '6'],
      ['min_qty', 1_000_001],
      ['qty_step', 0],
      ['qty_step', 1_000_001],
      ['max_qty', -1],
      ['max_qty', 200_000_001],
      ['unit', ''],
      ['unit', 'a\nb'],
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

    it.each([
      "LAP 15 (grey), 2.0/B #7 + A&B: O'Neil_x",
      '部品-１２番',
      'деталь 7',
      'مسمار-٣',
      '🔩 M8',
      '__proto__',
      'constructor',
      '部'.repeat(64),
      '🔩'.repeat(64),
    ])('when the SKU is %j, then it is stored as it is, and found', async (sku) => {
      const { status, body } = await create({ ...input(), sku })
      expect({ status, sku: body.sku }).toEqual({ status: 201, sku })
      expect((await read(body.id)).body.sku).toBe(sku)
      expect(idsOf((await system.orders.get(query([sku]))).body.data)).toEqual([body.id])
    })

    it('when the SKU is decomposed and has space around it, then it is stored trimmed and composed', async () => {
      const word = newWord()
      const { status, body } = await create({ ...input(), sku: ` ${word}-Cafe\u0301 が \n` })
      expect({ status, sku: body.sku }).toEqual({ status: 201, sku: `${word}-Café が` })
      expectProblem(await create({ ...input(), sku: `${word}-Café が` }), 409, 'sku_taken')
    })

    it.each([
      ['x-ABC', 'X-abc'],
      ['STRASSE', 'Straße'],
      ['ΟΔΟΣ', 'οδος'],
      ['É', 'e\u0301'],
    ])('when the SKU %j is taken, then %j is taken too', async (one, other) => {
      const word = newWord()
      expect((await create({ ...input(), sku: `${word} ${one}` })).status).toBe(201)
      expectProblem(await create({ ...input(), sku: `${word} ${other}` }), 409, 'sku_taken')
    })

    it('when two want SKUs that differ by case at once, then one gets it', async () => {
      for (let round = 0; round < 5; round++) {
        const { sku } = input()
        const responses = await atOnce(2, (i) => create({ ...input(), sku: i === 0 ? sku : sku.toUpperCase() }))
        expect(statusCounts(responses)).toEqual({ 201: 1, 409: 1 })
      }
    })

    it('when it has rules for its quantities, then it comes back with them', async () => {
      const rules = { active: false, min_qty: 10, qty_step: 6, max_qty: 12, unit: 'box of 6' }
      const { status, body } = await create({ ...input(), ...rules })
      expect({ status, body }).toMatchObject({ status: 201, body: rules })
      expect((await read(body.id)).body).toEqual(body)
    })

    it('when numbers of the rules are at their maximum, then they are taken', async () => {
      const largest = { min_qty: 1_000_000, qty_step: 1_000_000, max_qty: 200_000_000, unit: '単'.repeat(20) }
      expect((await create({ ...input(), ...largest })).body).toMatchObject(largest)
    })

    it('when optional fields are null, or the maximum is 0, then they count as absent', async () => {
      const none = Object.fromEntries(Object.keys(DEFAULTS).map((field) => [field, null]))
      for (const fields of [none, { max_qty: 0 }, { min_qty: 5, max_qty: 0 }]) {
        const { status, body } = await create({ ...input(), ...fields })
        expect({ status, max_qty: body.max_qty, unit: body.unit }).toEqual({ status: 201, max_qty: null, unit: 'pc' })
      }
    })

    it.each([
      [{ min_qty: 2, max_qty: 1 }, ['max_qty', 'min_qty']],
      [{ qty_step: 6, max_qty: 5 }, ['max_qty', 'qty_step']],
      [{ min_qty: 7, qty_step: 6, max_qty: 11 }, ['max_qty', 'min_qty', 'qty_step']],
    ])('when no quantity is right by %j, then the fields are named', async (rules, fields) => {
      const body = { ...input(), ...rules }
      expectFaults(await create(body), fields)
      expect((await system.orders.get(query([body.sku]))).body.data).toEqual([])
    })

    it.each(Array.from('!"$%*;<=>?@[\\]^`{|}~'))(
      'when the SKU has a %s in it, then it is refused',
      async (character) => {
        expectFaults(await create({ ...input(), sku: `a${character}b` }), ['sku'])
      },
    )

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

      it('when an earlier version stored the response, then a retry gets those bytes', async () => {
        const [body, headers] = [input(), { 'idempotency-key': newKey() }]
        await system.orders.post('/products', body, { headers })
        const request_hash = sha256(JSON.stringify([body]))
        const { id, version } = { id: 7, version: 1 }
        const response_body = JSON.stringify({ id, ...body, created_at: 'then', updated_at: 'then', version })
        const { numUpdatedRows } = await system.db
          .updateTable('idempotency_keys')
          .set({ response_body })
          .where('key', '=', headers['idempotency-key'])
          .where('request_hash', '=', request_hash)
          .executeTakeFirst()
        expect(Number(numUpdatedRows)).toBe(1)
        const again = await system.orders.post('/products', body, { headers })
        expect({ status: again.status, text: again.text }).toEqual({ status: 201, text: response_body })
      })

      it('when only a new field differs, then it is another request', async () => {
        const [body, headers] = [input(), { 'idempotency-key': newKey() }]
        await system.orders.post('/products', body, { headers })
        for (const fields of [{ active: true }, { min_qty: 2 }, { qty_step: 2 }, { max_qty: 5 }, { unit: 'm' }]) {
          const other = await system.orders.post('/products', { ...body, ...fields }, { headers })
          expectProblem(other, 422, 'idempotency_key_reused')
        }
        const same = await system.orders.post('/products', { ...body, unit: null }, { headers })
        expect(same.headers.get('idempotent-replayed')).toBe('true')
      })
    })
  })

  describe('changing', () => {
    it.each([
      { name: 'Renamed' },
      { price_cents: 1 },
      { price_cents: 0 },
      { stock: 3 },
      { name: 'Both', stock: 0 },
      { active: false },
      { min_qty: 6, qty_step: 3, max_qty: 60 },
      { unit: 'm' },
    ])('when only %j is sent, then only that changes', async (fields) => {
      const { body: before } = await create(input())
      const response = await change(before.id, fields)
      expect(response.status).toBe(200)
      expect(response.headers.get('etag')).toBe('"2"')
      expect(response.body).toEqual({ ...before, ...fields, version: 2, updated_at: expect.stringMatching(TIME) })
      expect((await read(before.id)).text).toBe(response.text)
    })

    it('when no field is sent, then it is refused', async () => {
      const { id } = await newProduct(system)
      expectFaults(await change(id, {}), [''])
      expect((await read(id)).body.version).toBe(1)
    })

    it('when a read-only field is sent, then it is named and nothing changes', async () => {
      const { id } = await newProduct(system)
      expectFaults(await change(id, { name: 'New', id: 8, version: 7 }), ['id', 'version'])
      expectFaults(await change(id, { name: 'New', stock: -1, price_cents: 'no' }), ['price_cents', 'stock'])
      expect((await read(id)).body.version).toBe(1)
    })

    it('when all fields come back as they were read, then nothing but the version changes', async () => {
      const { body: before } = await create({ ...input(), active: false, min_qty: 4, qty_step: 2, max_qty: 8 })
      const { id, created_at, updated_at, version, ...fields } = before
      const response = await change(id, { ...fields, unit: null })
      expect(response.body).toEqual({ ...before, version: 2, updated_at: expect.stringMatching(TIME) })
    })

    it('when the maximum is null, then it stays, and when it is 0, then it is removed', async () => {
      const { id } = await newProduct(system, { max_qty: 5 })
      expect((await change(id, { max_qty: null, stock: 1 })).body.max_qty).toBe(5)
      expect((await change(id, { max_qty: 0 })).body.max_qty).toBeNull()
      expect((await read(id)).body.max_qty).toBeNull()
    })

    it.each([
      [{ max_qty: 9 }, ['max_qty']],
      [{ min_qty: 21 }, ['min_qty']],
      [{ qty_step: 50, unit: 'm' }, ['qty_step']],
      [{ min_qty: 5, max_qty: 4 }, ['max_qty', 'min_qty']],
    ])('when no quantity is right after %j, then the given fields are named', async (rules, fields) => {
      const { id } = await newProduct(system, { min_qty: 10, qty_step: 5, max_qty: 20 })
      expectFaults(await change(id, rules), fields)
      expect((await read(id)).body.version).toBe(1)
    })

    it('when the SKU changes, then the new one finds it, and the old one is free', async () => {
      const { id, sku } = await newProduct(system, { sku: newWord() })
      const renamed = `部品 ${newWord()}`
      expect((await change(id, { sku: ` ${renamed} ` })).body).toMatchObject({ sku: renamed, version: 2 })
      expect(await skusAt([renamed.toUpperCase()])).toEqual([renamed])
      expect(await search(renamed)).toEqual([id])
      expect([await skusAt([sku]), await search(sku)]).toEqual([[], []])
      expect((await create({ ...input(), sku })).status).toBe(201)
    })

    it('when only the case of its SKU changes, then it has the new spelling', async () => {
      const { id, sku } = await newProduct(system)
      expect((await change(id, { sku: sku.toUpperCase() })).body.sku).toBe(sku.toUpperCase())
      expectProblem(await create({ ...input(), sku }), 409, 'sku_taken')
    })

    it('when another product has the SKU, in any case, then 409 and nothing changes', async () => {
      const [one, other] = [await newProduct(system), await newProduct(system)]
      for (const sku of [other.sku, other.sku.toUpperCase()]) {
        expectProblem(await change(one.id, { sku, stock: 1 }), 409, 'sku_taken')
      }
      expect((await read(one.id)).body).toMatchObject({ sku: one.sku, version: 1 })
      expect(await ledgerOf(one.id)).toHaveLength(1)
    })

    it('when two products want one SKU at once, in two cases, then one gets it', async () => {
      for (let round = 0; round < 5; round++) {
        const [products, sku] = [[await newProduct(system), await newProduct(system)], newWord()]
        const wanted = [sku, sku.toUpperCase()]
        const responses = await atOnce(2, (i) => change(products[i]?.id ?? 0, { sku: wanted[i] }))
        expect(statusCounts(responses)).toEqual({ 200: 1, 409: 1 })
      }
    })

    it('when an earlier version wrote the product, then it changes without a key while its SKU stays', async () => {
      const [old, sku] = [await newProduct(system), newWord()]
      await withoutKey(old.id, sku.toUpperCase())
      await newProduct(system, { sku })
      expect((await change(old.id, { price_cents: 5, sku: sku.toUpperCase() })).status).toBe(200)
      expectProblem(
        await change(old.id, { sku: `${sku.slice(0, -1)}${sku.slice(-1).toUpperCase()}` }),
        409,
        'sku_taken',
      )
      expect((await change(old.id, { sku: `${sku}-2` })).status).toBe(200)
      expect(await skusAt([`${sku}-2`.toUpperCase()])).toEqual([`${sku}-2`])
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

  describe('the ledger', () => {
    const ledger = (id: number, query = '') => system.orders.get(`/products/${id}/stock-adjustments${query}`)

    it('when it is read, then the newest adjustment comes first, and orders are not in it', async () => {
      const { id } = await newProduct(system, { stock: 10 })
      await newOrder(system, [{ product_id: id, qty: 4 }])
      await adjust(id, -2)
      await change(id, { stock: 9 })
      const { status, body } = await ledger(id)
      expect(status).toBe(200)
      const entry = { product_id: id, principal: 'client:tests' }
      const own = { id: expect.any(Number), created_at: expect.stringMatching(TIME) }
      expect(body).toEqual({
        data: [
          { ...own, ...entry, delta: 5, reason: 'count set' },
          { ...own, ...entry, delta: -2, reason: 'Counted' },
          { ...own, ...entry, delta: 10, reason: 'initial stock' },
        ],
        next_cursor: null,
      })
    })

    it('when adjustments come between two pages, then no other one is skipped or repeated', async () => {
      const { id } = await newProduct(system, { stock: 1 })
      for (let delta = 2; delta <= 5; delta++) await adjust(id, delta)
      await newProduct(system)
      const rows = await readPages(system.orders, `/products/${id}/stock-adjustments?limit=2`, async () => {
        await adjust(id, 100)
      })
      const entries = await ledgerOf(id)
      expect(rows).toMatchObject([{ delta: 5 }, { delta: 4 }, { delta: 3 }, { delta: 2 }, { delta: 1 }])
      expect(entries).toHaveLength(7)
    })

    it('when the reader is bound to a customer, then it does not see who did it', async () => {
      const { id } = await newProduct(system)
      const request = { token: await system.token({ customerId: 1 }) }
      const { body } = await system.orders.get(`/products/${id}/stock-adjustments`, request)
      expect(body.data).toMatchObject([{ delta: 100, principal: null }])
    })

    it('when there is none, or the product does not exist, then an empty page or 404', async () => {
      const { id } = await newProduct(system, { stock: 0 })
      expect((await ledger(id)).body).toEqual({ data: [], next_cursor: null })
      expectProblem(await ledger(Number.MAX_SAFE_INTEGER), 404, 'not_found')
      expectProblem(await ledger(0), 400, 'invalid_id')
    })

    it('when the limit, the cursor or a name is wrong, then it is refused', async () => {
      const { id } = await newProduct(system)
      const { body } = await system.orders.get('/products?limit=1')
      expectFaults(await ledger(id, '?limit=101'), ['limit'])
      expectFaults(await ledger(id, `?cursor=${body.next_cursor}`), ['cursor'])
      expectFaults(await ledger(id, '?reason=Counted'), ['reason'])
      expectFaults(await ledger(id, '?limit=1&limit=2'), ['limit'])
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

  describe('finding by SKU', () => {
    it('when one SKU is given, in any case or form, then its product is found', async () => {
      const sku = `${newWord()}-Café`
      const { id } = await newProduct(system, { sku })
      for (const text of [sku, sku.toUpperCase(), sku.normalize('NFD'), ` ${sku} `]) {
        const { body } = await system.orders.get(query([text]))
        expect(body).toMatchObject({ data: [{ id, sku }], next_cursor: null })
      }
    })

    it.each(['nothing', '%', '_', '*', ' ', '\u0000', "' or 1=1 --", '__proto__\u200b', 'x'.repeat(200)])(
      'when %j is given, which no product has, then the page is empty',
      async (sku) => {
        expect(await skusAt([sku, sku])).toEqual([])
      },
    )

    it('when the beginning of a SKU is given, then it does not find the SKU', async () => {
      const { sku } = await newProduct(system)
      expect(await skusAt([sku.slice(0, -1), `${sku}1`])).toEqual([])
    })

    it('when 100 are given, then one page has all, in the order of ids', async () => {
      const made: { id: number; sku: string }[] = []
      for (let i = 0; i < 99; i++) made.push(await newProduct(system))
      const skus = made.map(({ sku }) => sku)
      const { body } = await system.orders.get(query([...skus.toReversed(), 'nothing']))
      expect(idsOf(body.data)).toEqual(idsOf(made))
      expect(body.next_cursor).toBeNull()
      const pages = await readPages(system.orders, `${query(skus)}&limit=40`)
      expect(idsOf(pages)).toEqual(idsOf(made))
    })

    it('when more than 100 are given, or one is too long, then that is refused', async () => {
      const many = await system.orders.get(query(Array.from({ length: 101 }, (_, i) => `a${i}`)))
      expectFaults(many, ['sku'])
      expect(many.body.errors[0].message).not.toBe('Given more than once')
      expectFaults(await system.orders.get(query(['a', 'x'.repeat(201)])), ['sku.1'])
    })

    it('when all values are empty, then it is the plain list', async () => {
      const plain = await system.orders.get('/products?limit=3')
      for (const none of ['sku=', 'sku=&sku=']) {
        expect((await system.orders.get(`/products?limit=3&${none}`)).text).toBe(plain.text)
      }
      const { id, sku } = await newProduct(system)
      expect(idsOf((await system.orders.get(query(['', sku]))).body.data)).toEqual([id])
    })

    it('when a search is given too, then both hold', async () => {
      const [word, one, other] = [newWord(), await newProduct(system), await newProduct(system)]
      await change(one.id, { name: `Big ${word}` })
      await newProduct(system, { name: word })
      const both = query([one.sku, other.sku])
      expect(idsOf((await system.orders.get(`${both}&search=${word}`)).body.data)).toEqual([one.id])
      expect(idsOf((await system.orders.get(`${both}&search=+`)).body.data)).toEqual([one.id, other.id])
      expect((await system.orders.get(`${both}&search=!`)).body.data).toEqual([])
    })

    it('when a cursor of another list is given, then it is refused', async () => {
      const skus = [(await newProduct(system)).sku, (await newProduct(system)).sku]
      const { body: plain } = await system.orders.get('/products?limit=1')
      const { body: page } = await system.orders.get(`${query(skus)}&limit=1`)
      expectFaults(await system.orders.get(`${query(skus)}&cursor=${plain.next_cursor}`), ['cursor'])
      expectFaults(await system.orders.get(`/products?cursor=${page.next_cursor}`), ['cursor'])
    })

    it('when an earlier version wrote the product, then its exact SKU finds it', async () => {
      const [old, sku] = [await newProduct(system), newWord()]
      await withoutKey(old.id, sku.toUpperCase())
      expect(await skusAt([sku])).toEqual([])
      expect(await skusAt([sku.toUpperCase()])).toEqual([sku.toUpperCase()])
      await newProduct(system, { sku })
      expect(await skusAt([sku.toUpperCase()])).toEqual([sku.toUpperCase(), sku])
      expect(await skusAt([sku])).toEqual([sku])
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

import { expect, it } from 'vitest'
import type { ApiRequest, ApiResponse } from '../../testing/api-client.ts'
import { idsOf, readPages } from '../../testing/lists.ts'
import { expectProblem } from '../../testing/problems.ts'
import { atOnce, endHold, newCustomer, newKey, newProduct, orderOf, statusCounts, stockOf } from '../../testing/rows.ts'
import { serveOrders } from '../../testing/services.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'
import { addDays, dayIn } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'

type Fields = Record<string, unknown>

const SHIP_TO = {
  name: '株式会社アクメ 第2倉庫',
  line1: '銀座1丁目2-3',
  city: '東京都',
  region: '中央区',
  postal_code: '104-0061',
  country: 'JP',
}

/** Places orders of one piece of a product with enough of them, for a customer of its own. */
async function desk(system: TestSystem, { customer: ofCustomer = {}, product: ofProduct = {} } = {}) {
  const customer = await newCustomer(system, ofCustomer)
  const product = await newProduct(system, { stock: 1000, ...ofProduct })
  const bodyOf = (fields: Fields = {}) => ({
    customer_id: customer.id,
    items: [{ product_id: product.id, qty: 1 }],
    ...fields,
  })
  const place = (fields: Fields = {}, request: ApiRequest = {}) =>
    system.orders.post('/orders', bodyOf(fields), request)
  const preview = (fields: Fields = {}) => system.orders.post('/orders/preview', bodyOf(fields))
  return { customer, product, place, preview, bodyOf }
}

function keyed(key = newKey()): ApiRequest {
  return { headers: { 'idempotency-key': key } }
}

function update(system: TestSystem, id: number, change: Fields, request: ApiRequest = {}): Promise<ApiResponse> {
  return system.orders.patch(`/orders/${id}`, change, request)
}

function cancel(system: TestSystem, id: number): Promise<ApiResponse> {
  return system.orders.post(`/orders/${id}/cancel`)
}

function expectPathRefused(response: ApiResponse, path: string): void {
  expectProblem(response, 400, 'validation_failed')
  expect(response.body.errors.map((error: { path: string }) => error.path)).toEqual([path])
}

describeEachEngine('the details of an order', (engine) => {
  const system = useSystem(engine)

  it('when an order has details, then it shows them, also in the list and after a confirm', async () => {
    const { customer, product, place } = await desk(system)
    const details = {
      po_number: 'PO 4711/ä',
      ship_to: SHIP_TO,
      requested_delivery_date: '2099-02-28',
      notes: '🚚'.repeat(2000),
      metadata: { cost_center: '4711', empty: '', 'a.b-c_D': '株' },
      currency: 'USD',
    }
    const { status, body, headers } = await place(details, keyed())
    expect(status).toBe(201)
    expect(body).toMatchObject({ ...details, ship_to: { ...SHIP_TO, line2: null }, version: 1 })
    expect(headers.get('etag')).toBe('"1"')
    expect(await orderOf(system, body.id)).toEqual(body)
    const list = `/orders?customer_id=${customer.id}`
    const { items, ...summary } = body
    expect((await system.orders.get(list)).body.data).toEqual([summary])
    expect((await system.orders.get(`${list}&expand=items`)).body.data).toEqual([body])
    expect(items).toMatchObject([{ line: 1, sku: product.sku, name: product.name }])
    const confirmed = await system.orders.post(`/orders/${body.id}/confirm`, undefined, keyed())
    expect(confirmed.body).toEqual({
      ...body,
      status: 'CONFIRMED',
      confirmed_at: expect.any(String),
      expires_at: null,
      version: 2,
    })
  })

  it('when a product gets another SKU and name later, then the order keeps those of then', async () => {
    const { product, place } = await desk(system)
    const { body } = await place()
    await system.orders.patch(`/products/${product.id}`, { name: 'Another name' })
    expect((await orderOf(system, body.id)).items).toMatchObject([{ sku: product.sku, name: product.name }])
  })

  it('when details are null or empty, then they count as absent', async () => {
    const { place } = await desk(system)
    const nothing = { po_number: null, ship_to: null, requested_delivery_date: null, currency: null }
    const { status, body } = await place({ ...nothing, notes: '', metadata: {} })
    expect(status).toBe(201)
    expect(body).toMatchObject({ ...nothing, notes: null, metadata: null })
    const { ship_to } = (await place({ ship_to: { ...SHIP_TO, line2: null, region: null } })).body
    expect(ship_to).toEqual({ ...SHIP_TO, line2: null, region: null })
  })

  it('when metadata has the key __proto__, then it is a key like others', async () => {
    const { place } = await desk(system)
    const metadata = JSON.parse('{"z":"1","__proto__":"2","constructor":"3"}')
    const { status, body } = await place({ metadata }, keyed())
    expect(status).toBe(201)
    expect(Object.entries(body.metadata).sort()).toEqual(Object.entries(metadata).sort())
    expect((await orderOf(system, body.id)).metadata).toEqual(body.metadata)
  })

  it.each<[string, Fields]>([
    ['po_number', { po_number: '' }],
    ['po_number', { po_number: '   ' }],
    ['po_number', { po_number: 'x'.repeat(65) }],
    ['po_number', { po_number: 'PO\n1' }],
    ['po_number', { po_number: 'PO\u200b1' }],
    ['po_number', { po_number: 'PO\ud800' }],
    ['po_number', { po_number: 4711 }],
    ['ship_to.country', { ship_to: { ...SHIP_TO, country: 'UK' } }],
    ['ship_to.country', { ship_to: { ...SHIP_TO, country: 'jp' } }],
    ['ship_to.city', { ship_to: { ...SHIP_TO, city: ' ' } }],
    ['ship_to.attn', { ship_to: { ...SHIP_TO, attn: 'Ann' } }],
    ['requested_delivery_date', { requested_delivery_date: '2027-02-29' }],
    ['requested_delivery_date', { requested_delivery_date: '2099-1-1' }],
    ['requested_delivery_date', { requested_delivery_date: '2099-01-01T00:00:00Z' }],
    ['requested_delivery_date', { requested_delivery_date: '2020-01-01' }],
    ['requested_delivery_date', { requested_delivery_date: '' }],
    ['notes', { notes: '🚚'.repeat(2001) }],
    ['notes', { notes: 'a\0b' }],
    ['metadata', { metadata: [] }],
    ['metadata', { metadata: 'a' }],
    ['metadata', { metadata: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`k${i}`, ''])) }],
    ['metadata.a b', { metadata: { 'a b': '' } }],
    [`metadata.${'k'.repeat(41)}`, { metadata: { ['k'.repeat(41)]: '' } }],
    ['metadata.k', { metadata: { k: 1 } }],
    ['metadata.k', { metadata: { k: 'x'.repeat(501) } }],
    ['currency', { currency: 'usd' }],
    ['currency', { currency: 'DOLLAR' }],
  ])('when %s is wrong, then 400 names it, and a preview too: %j', async (path, fields) => {
    const { place, preview } = await desk(system)
    expectPathRefused(await place(fields), path)
    const { status, body } = await preview(fields)
    const { errors } = status === 200 ? body.problems[0] : body
    expect(errors.map((error: { path: string }) => error.path)).toEqual([path])
  })

  it('when details are at their bounds, then they are accepted', async () => {
    const { place } = await desk(system)
    const metadata = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${i}`.padEnd(40, 'k'), 'ü'.repeat(500)]))
    const { status, body } = await place({ po_number: '語'.repeat(64), metadata, notes: 'line\nline\ttab' })
    expect(status).toBe(201)
    expect(body).toMatchObject({ po_number: '語'.repeat(64), metadata, notes: 'line\nline\ttab' })
  })

  it('when the currency is another one, then 422 currency_mismatch names the right one', async () => {
    const { place } = await desk(system)
    const response = await place({ currency: 'EUR' })
    expectProblem(response, 422, 'currency_mismatch')
    expect(response.body.currency).toBe('USD')
  })

  it('when only one detail differs, then the same key is refused', async () => {
    const { place } = await desk(system)
    const details = {
      po_number: 'A',
      ship_to: SHIP_TO,
      requested_delivery_date: '2099-01-01',
      notes: 'n',
      metadata: { a: '1', b: '2' },
      currency: 'USD',
    }
    const key = newKey()
    const first = await place(details, keyed(key))
    expect(first.status).toBe(201)
    const reordered = await place({ ...details, metadata: { b: '2', a: '1' } }, keyed(key))
    expect([reordered.text, reordered.headers.get('idempotent-replayed')]).toEqual([first.text, 'true'])
    for (const name of Object.keys(details)) {
      expectProblem(await place({ ...details, [name]: undefined }, keyed(key)), 422, 'idempotency_key_reused')
    }
  })

  it('when a requested date has passed since, or a product went, then a retry is a replay', async () => {
    const { product, place } = await desk(system)
    const today = dayIn('UTC', await readClock(system.db))
    const key = newKey()
    const first = await place({ requested_delivery_date: today }, keyed(key))
    expect(first.status).toBe(201)
    await system.db.updateTable('products').set({ active: 0 }).where('id', '=', product.id).execute()
    const ahead = await serveOrders(system, { orders: { ...system.env.orders, timeZone: 'Pacific/Kiritimati' } })
    const behind = { customer_id: first.body.customer_id, items: [{ product_id: product.id, qty: 1 }] }
    for (const api of [system.orders, ahead.api]) {
      const again = await api.post('/orders', { ...behind, requested_delivery_date: today }, keyed(key))
      expect([again.status, again.text]).toEqual([201, first.text])
    }
    expectProblem(await place(), 422, 'product_inactive')
  })

  it('when the day changes between two time zones, then each has its own today', async () => {
    const { bodyOf } = await desk(system)
    const now = await readClock(system.db)
    for (const timeZone of ['Pacific/Kiritimati', 'Etc/GMT+12', 'UTC']) {
      const { api } = await serveOrders(system, { orders: { ...system.env.orders, timeZone } })
      const today = dayIn(timeZone, now)
      const yesterday = dayIn(timeZone, addDays(now, -1))
      expect((await api.post('/orders', bodyOf({ requested_delivery_date: today }))).status).toBe(201)
      const late = await api.post('/orders', bodyOf({ requested_delivery_date: yesterday }))
      expectPathRefused(late, 'requested_delivery_date')
    }
  })

  it('when many orders have the longest details at once, then all are placed', async () => {
    const { place } = await desk(system)
    const metadata = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key${i}`, '€'.repeat(500)]))
    for (let round = 0; round < 3; round++) {
      const placed = await atOnce(256, () => place({ metadata, notes: '€'.repeat(2000) }, keyed()))
      expect(statusCounts(placed)).toEqual({ 201: 256 })
    }
  })
})

describeEachEngine('a PO number', (engine) => {
  const system = useSystem(engine)

  it('when another order has it, in other letters too, then 409 with the id of that order', async () => {
    const { place } = await desk(system)
    const { body } = await place({ po_number: 'Ä-1' })
    for (const po_number of ['Ä-1', ' ä-1 ', 'A\u0308-1', '\u3000ä-1']) {
      const response = await place({ po_number })
      expectProblem(response, 409, 'po_number_taken')
      expect(response.body.order_id).toBe(body.id)
    }
    expect((await place({ po_number: 'Ä-2' })).status).toBe(201)
    expect((await (await desk(system)).place({ po_number: 'Ä-1' })).status).toBe(201)
  })

  it('when the order with it is canceled or expires, then it is free again', async () => {
    const { place } = await desk(system)
    for (const end of [
      (id: number) => cancel(system, id),
      async (id: number) => {
        await endHold(system, id)
        await system.sweeps.releaseExpiredHolds()
      },
      // Not swept yet: an ended hold does not keep it.
      (id: number) => endHold(system, id),
    ]) {
      const { status, body } = await place({ po_number: 'PO' })
      expect(status).toBe(201)
      expectProblem(await place({ po_number: 'PO' }), 409, 'po_number_taken')
      await end(body.id)
    }
    const last = await place({ po_number: 'PO', confirm: true }, keyed())
    expect(last.status).toBe(201)
    await system.orders.post(`/orders/${last.body.id}/cancel`)
    expect((await place({ po_number: 'PO' })).status).toBe(201)
  })

  it('when an ended hold had it, then the hold is canceled and its stock returns once', async () => {
    const { product, place } = await desk(system, { product: { stock: 1 } })
    const { body } = await place({ po_number: 'PO' })
    await endHold(system, body.id)
    expect((await place({ po_number: 'PO' })).status).toBe(201)
    expect((await orderOf(system, body.id)).status).toBe('CANCELED')
    expect(await stockOf(system, product.id)).toBe(0)
  })

  it('when the customer may use it twice or needs one, then its policy says so', async () => {
    const free = await desk(system, { customer: { po_policy: 'free' } })
    for (const _ of [1, 2]) expect((await free.place({ po_number: 'PO' })).status).toBe(201)
    await system.db.updateTable('customers').set({ po_policy: 'unique' }).where('id', '=', free.customer.id).execute()
    expectProblem(await free.place({ po_number: 'PO' }), 409, 'po_number_taken')
    const required = await desk(system, { customer: { po_policy: 'required' } })
    expectProblem(await required.place(), 422, 'po_number_required')
    expect((await required.place({ po_number: 'PO' })).status).toBe(201)
    expectProblem(await required.place({ po_number: 'po' }), 409, 'po_number_taken')
  })

  it('when a key is sent again, then it is a replay, not a conflict with itself', async () => {
    const { place } = await desk(system)
    const key = newKey()
    const first = await place({ po_number: 'PO' }, keyed(key))
    const again = await atOnce(20, () => place({ po_number: 'PO' }, keyed(key)))
    expect(new Set(again.map(({ text }) => text))).toEqual(new Set([first.text]))
  })

  it.each(['one key', 'a key each'])(
    'when 200 orders at two instances have one and %s, then one is placed',
    async (keys) => {
      const { customer, place, bodyOf } = await desk(system)
      const other = await serveOrders(system, {})
      const shared = newKey()
      const responses = await atOnce(200, (i) => {
        const request = keyed(keys === 'one key' ? shared : newKey())
        const fields = { po_number: i % 2 === 0 ? 'PO-1' : 'po-1 ' }
        return i % 4 < 2
          ? place(keys === 'one key' ? { po_number: 'PO-1' } : fields, request)
          : other.api.post('/orders', bodyOf(keys === 'one key' ? { po_number: 'PO-1' } : fields), request)
      })
      const orders = (await system.orders.get(`/orders?customer_id=${customer.id}`)).body.data
      expect(orders).toHaveLength(1)
      if (keys === 'one key') {
        expect(new Set(responses.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
        expect(responses[0]?.status).toBe(201)
        return
      }
      expect(statusCounts(responses)).toEqual({ 201: 1, 409: 199 })
      for (const refused of responses.filter(({ status }) => status === 409)) {
        expectProblem(refused, 409, 'po_number_taken')
        expect(refused.body.order_id).toBe(orders[0].id)
      }
      // Canceled once, it is free once.
      await cancel(system, orders[0].id)
      expect(statusCounts(await atOnce(20, () => place({ po_number: 'PO-1' })))).toEqual({ 201: 1, 409: 19 })
    },
  )

  it('when orders are listed by it, then case does not matter, and customers can be told', async () => {
    const [a, b] = [await desk(system), await desk(system)]
    const po_number = `PO ${newKey()}`
    const [first, second] = [await a.place({ po_number }), await b.place({ po_number })]
    await cancel(system, first.body.id)
    const third = await a.place({ po_number: po_number.toUpperCase() })
    const listed = async (query: string) =>
      idsOf(await readPages(system.orders, `/orders?limit=1&po_number=${encodeURIComponent(po_number)}${query}`))
    expect(await listed('')).toEqual([third.body.id, second.body.id, first.body.id])
    expect(await listed(`&customer_id=${a.customer.id}`)).toEqual([third.body.id, first.body.id])
    expect(await listed(`&customer_id=${a.customer.id}&status=CANCELED`)).toEqual([first.body.id])
    expect(await listed('0')).toEqual([])
  })
})

describeEachEngine('quantity rules', (engine) => {
  const system = useSystem(engine)

  it('when lines of a product together are no right quantity, then 422 with the nearest', async () => {
    const { product, place } = await desk(system, { product: { min_qty: 12, qty_step: 12, max_qty: 36 } })
    const ofQuantities = (...quantities: number[]) =>
      place({ items: quantities.map((qty) => ({ product_id: product.id, qty })) })
    for (const [quantities, nearest] of [
      [[1], [null, 12]],
      [
        [12, 1],
        [12, 24],
      ],
      [[47], [36, null]],
    ] as const) {
      const response = await ofQuantities(...quantities)
      expectProblem(response, 422, 'quantity_not_allowed')
      const requested = quantities.reduce<number>((sum, qty) => sum + qty, 0)
      const rule = { min_qty: 12, qty_step: 12, max_qty: 36 }
      expect(response.body.lines).toEqual([{ product_id: product.id, requested, ...rule, nearest }])
    }
    expect((await ofQuantities(5, 7)).status).toBe(201)
  })
})

describeEachEngine('PATCH /orders/:id', (engine) => {
  const system = useSystem(engine)

  it('when details change, then the others, the lines and the prices stay', async () => {
    const { place } = await desk(system)
    const { body } = await place({ po_number: 'PO', notes: 'old', metadata: { a: '1' }, ship_to: SHIP_TO })
    const change = { notes: 'new', ship_to: { ...SHIP_TO, city: 'Ōsaka' } }
    const response = await update(system, body.id, { ...change, metadata: null })
    expect(response.status).toBe(200)
    expect(response.headers.get('etag')).toBe('"2"')
    expect(response.body).toEqual({ ...body, ...change, ship_to: { ...change.ship_to, line2: null }, version: 2 })
    expect(await orderOf(system, body.id)).toEqual(response.body)
  })

  it('when values are empty, then they remove notes, metadata and the date', async () => {
    const { place } = await desk(system)
    const { body } = await place({ notes: 'n', metadata: { a: '1' }, requested_delivery_date: '2099-01-01' })
    const { status, body: after } = await update(system, body.id, {
      notes: '',
      metadata: {},
      requested_delivery_date: '',
    })
    expect(status).toBe(200)
    expect(after).toEqual({ ...body, notes: null, metadata: null, requested_delivery_date: null, version: 2 })
  })

  it.each<[Fields, string]>([
    [{}, ''],
    [{ notes: null }, ''],
    [{ notes: 'n', items: [] }, 'items'],
    [{ notes: 'n', po_number: 'A' }, 'po_number'],
    [{ requested_delivery_date: '2020-01-01' }, 'requested_delivery_date'],
    [{ ship_to: { ...SHIP_TO, country: 'XX' } }, 'ship_to.country'],
  ])('when a change is %j, then 400', async (change, path) => {
    const { place } = await desk(system)
    const { body } = await place()
    expectPathRefused(await update(system, body.id, change), path)
    expect(await orderOf(system, body.id)).toEqual(body)
  })

  it('when If-Match names another version, then 412, and only the first of two changes is made', async () => {
    const { place } = await desk(system)
    const { body } = await place()
    const both = await atOnce(2, (i) => update(system, body.id, { notes: `${i}` }, { headers: { 'if-match': '"1"' } }))
    expect(statusCounts(both)).toEqual({ 200: 1, 412: 1 })
    expect((await orderOf(system, body.id)).version).toBe(2)
    expect((await system.orders.get(`/orders/${body.id}`, { headers: { 'if-none-match': '"2"' } })).status).toBe(304)
  })

  it('when the order is canceled or its hold has ended, then 409 order_canceled', async () => {
    const { place } = await desk(system)
    const [canceled, ended] = [await place(), await place()]
    await cancel(system, canceled.body.id)
    await endHold(system, ended.body.id)
    for (const { body } of [canceled, ended]) {
      expectProblem(await update(system, body.id, { notes: 'n' }), 409, 'order_canceled')
    }
  })

  it('when a change is sent again with its key, then it is made once', async () => {
    const { place } = await desk(system)
    const { body } = await place()
    const key = newKey()
    const answers = await atOnce(10, () => update(system, body.id, { notes: 'n' }, keyed(key)))
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect((await orderOf(system, body.id)).version).toBe(2)
    expectProblem(await update(system, body.id, { notes: 'm' }, keyed(key)), 422, 'idempotency_key_reused')
    expect((await system.orders.get(`/idempotency-keys?key=${key}`)).body.data).toMatchObject([
      { operation: 'orders.update', order: { id: body.id } },
    ])
  })

  it('when a change races confirms and cancels, then each is made once and versions count them', async () => {
    const { place } = await desk(system)
    const { body } = await place()
    await Promise.all([
      update(system, body.id, { notes: 'a' }),
      system.orders.post(`/orders/${body.id}/confirm`, undefined, keyed()),
      update(system, body.id, { metadata: { a: '1' } }),
    ])
    expect(await orderOf(system, body.id)).toMatchObject({ version: 4, notes: 'a', metadata: { a: '1' } })
  })

  it('when a bound client changes an order of another customer, then 404', async () => {
    const [own, other] = [await desk(system), await desk(system)]
    const token = await system.token({ customerId: own.customer.id })
    const [mine, theirs] = [await own.place(), await other.place()]
    expect((await update(system, mine.body.id, { notes: 'n' }, { token })).status).toBe(200)
    expectProblem(await update(system, theirs.body.id, { notes: 'n' }, { token }), 404, 'not_found')
  })
})

describeEachEngine('POST /orders/preview', (engine) => {
  const system = useSystem(engine)

  it('when an order would be placed, then its lines and total, and nothing is taken', async () => {
    const { product, place, preview, customer } = await desk(system, { product: { price_cents: 250 } })
    const { status, body } = await preview({ po_number: 'PO' })
    expect(status).toBe(200)
    expect(await stockOf(system, product.id)).toBe(1000)
    expect((await system.orders.get(`/orders?customer_id=${customer.id}`)).body.data).toEqual([])
    const placed = await place({ po_number: 'PO' })
    const { items, total_cents } = placed.body
    expect(body).toEqual({ acceptable: true, total_cents, items, problems: [] })
  })

  it('when an order has several faults, then all are there, the first as placing answers', async () => {
    const { product, place, preview } = await desk(system, { product: { qty_step: 6, stock: 10 } })
    const first = await place({ po_number: 'PO', items: [{ product_id: product.id, qty: 6 }] })
    const fields = {
      po_number: 'po',
      currency: 'EUR',
      items: [
        { product_id: product.id, qty: 7 },
        { product_id: 9_007_199_254_740_991, qty: 1 },
      ],
    }
    const { body } = await preview(fields)
    expect(body).toMatchObject({ acceptable: false, total_cents: 7000, items: [{ product_id: product.id, qty: 7 }] })
    expect(body.problems.map(({ code }: { code: string }) => code)).toEqual([
      'currency_mismatch',
      'product_not_found',
      'quantity_not_allowed',
      'po_number_taken',
      'insufficient_stock',
    ])
    expect(body.problems[3]).toMatchObject({ status: 409, order_id: first.body.id })
    const { body: refusal } = await place(fields)
    expect({ ...body.problems[0], request_id: null }).toEqual({ ...refusal, request_id: null })
  })

  it('when ended holds have the stock and the PO number, then both count as free', async () => {
    const { place, preview } = await desk(system, { product: { stock: 1 } })
    const { body } = await place({ po_number: 'PO' })
    expect((await preview({ po_number: 'PO' })).body.problems).toHaveLength(2)
    await endHold(system, body.id)
    expect((await preview({ po_number: 'PO' })).body).toMatchObject({ acceptable: true, problems: [] })
    expect((await place({ po_number: 'PO' })).status).toBe(201)
  })

  it('when ended and live orders have the PO number, then it is taken, in whichever order they are found', async () => {
    // The place of an order among those with its PO number is random.
    for (let i = 0; i < 8; i++) {
      const { customer, place, preview } = await desk(system, { customer: { po_policy: 'free' } })
      const [ended, live] = [await place({ po_number: 'PO' }), await place({ po_number: 'PO' })]
      await endHold(system, ended.body.id)
      await system.db.updateTable('customers').set({ po_policy: 'unique' }).where('id', '=', customer.id).execute()
      const { problems } = (await preview({ po_number: 'PO' })).body
      expect(problems).toMatchObject([{ code: 'po_number_taken', order_id: live.body.id }])
      expectProblem(await place({ po_number: 'PO' }), 409, 'po_number_taken')
    }
  })

  it('when a bound client previews, then its limits count, and other customers do not exist', async () => {
    const [own, other] = [await desk(system), await desk(system)]
    const token = await system.token({ customerId: own.customer.id })
    const preview = (body: object) => system.orders.post('/orders/preview', body, { token })
    const { body } = await preview(own.bodyOf({ hold_minutes: 10_080 }))
    expect(body.problems).toMatchObject([{ code: 'validation_failed', errors: [{ path: 'hold_minutes' }] }])
    expectProblem(await preview(other.bodyOf()), 404, 'not_found')
  })

  it.each(['GET', 'PATCH', 'DELETE'])('when its path is called with %s, then 405 with Allow', async (method) => {
    const response = await system.orders.call(method, '/orders/preview')
    expectProblem(response, 405, 'method_not_allowed')
    expect(response.headers.get('allow')).toBe('POST')
  })

  it('when the total is too large, then it is null and a problem', async () => {
    const { product, preview } = await desk(system, { product: { price_cents: 100_000_000_000 } })
    const { body } = await preview({ items: [{ product_id: product.id, qty: 1_000_000 }] })
    expect([body.total_cents, body.items]).toEqual([null, []])
    expect(body.problems.map(({ code }: { code: string }) => code)).toEqual(['insufficient_stock', 'amount_too_large'])
  })
})

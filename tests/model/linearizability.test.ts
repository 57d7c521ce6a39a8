import { describe, expect, it } from 'vitest'
import type { Event } from '../../src/events/event-response.ts'
import { linearize, type Observed } from './linearizability.ts'
import { type Call, type Caller, type Seen, stateOf } from './model.ts'

// Histories made by hand: what the model must not find an order for, and what it must.

const TIME = '2026-01-05T09:00:00.000Z'
const LATER = '2026-01-05T09:00:01.000Z'
const customer = {
  id: 1,
  name: 'Ann',
  email: 'ann@example.com',
  phone: null,
  external_id: null,
  po_policy: 'unique',
  created_at: TIME,
  updated_at: TIME,
  version: 1,
}
const product = {
  id: 1,
  sku: 'A',
  name: 'A',
  price_cents: 100,
  stock: 1,
  created_at: TIME,
  updated_at: TIME,
  version: 1,
}
const rules = { active: true, min_qty: 1, qty_step: 1, max_qty: null, unit: 'pc', stock_low_at: null }
const one = [{ product_id: 1, qty: 1 }]
const priced = { product_id: 1, qty: 1, unit_price_cents: 100, subtotal_cents: 100 }
const line = { ...priced, line: 1, sku: 'A', name: 'A' }
const times = { created_at: TIME, confirmed_at: null, canceled_at: null, expires_at: LATER }
const details = {
  po_number: null,
  requested_delivery_date: null,
  ship_to: null,
  notes: null,
  metadata: null,
  currency: null,
}
const origin = { placed_by: 'client:all', version: 1 }
const order = {
  id: 5,
  customer_id: 1,
  status: 'CREATED',
  total_cents: 100,
  items: [line],
  ...times,
  ...details,
  ...origin,
}
const confirmed = { ...order, status: 'CONFIRMED', confirmed_at: LATER, expires_at: null, version: 2 }
const canceled = { ...order, status: 'CANCELED', canceled_at: LATER, version: 2 }

type Step = [call: Call, seen: Seen]

function seen(status: number, body: object, more: Partial<Seen> = {}): Seen {
  return { status, body, text: JSON.stringify(body), etag: null, location: null, replayed: false, ...more }
}

function placed(id: number, key?: string, more: Partial<Seen> = {}): Step {
  const call: Call = { verb: 'placeOrder', by: 'all', customer_id: 1, items: one, key }
  return [call, seen(201, { ...order, id }, { etag: '"1"', location: `orders/${id}`, ...more })]
}

function placedWithPo(id: number, po_number: string): Step {
  const call: Call = { verb: 'placeOrder', by: 'all', customer_id: 1, items: one, po_number }
  return [call, seen(201, { ...order, id, po_number }, { etag: '"1"', location: `orders/${id}` })]
}

function poTaken(po_number: string, order_id: number): Step {
  return [placedWithPo(0, po_number)[0], seen(409, { code: 'po_number_taken', order_id })]
}

function refusedForStock(): Step {
  const lines = [{ product_id: 1, requested: 1, available: 0 }]
  return [placed(0)[0], seen(409, { code: 'insufficient_stock', lines })]
}

function renamed(name: string, version: number): Step {
  const fields = { name, email: customer.email }
  const body = { ...customer, name, version, updated_at: LATER }
  return [
    { verb: 'replaceCustomer', by: 'all', id: 1, fields, ifMatch: '"1"' },
    seen(200, body, { etag: `"${version}"` }),
  ]
}

const tooLate = (): Step => [renamed('Cid', 2)[0], seen(412, { code: 'precondition_failed' })]
const done = (verb: 'confirmOrder' | 'cancelOrder', body: { version: number }): Step => [
  { verb, by: 'all', id: 5, ...(verb === 'confirmOrder' && { key: 'k' }) },
  seen(200, body, { etag: `"${body.version}"` }),
]
const refusedAsCanceled = (): Step => [done('confirmOrder', confirmed)[0], seen(409, { code: 'order_canceled' })]

function stockRead(stock: number, version: number): Step {
  const body = { ...product, ...rules, stock, version, updated_at: version === 1 ? TIME : LATER }
  return [{ verb: 'getProduct', by: 'all', id: 1 }, seen(200, body, { etag: `"${version}"` })]
}

function listed(ids: number[], cursor: string | null, afterId?: number): Step {
  const { items: _, ...summary } = order
  const after = afterId === undefined ? undefined : { cursor: 'c', row: { ...summary, id: afterId } }
  const data = ids.map((id) => ({ ...summary, id }))
  const call: Call = { verb: 'listOrders', by: 'all', customer_id: 1, limit: 2, ...(after && { after }) }
  return [call, seen(200, { data, next_cursor: cursor })]
}

function orchestrated(id: number, replayed = false): Step {
  const call: Call = { verb: 'createAndConfirm', by: 'all', customer_id: 1, items: one, key: 'k' }
  const { name, email, phone } = customer
  const data = {
    customer: { id: 1, name, email, phone },
    order: { id, status: 'CONFIRMED', total_cents: 100, items: [priced] },
  }
  return [call, seen(201, { success: true, correlationId: 'model', data }, { replayed })]
}

const PRINCIPALS = { all: 'client:all', bound: 'client:bound', other: 'client:other' }
const canceledWithPo = { ...canceled, po_number: 'A' }

/** Each branch makes its calls one after another, and each is there for all of the time. */
function atOnce(...branches: Step[][]): Observed[][] {
  return branches.map((steps) => steps.map(([call, seen], i) => ({ call, seen, sent: i, answered: 1_000 + i })))
}

/** The same call, after those of a beginning. */
function later(observed: Observed): Observed {
  return { ...observed, sent: observed.sent + 10 }
}

/** Each call is answered before the next is sent, whoever makes it. */
function inTurn(...steps: Step[]): Observed[][] {
  return steps.map(([call, seen], i) => [{ call, seen, sent: 2 * i, answered: 2 * i + 1 }])
}

function isExplained(branches: Observed[][], stock = 1): boolean {
  const found = linearize(stateOf([customer], [{ ...product, stock }], PRINCIPALS), branches)
  return 'cases' in found
}

describe('an order of calls that the model can follow', () => {
  it.each([
    ['the last piece is sold once', atOnce([placed(5)], [refusedForStock()])],
    ['who asked first is refused', atOnce([refusedForStock()], [placed(5)])],
    ['one of two writers is too late', atOnce([renamed('Bob', 2)], [tooLate()])],
    ['one key is used by two at once', atOnce([placed(5, 'k')], [placed(5, 'k', { replayed: true })])],
    ['one key is sent to the orchestrator by two at once', atOnce([orchestrated(5)], [orchestrated(5, true)])],
    ['a read during a sale sees what was before', atOnce([placed(5)], [stockRead(1, 1), stockRead(0, 2)])],
    ['stock is back after a cancel', inTurn(placed(5), done('cancelOrder', canceled), stockRead(1, 3))],
    ['a PO number is taken by another', atOnce([placedWithPo(5, 'A')], [poTaken('a', 5)])],
    [
      'a PO number is free after a cancel',
      inTurn(placedWithPo(5, 'A'), done('cancelOrder', canceledWithPo), placedWithPo(6, 'a')),
    ],
    ['confirm comes too late', inTurn(placed(5), done('cancelOrder', canceled), refusedAsCanceled())],
  ])('when %s, then it is found', (_, branches) => {
    expect(isExplained(branches)).toBe(true)
  })

  it('when orders come while a list is read, then older ones appear exactly once', () => {
    const placing = inTurn(placed(5), placed(6), placed(7))
    const readingWhileOneIsPlaced = (...reading: Step[]) => {
      return [...placing, ...atOnce(reading, [placed(8)]).map((calls) => calls.map(later))]
    }
    const reading = (...pages: Step[]) => isExplained(readingWhileOneIsPlaced(...pages), 9)
    expect(reading(listed([7, 6], 'c'), listed([5], null, 6))).toBe(true)
    expect(reading(listed([8, 7], 'c'), listed([6, 5], null, 7))).toBe(true)
    expect(reading(listed([7, 6], 'c'), listed([6, 5], null, 6))).toBe(false)
    expect(reading(listed([8, 7], 'c'), listed([5], null, 7))).toBe(false)
  })

  it.each([
    ['the last piece is sold twice', atOnce([placed(5)], [placed(6)])],
    ['both of two writers are in time', atOnce([renamed('Bob', 2)], [renamed('Cid', 3)])],
    ['a refusal had no reason', inTurn(refusedForStock(), placed(5))],
    ['a replay is not the same bytes', atOnce([placed(5, 'k')], [placed(5, 'k', { replayed: true, text: '{}' })])],
    [
      'an order is confirmed after it was canceled',
      inTurn(placed(5), done('cancelOrder', canceled), done('confirmOrder', confirmed)),
    ],
    [
      'stock comes back twice',
      inTurn(placed(5), done('cancelOrder', canceled), done('cancelOrder', canceled), stockRead(2, 4)),
    ],
    ['a read goes back in time', inTurn(placed(5), stockRead(0, 2), stockRead(1, 1))],
    ['a read does not see what was answered before', inTurn(placed(5), stockRead(1, 1))],
    ['an id is given twice', atOnce([placed(5), done('cancelOrder', canceled)], [placed(5)])],
    ['a version does not rise', inTurn(placed(5), stockRead(0, 1))],
  ])('when %s, then there is none', (_, branches) => {
    expect(isExplained(branches)).toBe(false)
  })

  it.each([
    ['placed', atOnce([placed(5, 'k')], [placed(6, 'k')])],
    ['orchestrated', atOnce([orchestrated(5)], [orchestrated(6)])],
  ])('when two orders are %s under one key, then there is none, however much stock there is', (_, branches) => {
    expect(isExplained(branches, 9)).toBe(false)
  })

  it.each([
    ['repeats a row', [listed([7, 6], 'c'), listed([6, 5], null, 6)]],
    ['skips a row', [listed([7, 6], 'c'), listed([], null, 6)]],
    ['ends too early', [listed([7, 6], null)]],
    ['is out of order', [listed([6, 7], 'c'), listed([5], null, 7)]],
  ])('when a list %s, then there is none', (_, reading) => {
    const placing = [placed(5), placed(6), placed(7)]
    expect(isExplained(inTurn(...placing, listed([7, 6], 'c'), listed([5], null, 6)), 9)).toBe(true)
    expect(isExplained(inTurn(...placing, ...reading), 9)).toBe(false)
  })

  it.each([
    ['is used twice', atOnce([placedWithPo(5, 'A')], [placedWithPo(6, 'a')])],
    ['is taken by an order without it', inTurn(placedWithPo(5, 'A'), poTaken('A', 6))],
    ['stays taken', inTurn(placedWithPo(5, 'A'), done('cancelOrder', canceledWithPo), poTaken('A', 5))],
  ])('when a PO number %s, then there is none, however much stock there is', (_, branches) => {
    expect(isExplained(branches, 9)).toBe(false)
  })
})

describe('a feed that the model can follow', () => {
  /** The body of a type's event of order 5, as the steps above make it. */
  const event = (type: string, order: Event['data'][string], version: number, more: Partial<Event> = {}): Event => ({
    id: `evt_${version}`,
    type,
    timestamp: LATER,
    position: version,
    resource: { type: 'order', id: 5, version },
    actor: { type: 'client', id: 'all' },
    correlation_id: null,
    data: { order },
    ...more,
  })
  const previous = { status: 'CREATED', canceled_at: null }
  const PLACED = event('order.placed', order, 1)
  const CANCELED = event('order.canceled', canceled, 2, { data: { order: canceled, previous, reason: 'requested' } })
  const STEPS = inTurn(placed(5), done('cancelOrder', canceled))

  function follows(events: Event[], branches: Observed[][] = STEPS): boolean {
    return 'cases' in linearize(stateOf([customer], [product], PRINCIPALS), branches, { events })
  }

  it('when each step has its event, then it is found', () => {
    expect(follows([PLACED, CANCELED])).toBe(true)
    expect(follows([], inTurn(stockRead(1, 1)))).toBe(true)
  })

  it.each<[string, Event[]]>([
    ['has no event', [PLACED]],
    ['has an event of another version', [PLACED, { ...CANCELED, resource: { ...CANCELED.resource, version: 3 } }]],
    ['has an event of another caller', [PLACED, { ...CANCELED, actor: { type: 'client', id: 'other' } }]],
    ['has an event of another request', [PLACED, { ...CANCELED, correlation_id: 'x' }]],
    ['has an event with another reason', [PLACED, { ...CANCELED, data: { ...CANCELED.data, reason: 'hold_expired' } }]],
    ['has an event without a reason', [PLACED, { ...CANCELED, data: { order: canceled, previous } }]],
    ['has an event with other old values', [PLACED, { ...CANCELED, data: { ...CANCELED.data, previous: {} } }]],
    ['has an event with another state', [PLACED, { ...CANCELED, data: { ...CANCELED.data, order } }]],
    ['has an event too many', [PLACED, CANCELED, event('order.updated', canceled, 3)]],
  ])('when a step %s, then there is none', (_, events) => {
    expect(follows(events)).toBe(false)
  })

  it('when a refused order has an event, then there is none', () => {
    const refused = atOnce([placed(5)], [refusedForStock()])
    expect(follows([PLACED], refused)).toBe(true)
    expect(follows([PLACED, event('order.placed', { ...order, id: 6 }, 1)], refused)).toBe(false)
  })

  it('when two callers cancel at once, then the event says who did', () => {
    const by = (caller: Caller): Step => [{ verb: 'cancelOrder', by: caller, id: 5 }, done('cancelOrder', canceled)[1]]
    const raced = [...inTurn(placed(5)), ...atOnce([by('all')], [by('other')]).map((calls) => calls.map(later))]
    const byOther = { ...CANCELED, actor: { type: 'client' as const, id: 'other' } }
    expect(follows([PLACED, CANCELED], raced)).toBe(true)
    expect(follows([PLACED, byOther], raced)).toBe(true)
    expect(follows([PLACED, CANCELED, byOther], raced)).toBe(false)
  })
})

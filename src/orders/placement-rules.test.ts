import { expect, it } from 'vitest'
import { AppError } from '../platform/core/errors.ts'
import {
  type Decision,
  decidePlacements,
  type Facts,
  type OrderableProduct,
  type OrderRequest,
  previewPlacement,
  TakenInBatch,
} from './placement-rules.ts'

const SOLD_SINGLY = { sku: 'A', name: 'Product A', active: 1, min_qty: 1, qty_step: 1, max_qty: null }

const PRODUCTS = new Map<number, OrderableProduct>([
  [1, Object.freeze({ ...SOLD_SINGLY, price_cents: 500, stock: 10 })],
  [2, Object.freeze({ ...SOLD_SINGLY, price_cents: 250, stock: 3 })],
  [3, Object.freeze({ ...SOLD_SINGLY, price_cents: 9_007_199_254_740_991, stock: 5 })],
  [4, Object.freeze({ ...SOLD_SINGLY, price_cents: 10, stock: 100, min_qty: 12, qty_step: 12, max_qty: 60 })],
  [5, Object.freeze({ ...SOLD_SINGLY, price_cents: 10, stock: 100, active: 0 })],
])

/** Customer 3 may use a PO number twice, customer 4 needs one. */
const POLICIES = { 1: 'unique', 2: 'unique', 3: 'free', 4: 'required' } as const

function facts(given: { openHolds?: Record<number, number>; poHolders?: Record<string, number> } = {}): Facts {
  const holds = Object.entries(given.openHolds ?? {}).map(([id, count]): [number, number] => [Number(id), count])
  return {
    products: PRODUCTS,
    customers: new Map(Object.entries(POLICIES).map(([id, po_policy]) => [Number(id), { po_policy }])),
    openHolds: new Map(holds),
    poHolders: new Map(Object.entries(given.poHolders ?? {})),
    today: '2026-11-26',
    currency: 'EUR',
  }
}

/** @param lines each a product and a quantity */
function order(lines: [number, number][], more: Partial<OrderRequest> = {}): OrderRequest {
  const items = lines.map(([product_id, qty]) => Object.freeze({ product_id, qty }))
  const terms = { details: {}, holdMinutes: 60, maxHoldMinutes: null, maxOpenHolds: null }
  return Object.freeze({ customerId: 1, items: Object.freeze(items), ...terms, ...more })
}

function outcomeOf(decision: Decision<OrderRequest>) {
  if (decision instanceof TakenInBatch) return 'taken in the batch'
  return decision instanceof AppError ? decision.code : decision.totalCents
}

function outcomes(requests: OrderRequest[], from = facts()) {
  return decidePlacements(requests, from).map(outcomeOf)
}

it('when an order is placed, then it has a line for each item, in order, and a total', () => {
  const [placement] = decidePlacements(
    [
      order([
        [2, 1],
        [1, 2],
      ]),
    ],
    facts(),
  )
  expect(placement).toEqual({
    lines: [
      { product_id: 2, qty: 1, unit_price_cents: 250, subtotal_cents: 250, sku: 'A', name: 'Product A' },
      { product_id: 1, qty: 2, unit_price_cents: 500, subtotal_cents: 1000, sku: 'A', name: 'Product A' },
    ],
    totalCents: 1250,
    poSlot: null,
  })
})

it('when orders share a batch, then each sees the stock that those before it left', () => {
  expect(outcomes([order([[1, 6]]), order([[1, 5]]), order([[1, 4]]), order([[1, 1]])])).toEqual([
    3000,
    'insufficient_stock',
    2000,
    'insufficient_stock',
  ])
})

it('when orders are decided, then no input is mutated', () => {
  const given = facts({ openHolds: { 1: 1 } })
  expect(outcomes([order([[1, 10]])], given)).toEqual([5000])
  expect(outcomes([order([[1, 10]])], given)).toEqual([5000])
  expect(given.openHolds).toEqual(new Map([[1, 1]]))
})

it('when two lines of one product exceed its stock, then the refusal adds them up', () => {
  const [refusal] = decidePlacements(
    [
      order([
        [2, 2],
        [1, 11],
        [2, 2],
      ]),
    ],
    facts(),
  )
  expect(refusal).toMatchObject({
    code: 'insufficient_stock',
    extra: {
      lines: [
        { product_id: 2, requested: 4, available: 3 },
        { product_id: 1, requested: 11, available: 10 },
      ],
    },
  })
})

/** An order that breaks every rule of a live customer but one: it has a PO number, so it does not lack one. */
const WRONG = order(
  [
    [8, 1],
    [5, 1],
    [4, 7],
    [9, 1],
    [8, 1],
    [4, 6],
    [2, 4],
    [3, 2],
  ],
  {
    details: { po_number: 'PO-1', requested_delivery_date: '2026-11-25', currency: 'USD' },
    holdMinutes: 61,
    maxHoldMinutes: 60,
    maxOpenHolds: 2,
  },
)
const AGAINST = facts({ openHolds: { 1: 2 }, poHolders: { '1 po-1': 77 } })

it('when an order breaks several rules, then a preview has all refusals, and placing the first', () => {
  const { problems } = previewPlacement(WRONG, AGAINST)
  expect(problems.map(({ code, extra }) => [code, extra])).toEqual([
    ['validation_failed', { errors: [expect.objectContaining({ path: 'hold_minutes' })] }],
    ['validation_failed', { errors: [expect.objectContaining({ path: 'requested_delivery_date' })] }],
    ['currency_mismatch', { currency: 'EUR' }],
    ['product_not_found', { product_ids: [8, 9] }],
    ['product_inactive', { product_ids: [5] }],
    [
      'quantity_not_allowed',
      { lines: [{ product_id: 4, requested: 13, min_qty: 12, qty_step: 12, max_qty: 60, nearest: [12, 24] }] },
    ],
    ['too_many_holds', { max_open_holds: 2 }],
    ['po_number_taken', { order_id: 77 }],
    ['insufficient_stock', { lines: [{ product_id: 2, requested: 4, available: 3 }] }],
    ['amount_too_large', {}],
  ])
  expect(outcomes([WRONG], AGAINST)).toEqual(['validation_failed'])
  expect(outcomes([{ ...WRONG, customerId: 9 }], AGAINST)).toEqual(['customer_not_found'])
})

it('when a preview has no problem, then it has the lines and total of placing', () => {
  const request = order([[1, 2]], { details: { requested_delivery_date: '2026-11-26', currency: 'EUR' } })
  const { problems, ...preview } = previewPlacement(request, facts())
  expect(problems).toEqual([])
  expect([preview]).toEqual(decidePlacements([request], facts()))
})

it('when orders of a batch have one PO number, then the first gets it, if it is placed', () => {
  const withPo = (po_number: string, lines: [number, number][], customerId = 1) =>
    order(lines, { customerId, details: { po_number } })
  const batch = [
    withPo('A-1', [[2, 9]]),
    withPo('A-1', [[1, 1]]),
    withPo('a-1', [[1, 1]]),
    withPo('A-1', [[1, 1]], 2),
    withPo('A-1', [[1, 1]], 3),
    withPo('A-1', [[1, 1]], 3),
  ]
  expect(outcomes(batch)).toEqual(['insufficient_stock', 500, 'taken in the batch', 500, 500, 500])
  expect(decidePlacements(batch, facts())[2]).toMatchObject({ winner: batch[1] })
})

it('when a customer needs PO numbers, then an order without one is refused', () => {
  expect(outcomes([order([[1, 1]], { customerId: 4 })])).toEqual(['po_number_required'])
  expect(outcomes([order([[1, 1]], { customerId: 4, details: { po_number: 'A' } })])).toEqual([500])
})

it('when a PO number may be used twice, then each order has a slot of its own', () => {
  const twice = [1, 2].map(() => order([[1, 1]], { customerId: 3, details: { po_number: 'A' } }))
  const slots = decidePlacements(twice, facts({ poHolders: { '3 a': 7 } })).map((decision) =>
    'poSlot' in decision ? decision.poSlot : undefined,
  )
  expect(new Set([0, ...slots]).size).toBe(3)
})

it('when the total is the largest safe integer, then it is accepted', () => {
  expect(outcomes([order([[3, 1]])])).toEqual([9_007_199_254_740_991])
})

it('when the total would be too large, then nothing is taken', () => {
  expect(outcomes([order([[3, 5]]), order([[3, 1]])])).toEqual(['amount_too_large', 9_007_199_254_740_991])
})

it('when holds are limited, then orders of the batch count, unless confirmed at once', () => {
  const limited = order([[1, 1]], { maxOpenHolds: 2 })
  const confirmed = order([[1, 1]], { holdMinutes: null })
  const other = order([[1, 1]], { customerId: 2, maxOpenHolds: 2 })
  expect(outcomes([limited, confirmed, confirmed, limited, other], facts({ openHolds: { 1: 1 } }))).toEqual([
    500,
    500,
    500,
    'too_many_holds',
    500,
  ])
})

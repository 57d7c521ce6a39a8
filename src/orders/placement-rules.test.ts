import { expect, it } from 'vitest'
import { AppError } from '../platform/core/errors.ts'
import { decidePlacements, type OrderRequest } from './placement-rules.ts'

const PRODUCTS = new Map<number, { readonly price_cents: number; readonly stock: number }>([
  [1, Object.freeze({ price_cents: 500, stock: 10 })],
  [2, Object.freeze({ price_cents: 250, stock: 3 })],
  [3, Object.freeze({ price_cents: 9_007_199_254_740_991, stock: 5 })],
])

function supply({ openHolds = {} }: { openHolds?: Record<number, number> } = {}) {
  const holds = Object.entries(openHolds).map(([id, count]): [number, number] => [Number(id), count])
  return { products: PRODUCTS, customers: new Set([1, 2]), openHolds: new Map(holds) }
}

/** @param lines each a product and a quantity */
function order(lines: [number, number][], more: Partial<OrderRequest> = {}): OrderRequest {
  const items = lines.map(([product_id, qty]) => Object.freeze({ product_id, qty }))
  return Object.freeze({ customerId: 1, items: Object.freeze(items), holdMinutes: 60, maxOpenHolds: null, ...more })
}

function outcomes(requests: OrderRequest[], from = supply()) {
  return decidePlacements(requests, from).map((decision) =>
    decision instanceof AppError ? decision.code : decision.totalCents,
  )
}

it('when an order is placed, then it has a line for each item, in order, and a total', () => {
  const [placement] = decidePlacements(
    [
      order([
        [2, 1],
        [1, 2],
      ]),
    ],
    supply(),
  )
  expect(placement).toEqual({
    lines: [
      { product_id: 2, qty: 1, unit_price_cents: 250, subtotal_cents: 250 },
      { product_id: 1, qty: 2, unit_price_cents: 500, subtotal_cents: 1000 },
    ],
    totalCents: 1250,
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
  const given = supply({ openHolds: { 1: 1 } })
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
    supply(),
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

it('when an order breaks several rules, then its refusals have a fixed precedence', () => {
  const full = { customerId: 9, maxOpenHolds: 0 }
  const wrong: [number, number][] = [
    [8, 1],
    [9, 1],
    [8, 1],
    [2, 4],
    [3, 2],
  ]
  const known: [number, number][] = [
    [2, 4],
    [3, 2],
  ]
  expect(outcomes([order(wrong, full)])).toEqual(['customer_not_found'])
  const [missing] = decidePlacements([order(wrong, { ...full, customerId: 1 })], supply())
  expect(missing).toMatchObject({ code: 'product_not_found', extra: { product_ids: [8, 9] } })
  expect(outcomes([order(known, { maxOpenHolds: 0 })])).toEqual(['too_many_holds'])
  expect(outcomes([order(known)])).toEqual(['insufficient_stock'])
  expect(outcomes([order([[3, 2]])])).toEqual(['amount_too_large'])
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
  expect(outcomes([limited, confirmed, confirmed, limited, other], supply({ openHolds: { 1: 1 } }))).toEqual([
    500,
    500,
    500,
    'too_many_holds',
    500,
  ])
})

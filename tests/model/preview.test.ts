import fc from 'fast-check'
import { expect, it } from 'vitest'
import { endHold, newCustomer, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'

/**
 * How many random orders are tried on each engine, and from where:
 *     PREVIEW_SEED=7 PREVIEW_ORDERS=10000 npm test -- tests/model/preview.test.ts
 */
const SEED = Number(process.env.PREVIEW_SEED || 1)
const ORDERS = Number(process.env.PREVIEW_ORDERS || 1_000)
const ORDERS_A_RUN = 40

const MISSING = 9_007_199_254_740_991

/** Makes the customers and products of one run, each with a rule of its own. */
async function makeRows(system: TestSystem) {
  const policies = ['unique', 'unique', 'free', 'required']
  const rules = [
    { stock: 30 },
    { stock: 200, min_qty: 4, qty_step: 4, max_qty: 20 },
    { stock: 50, active: false },
    { stock: 1_000_000_000, price_cents: 100_000_000_000 },
  ]
  const customers = await Promise.all(policies.map((po_policy) => newCustomer(system, { po_policy })))
  const products = await Promise.all(rules.map((rule) => newProduct(system, rule)))
  return {
    customers: [...customers.map(({ id }) => id), MISSING],
    products: [...products.map(({ id }) => id), MISSING],
    placed: [] as number[],
  }
}

type Rows = Awaited<ReturnType<typeof makeRows>>

const mostly = <T>(usual: T, ...others: T[]) =>
  fc.oneof({ weight: 8, arbitrary: fc.constant(usual) }, { weight: 2, arbitrary: fc.constantFrom(usual, ...others) })

const anyItem = fc.record({
  product: fc.oneof({ weight: 9, arbitrary: fc.nat(1) }, { weight: 1, arbitrary: fc.nat(4) }),
  qty: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 1, max: 12 }) },
    { weight: 1, arbitrary: fc.constant(1_000_000) },
  ),
})

const anyOrder = fc.record({
  kind: fc.constant('order' as const),
  customer: fc.oneof({ weight: 9, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: fc.constant(4) }),
  items: fc.array(anyItem, { minLength: 1, maxLength: 3 }),
  bound: mostly(false, true),
  fields: fc.record({
    po_number: fc.constantFrom(undefined, undefined, 'A-1', 'a-1', 'B'),
    currency: mostly<string | undefined>(undefined, 'USD', 'EUR'),
    requested_delivery_date: mostly<string | undefined>(undefined, '2099-01-01', '2020-01-01'),
    hold_minutes: mostly<number | undefined>(undefined, 60, 10_080),
  }),
})
const anyEnd = fc.record({ kind: fc.constantFrom('cancel' as const, 'end' as const), which: fc.nat(20) })
const anyHistory = fc.array(fc.oneof({ weight: 4, arbitrary: anyOrder }, { weight: 1, arbitrary: anyEnd }), {
  minLength: ORDERS_A_RUN,
  maxLength: ORDERS_A_RUN,
})

type Step = (typeof anyHistory extends fc.Arbitrary<infer T> ? T : never)[number]

/** Previews an order, places it, and compares. */
async function tryOrder(system: TestSystem, rows: Rows, step: Extract<Step, { kind: 'order' }>): Promise<boolean> {
  const customer_id = rows.customers[step.customer]
  const items = step.items.map(({ product, qty }) => ({ product_id: rows.products[product], qty }))
  const body = { customer_id, items, ...step.fields }
  const token = step.bound && customer_id !== MISSING ? await system.token({ customerId: customer_id ?? 0 }) : undefined
  const request = token === undefined ? {} : { token }
  const preview = await system.orders.post('/orders/preview', body, request)
  expect(preview.status).toBe(200)
  const { acceptable, total_cents, items: lines, problems } = preview.body
  expect(acceptable).toBe(problems.length === 0)
  const placed = await system.orders.post('/orders', body, request)
  if (acceptable) {
    expect([placed.status, placed.body.total_cents, placed.body.items]).toEqual([201, total_cents, lines])
    rows.placed.push(placed.body.id)
  } else {
    const withoutId = (problem: object) => ({ ...problem, request_id: undefined })
    expect(withoutId(placed.body)).toEqual(withoutId(problems[0]))
  }
  return acceptable
}

async function take(system: TestSystem, rows: Rows, step: Step): Promise<boolean | undefined> {
  if (step.kind === 'order') return tryOrder(system, rows, step)
  const id = rows.placed[step.which % Math.max(1, rows.placed.length)]
  if (id === undefined) return undefined
  if (step.kind === 'end') await endHold(system, id)
  else await system.orders.post(`/orders/${id}/cancel`)
  return undefined
}

describeEachEngine('a preview', (engine) => {
  const system = useSystem(engine, { MAX_HOLD_MINUTES: '1440', MAX_OPEN_HOLDS: '3', CANCEL_WINDOW_MINUTES: '10' })
  it('when random orders are tried, then placing does what the preview said', { timeout: 600_000 }, async () => {
    const seen = { accepted: 0, refused: 0 }
    const history = fc.asyncProperty(anyHistory, async (steps) => {
      const rows = await makeRows(system)
      for (const step of steps) {
        const accepted = await take(system, rows, step)
        if (accepted !== undefined) seen[accepted ? 'accepted' : 'refused']++
      }
    })
    await fc.assert(history, { seed: SEED, numRuns: Math.ceil((ORDERS * 1.25) / ORDERS_A_RUN) })
    // A property that sees one of the two only would prove nothing.
    expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(ORDERS / 10)
  })
})

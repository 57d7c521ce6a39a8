import type fc from 'fast-check'
import { expect, it } from 'vitest'
import { auditBooks } from '../src/audit/service.ts'
import { fromRfc3339 } from '../src/platform/time.ts'
import { type Checked, check } from './model/checking.ts'
import { anyRace, anySequence, type History } from './model/histories.ts'
import { LONG_AGO } from './model/model.ts'
import type { ApiClient } from './support/api-client.ts'
import { startInstance } from './support/instances.ts'
import { describeEachEngine, type TestSystem, useSystem } from './support/system.ts'

/**
 * Random histories of calls are made, and a model of what the contract says must explain every answer. They come of a
 * seed, so that a red run means the change and not luck; only how calls of one moment meet is up to the machine. To look
 * further:
 *
 *     MODEL_SEED=7 MODEL_RUNS=2000 npx vitest run tests/model.test.ts
 *
 * What the model can't explain is printed as the smallest history that was found.
 */
const SEED = Number(process.env.MODEL_SEED || 1)
const RUNS = Number(process.env.MODEL_RUNS || 100)
/** No bound for a test: it ends what would hang for ever. */
const LIMIT_MS = 180_000 + 1_000 * RUNS

/** What must have been met, or the test would prove less than it says. */
const CASES = [
  'createCustomer: created',
  "createCustomer: created with a deleted one's e-mail",
  'createCustomer: email_taken, in another case',
  'createCustomer: replayed',
  'createCustomer: bound_client',
  'createCustomer: insufficient_scope',
  'getCustomer: not_found',
  'replaceCustomer: changed, by If-Match',
  'replaceCustomer: precondition_failed',
  'replaceCustomer: email_taken',
  'deleteCustomer: deleted',
  'deleteCustomer: precondition_failed',
  'searchCustomers: a page',
  'searchCustomers: the last page',
  'createProduct: created',
  'createProduct: sku_taken',
  'createProduct: idempotency_key_reused',
  'changeProduct: changed, by If-Match',
  'changeProduct: precondition_failed',
  'adjustStock: adjusted',
  'adjustStock: insufficient_stock',
  'adjustStock: replayed',
  'searchProducts: a page',
  'searchProducts: the last page',
  'placeOrder: placed',
  'placeOrder: placed, two lines of one product',
  'placeOrder: replayed',
  'placeOrder: idempotency_key_reused',
  'placeOrder: insufficient_stock',
  'placeOrder: insufficient_stock, by two lines together',
  'placeOrder: product_not_found',
  'placeOrder: customer_not_found',
  'placeOrder: not_found',
  'getOrder: not_found',
  'confirmOrder: confirmed',
  'confirmOrder: was confirmed already',
  'confirmOrder: replayed',
  'confirmOrder: idempotency_key_required',
  'confirmOrder: idempotency_key_reused',
  'confirmOrder: order_canceled',
  'confirmOrder: order_canceled, its hold had ended',
  'cancelOrder: canceled when CREATED',
  'cancelOrder: canceled when CONFIRMED',
  'cancelOrder: was canceled already',
  'cancelOrder: cancel_window_passed',
  'cancelOrder: left as it is, for it is in another state',
  'listOrders: a page',
  'listOrders: the last page',
  'createAndConfirm: confirmed',
  'createAndConfirm: replayed',
  'createAndConfirm: idempotency_key_reused',
  'createAndConfirm: insufficient_stock',
  'createAndConfirm: not_found',
  'releaseExpiredHolds: released',
]

describeEachEngine('any history of calls', (engine) => {
  const system = useSystem(engine)

  async function expectExplained(histories: fc.Arbitrary<History>, instances: ApiClient[]): Promise<Checked> {
    const checked = await check(histories, { system, instances, seed: SEED, runs: RUNS })
    const { failure, cases, ...counts } = checked
    if (failure !== undefined) expect.fail(`seed ${SEED}\n${failure}`)
    console.log(`${engine}, seed ${SEED}: ${JSON.stringify(counts)}\n${JSON.stringify(cases)}`)
    expect(system.log.filter((line) => JSON.parse(line).level >= 50)).toEqual([])
    expect(await differences(system)).toEqual([])
    return checked
  }

  it('when one call is made after another, then the model gives the same answers', { timeout: LIMIT_MS }, async () => {
    const { cases } = await expectExplained(anySequence, [system.orders])
    expect(Object.keys(cases)).toEqual(expect.arrayContaining(CASES))
  })

  it('when callers make theirs at once, then there is an order in which the model gives the same answers', {
    timeout: LIMIT_MS,
  }, async () => {
    const other = await startInstance('orders', system, { ORDER_SWEEP_SECONDS: '3600' })
    await expectExplained(anyRace, [system.orders, other.api])
  })
})

/** In the books, but for the times that were set back by hand. */
async function differences({ db, env, sweeps }: TestSystem) {
  await sweeps.releaseExpiredHolds()
  const { findings } = await auditBooks(db, { sweepSeconds: env.orders.sweepSeconds })
  const longAgo = fromRfc3339(LONG_AGO)
  return findings.flatMap(({ check, differences }) =>
    differences.filter(({ confirmed_at }) => confirmed_at !== longAgo).map((difference) => ({ check, ...difference })),
  )
}

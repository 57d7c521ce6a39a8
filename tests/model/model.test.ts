import type fc from 'fast-check'
import { expect, it } from 'vitest'
import { fromRfc3339 } from '../../src/platform/core/time.ts'
import type { ApiClient, ApiResponse } from '../../testing/api-client.ts'
import { differencesIn } from '../../testing/fixture.ts'
import { startInstance } from '../../testing/instances.ts'
import { readPages } from '../../testing/lists.ts'
import { readFeed, replay } from '../../testing/replay.ts'
import { LONG_AGO } from '../../testing/rows.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'
import { anyRace, anySequence, type History } from './histories.ts'
import { isSame } from './listening.ts'
import { type Checked, checkProperty, type Failure } from './property.ts'

/**
 * Makes random histories of calls; a model of the contract must explain every response. A seed decides the calls, so that
 * a failure is due to the change under test; only the timing of concurrent calls is up to the machine. To look further:
 *
 *     MODEL_SEED=7 MODEL_RUNS=2000 npm test -- tests/model/model.test.ts
 *
 * A failure prints the smallest history that the model can't explain, and the command that plays it again.
 */
const SEED = Number(process.env.MODEL_SEED || 1)
const RUNS = Number(process.env.MODEL_RUNS || 100)
const PATH = process.env.MODEL_PATH
/** Fewer runs or another seed may miss some cases. */
const isWhole = SEED === 1 && RUNS >= 100 && !PATH
/** Ends a run that hangs. */
const LIMIT_MS = 180_000 + 1_000 * RUNS

/** Cases that must occur in turn, or the test would prove too little. */
const CASES = [
  'createCustomer: created',
  "createCustomer: created with a deleted one's e-mail",
  'createCustomer: email_taken',
  'createCustomer: email_taken, in another case',
  'createCustomer: replayed',
  'createCustomer: idempotency_key_reused',
  'createCustomer: bound_client',
  'createCustomer: insufficient_scope',
  'getCustomer: read',
  'getCustomer: not_found',
  'getCustomer: insufficient_scope',
  'replaceCustomer: changed, by If-Match',
  'replaceCustomer: precondition_failed',
  'replaceCustomer: email_taken',
  'replaceCustomer: email_taken, in another case',
  'replaceCustomer: not_found',
  'deleteCustomer: deleted',
  'deleteCustomer: precondition_failed',
  'deleteCustomer: not_found',
  'searchCustomers: a page',
  'searchCustomers: the last page',
  'createProduct: created',
  'createProduct: sku_taken',
  'createProduct: replayed',
  'createProduct: idempotency_key_reused',
  'getProduct: read',
  'getProduct: not_found',
  'changeProduct: changed, by If-Match',
  'changeProduct: precondition_failed',
  'adjustStock: adjusted',
  'adjustStock: insufficient_stock',
  'adjustStock: replayed',
  'adjustStock: idempotency_key_reused',
  'searchProducts: a page',
  'searchProducts: the last page',
  'placeOrder: placed',
  'placeOrder: placed and confirmed',
  'placeOrder: placed, two lines of one product',
  'placeOrder: placed and confirmed',
  'placeOrder: idempotency_key_required',
  'placeOrder: replayed',
  'placeOrder: idempotency_key_reused',
  'placeOrder: insufficient_stock',
  'placeOrder: insufficient_stock, by two lines together',
  'placeOrder: product_not_found',
  'placeOrder: customer_not_found',
  'placeOrder: not_found',
  'placeOrder: po_number_taken',
  'placeOrder: placed, with the PO number of a canceled order',
  'placeOrder: placed, with the PO number of another order',
  'placeOrder: placed, with the PO number of an ended hold',
  'placeOrder: po_number_required',
  'updateOrder: changed',
  'updateOrder: changed, by If-Match',
  'updateOrder: precondition_failed',
  'updateOrder: order_canceled',
  'updateOrder: replayed',
  'getOrder: read',
  'getOrder: not_found',
  'confirmOrder: confirmed',
  'confirmOrder: was confirmed already',
  'confirmOrder: replayed',
  'confirmOrder: idempotency_key_required',
  'confirmOrder: idempotency_key_reused',
  'confirmOrder: order_canceled',
  'confirmOrder: order_canceled, its hold had ended',
  'confirmOrder: not_found',
  'cancelOrder: canceled when CREATED',
  'cancelOrder: canceled when CONFIRMED',
  'cancelOrder: was canceled already',
  'cancelOrder: cancel_window_passed',
  'cancelOrder: not_found',
  'listOrders: a page',
  'listOrders: the last page',
  'createAndConfirm: confirmed',
  'createAndConfirm: replayed',
  'createAndConfirm: idempotency_key_reused',
  'createAndConfirm: confirmed, without a key',
  'createAndConfirm: insufficient_stock',
  'createAndConfirm: insufficient_stock, by two lines together',
  'createAndConfirm: customer_not_found',
  'createAndConfirm: product_not_found',
  'createAndConfirm: not_found',
  'createAndConfirm: po_number_taken',
  'releaseExpiredHolds: released',
  'endHold: done',
  'passCancelWindow: done',
  'expireKey: done',
  'feed: order.placed',
  'feed: order.confirmed',
  'feed: order.canceled, requested',
  'feed: order.canceled, hold_expired',
  'feed: order.updated',
  'feed: product.created',
  'feed: product.updated',
  'feed: product.stock_adjusted',
  'feed: product.stock_low',
  'feed: product.out_of_stock',
  'feed: product.back_in_stock',
  'feed: customer.created',
  'feed: customer.updated',
  'feed: customer.deleted',
]

/** What must have been met by callers at once. */
const RACED = [
  'replaceCustomer: changed, by If-Match',
  'replaceCustomer: precondition_failed',
  'deleteCustomer: deleted',
  'searchCustomers: a page',
  'searchCustomers: the last page',
  'changeProduct: changed, by If-Match',
  'changeProduct: precondition_failed',
  'adjustStock: adjusted',
  'adjustStock: replayed',
  'searchProducts: a page',
  'searchProducts: the last page',
  'placeOrder: placed',
  'placeOrder: replayed',
  'placeOrder: idempotency_key_reused',
  'placeOrder: insufficient_stock',
  'confirmOrder: confirmed',
  'confirmOrder: was confirmed already',
  'confirmOrder: replayed',
  'confirmOrder: order_canceled',
  'cancelOrder: canceled when CREATED',
  'cancelOrder: canceled when CONFIRMED',
  'listOrders: a page',
  'listOrders: the last page',
  'createAndConfirm: confirmed',
  'createAndConfirm: replayed',
  'createAndConfirm: idempotency_key_reused',
  'createAndConfirm: insufficient_stock',
  'placeOrder: po_number_taken',
  'createAndConfirm: po_number_taken',
  'updateOrder: changed',
  'feed: order.placed',
  'feed: order.confirmed',
  'feed: order.canceled, requested',
  'feed: order.canceled, hold_expired',
  'feed: order.updated',
  'feed: product.stock_low',
  'feed: product.out_of_stock',
  'feed: product.back_in_stock',
]

describeEachEngine('any history of calls', (engine) => {
  const system = useSystem(engine)
  const righted = new Set<number>()

  async function expectExplained(histories: fc.Arbitrary<History>, instances: ApiClient[]): Promise<Checked> {
    const checked = await checkProperty(histories, { system, instances, seed: SEED, runs: RUNS, path: PATH })
    const { failure, cases, ...counts } = checked
    if (failure !== undefined) expect.fail(describeFailure(failure))
    console.log(`${engine}, seed ${SEED}: ${JSON.stringify(counts)}\n${JSON.stringify(cases)}`)
    expect(system.log.filter((line) => JSON.parse(line).level >= 50)).toEqual([])
    await expectFeedOfAll(system, righted)
    await expectBalancedBooks(system, righted)
    return checked
  }

  it('when calls come in turn, then the model gives the same responses', { timeout: LIMIT_MS }, async () => {
    const { cases } = await expectExplained(anySequence, [system.orders])
    if (isWhole) expect(Object.keys(cases)).toEqual(expect.arrayContaining(CASES))
  })

  it('when callers race, then the model explains some order of their calls', {
    timeout: LIMIT_MS,
  }, async () => {
    const other = await startInstance('orders', system, { ORDER_SWEEP_SECONDS: '3600' })
    const { cases } = await expectExplained(anyRace, [system.orders, other.api])
    if (isWhole) expect(Object.keys(cases)).toEqual(expect.arrayContaining(RACED))
  })
})

function describeFailure({ path, description }: Failure): string {
  const { currentTestName } = expect.getState()
  const again = `MODEL_SEED=${SEED} MODEL_PATH=${path} npm test -- tests/model/model.test.ts -t '${currentTestName}'`
  return `Not as the contract says. To play it again:\n\n    ${again}\n\n${description}\n`
}

/** The demo data is older than the feed. */
const SEEDED = 4

/**
 * The whole feed, of all histories, must lead to the very state of all orders and stocks.
 * @param righted orders whose confirmation was put right by hand
 */
async function expectFeedOfAll(system: TestSystem, righted: ReadonlySet<number>): Promise<void> {
  const { events } = await readFeed(system.orders, { limit: 101 })
  expect(events[0]?.position).toBe(1)
  const { faults, orders, stocks } = replay(events, { byHand: LONG_AGO, isOlder: (_, id) => id <= SEEDED })
  expect(faults).toEqual([])
  const listed = await readNew(system.orders, '/orders?expand=items&limit=100')
  const all = listed.map((order) => (righted.has(order.id) ? { ...order, confirmed_at: LONG_AGO } : order))
  expect(all.filter((order) => !isSame(order, orders.get(order.id)))).toEqual([])
  expect(all.length).toBe([...orders.keys()].filter((id) => id > SEEDED).length)
  const products = await readNew(system.orders, '/products?limit=100')
  expect(products.filter(({ id, stock }) => stocks.get(id) !== stock)).toEqual([])
}

/** The rows of a list that are not of the demo data. */
async function readNew(api: ApiClient, path: string): Promise<ApiResponse['body'][]> {
  return (await readPages(api, path)).filter(({ id }) => id > SEEDED)
}

/** Once the times that were set back by hand are put right: the books ask that they be in order. */
async function expectBalancedBooks(system: TestSystem, righted: Set<number>): Promise<void> {
  await system.sweeps.releaseExpiredHolds()
  const setBack = system.db.selectFrom('orders').select('id').where('confirmed_at', '=', fromRfc3339(LONG_AGO))
  const ids = (await setBack.execute()).map(({ id }) => id)
  for (const id of ids) righted.add(id)
  await system.db
    .updateTable('orders')
    .set(({ ref }) => ({ confirmed_at: ref('created_at') }))
    .where('id', 'in', [...ids, 0])
    .execute()
  expect(await differencesIn(system)).toEqual([])
}

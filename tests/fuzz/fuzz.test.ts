import { isDeepStrictEqual } from 'node:util'
import { beforeAll, expect, it } from 'vitest'
import type { ApiResponse } from '../../testing/api-client.ts'
import { differencesIn } from '../../testing/fixture.ts'
import { readPages } from '../../testing/lists.ts'
import { type Operation, operationsOf, readDocuments, SERVICES } from '../../testing/openapi.ts'
import { readFeed, replay } from '../../testing/replay.ts'
import { atOnce, newCustomer, newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'
import { forgeToken, secondsFromNow, withSecret } from '../../testing/tokens.ts'
import { LOOPBACK } from '../../testing/webhooks.ts'
import { type Campaign, describeFinding, runCampaign } from './campaign.ts'
import { kindsOf } from './mutations.ts'
import { createOracle } from './oracle.ts'
import type { World } from './requests.ts'

/**
 * Calls every operation of the three documents as they allow, and in every way that careless or hostile callers might,
 * and checks every response against the documents. A seed decides what is sent, so that a failure is due to the change
 * under test and not to chance. To look further:
 *
 *     FUZZ_SEED=7 FUZZ_CASES=200000 npm test -- tests/fuzz/fuzz.test.ts
 *
 * A finding prints its seed, the bytes of its smallest request, and the response.
 */
const SEED = Number(process.env.FUZZ_SEED || 1)
const CASES = Number(process.env.FUZZ_CASES || 10_000)
/** Ends a run that hangs. */
const LIMIT_MS = 120_000 + 60 * CASES

const documents = await readDocuments()
const operations = operationsOf(documents)

const ROWS = { customers: 60, products: 40, orders: 200 }
/** What requests must have caused, or the feed would prove too little. */
const TOLD = [
  ...['order.placed', 'order.confirmed', 'order.canceled', 'order.updated'],
  ...['product.created', 'product.updated', 'product.stock_adjusted'],
  ...['customer.created', 'customer.updated', 'customer.deleted'],
]
/** The rows of each kind in the demo data. */
const DEMO = 4

describeEachEngine('every operation, called in every way', (engine) => {
  const system = useSystem(engine, { ORCHESTRATOR_PUBLIC: 'false', ...LOOPBACK })
  let found: Campaign

  beforeAll(async () => {
    const { jwt, serviceTokens, database } = system.env
    const oracle = createOracle(documents, [jwt.secret, ...serviceTokens, database.password])
    const ports = Object.fromEntries(SERVICES.map((service) => [service, Number(new URL(system[service].base).port)]))
    found = await runCampaign({
      operations,
      world: await makeWorld(system),
      oracle,
      ports: { customers: 0, orders: 0, orchestrator: 0, ...ports },
      seed: SEED,
      cases: CASES,
    })
    const { cases, byKind, byStatus } = found
    console.log(`${engine}: ${cases} requests, seed ${SEED}\n${JSON.stringify(byStatus)}\n${JSON.stringify(byKind)}`)
  }, LIMIT_MS)

  it('when it is called, then the documents allow every response', () => {
    const { findings } = found
    expect(
      findings.map(({ fault }) => fault),
      findings.map(describeFinding).join('\n\n'),
    ).toEqual([])
  })

  it('when it has been called, then no internal error was logged', () => {
    const failed = system.log.filter((line) => JSON.parse(line).level >= 50 || /unhandled/i.test(line))
    expect(failed).toEqual([])
  })

  it('when all is sent, then every operation succeeded and every kind was sent', () => {
    expect(found.cases).toBeGreaterThanOrEqual(Math.min(CASES, 10_000))
    expect(Object.keys(found.successes).sort()).toEqual(operations.map(({ title }) => title).sort())
    expect(Object.keys(found.byKind).sort()).toEqual(kindsOf(documents).sort())
  })

  it('when all is sent, then the services are still ready', async () => {
    for (const service of SERVICES) {
      expect((await system[service].get('/ready')).body).toMatchObject({ status: 'ok' })
    }
  })

  it('when all is sent, then the feed leads to the very state of all orders and stocks', async () => {
    await system.sweeps.releaseExpiredHolds()
    const { events } = await readFeed(system.orders, { limit: 499 })
    const { faults, orders, stocks } = replay(events, { isOlder: (_, id) => id <= DEMO })
    expect([...new Set(events.map(({ type }) => type))]).toEqual(expect.arrayContaining(TOLD))
    expect(faults).toEqual([])
    const all = await readPages(system.orders, '/orders?expand=items&limit=100')
    const wrongOrders = all.filter((order) => !isDeepStrictEqual(order, orders.get(order.id) ?? order))
    expect(wrongOrders).toEqual([])
    expect(all.filter(({ id }) => !orders.has(id) && id > DEMO)).toEqual([])
    const products: ApiResponse['body'][] = await readPages(system.orders, '/products?limit=100')
    expect(products.filter(({ id, stock }) => (stocks.get(id) ?? stock) !== stock)).toEqual([])
  })

  it('when all is sent, then the books balance and no stock is below zero', async () => {
    expect(await differencesIn(system)).toEqual([])
    const below = await system.db.selectFrom('products').select('id').where('stock', '<', 0).execute()
    expect(below).toEqual([])
  })
})

/** Rows, tokens and pages of a system, to which requests refer. */
async function makeWorld(system: TestSystem): Promise<World> {
  await atOnce(ROWS.customers, () => newCustomer(system))
  await atOnce(ROWS.products, () => newProduct(system, { stock: 1_000_000 }))
  // A demo product is sold by the dozen.
  await atOnce(ROWS.orders, (i) => newOrder(system, [{ product_id: 1 + (i % ROWS.products), qty: 12 }]))
  const rows = {
    customers: ROWS.customers + DEMO,
    products: ROWS.products + DEMO,
    orders: ROWS.orders + DEMO,
  }
  const { issuer, audience } = system.env.jwt
  const stranger = { iss: issuer, aud: audience, sub: 'tests', scope: 'orders:read', exp: secondsFromNow(3_600) }
  const ttlSeconds = 86_400
  return {
    documents,
    rows,
    tokens: {
      caller: await system.token({ ttlSeconds }),
      bound: await system.token({ ttlSeconds, customerId: 1 }),
      scopeless: await system.token({ ttlSeconds, scopes: [] }),
      stranger: forgeToken({ alg: 'HS256', typ: 'JWT' }, stranger, withSecret('a secret of somebody else')),
      service: system.env.serviceTokens[0] ?? '',
    },
    pages: await readPagesOfAll(system),
  }
}

const FILTERS: Record<string, [string, string][][]> = {
  listCustomers: [[], [['search', 'customer']]],
  listProducts: [[], [['search', 'pro']]],
  listOrders: [
    [],
    [['status', 'CREATED']],
    [['expand', 'items']],
    [['customer_id', '1']],
    [['from', '2026-01-01T00:00:00Z']],
  ],
  listEvents: [[], [['types', 'order.*']], [['resource', 'order:5']]],
  getOrderHistory: [[]],
  listStockAdjustments: [[]],
  listWebhookEndpoints: [[]],
  listWebhookDeliveries: [[], [['status', 'pending']]],
}
/** Of an order that was placed and canceled, of a product that was counted, and of an endpoint with deliveries. */
const ID_OF_PAGES: Record<string, number> = {
  getOrderHistory: DEMO + 1,
  listStockAdjustments: DEMO + 1,
  listWebhookDeliveries: 1,
}

async function readPagesOfAll(system: TestSystem): Promise<World['pages']> {
  await system.orders.post(`/orders/${ID_OF_PAGES.getOrderHistory}/cancel`)
  await system.orders.patch(`/products/${ID_OF_PAGES.listStockAdjustments}`, { stock: 1_000_001 })
  const read = async ({ service, path: template, operationId }: Operation) => {
    const path = template.replace('{id}', String(ID_OF_PAGES[operationId]))
    const pages = (FILTERS[operationId] ?? []).map(async (filters) => {
      const query: [string, string][] = [...filters, ['limit', '1']]
      const { body } = await system[service].get(`${path}?${new URLSearchParams(query)}`)
      return { path, query, cursor: String(body.next_cursor) }
    })
    return [operationId, await Promise.all(pages)] as const
  }
  const lists = operations.filter(({ operationId }) => FILTERS[operationId])
  return Object.fromEntries(await Promise.all(lists.map(read)))
}

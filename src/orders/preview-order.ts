import type { z } from 'zod'
import { liveCustomersQuery } from '../customers/customer-rows.ts'
import { dayIn } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { readClock } from '../platform/database/clock.ts'
import { pipeline } from '../platform/database/pipeline.ts'
import type { Database } from '../platform/database/types.ts'
import { problemDocument } from '../platform/http/problem-document.ts'
import { stockQuery } from '../products/stock.ts'
import type { OrderConfig } from './config.ts'
import type { OrderPreview, OrderProblem as OrderProblemSchema } from './contract.ts'
import { presentLines } from './order-response.ts'
import { type Facts, type OrderRequest, poKeyOf, poName, previewPlacement } from './placement-rules.ts'
import { endedQuantitiesQuery, openHoldsQuery, poHoldersQuery } from './store.ts'

type OrderProblem = z.output<typeof OrderProblemSchema>
type Config = Pick<OrderConfig, 'timeZone' | 'currency'>

/**
 * Decides an order as placing it would, and writes nothing. The reads are not locked: they may be of slightly different
 * moments.
 * @param requestId the correlation id, which the problems show as refusals do
 */
export async function previewOrder(
  db: Database,
  request: OrderRequest,
  requestId: string,
  config: Config,
): Promise<z.output<typeof OrderPreview>> {
  const { lines, totalCents, problems } = previewPlacement(request, await readFacts(db, request, config))
  return {
    acceptable: problems.length === 0,
    total_cents: totalCents > Number.MAX_SAFE_INTEGER ? null : totalCents,
    items: presentLines(lines).filter(({ subtotal_cents }) => subtotal_cents <= Number.MAX_SAFE_INTEGER),
    problems: problems.map((problem) => unsafeCast<OrderProblem>(problemDocument(problem, requestId))),
  }
}

/** Ended holds count as released: placing releases those that it needs. */
async function readFacts(db: Database, request: OrderRequest, { timeZone, currency }: Config): Promise<Facts> {
  const { customerId, items, details, maxOpenHolds } = request
  const productIds = [...new Set(items.map(({ product_id }) => product_id))]
  const poKey = poKeyOf(details)
  const now = await readClock(db)
  const [customers, holders, products, returned, holds] = await pipeline(
    db,
    liveCustomersQuery(db, [customerId]),
    poHoldersQuery(db, poKey === null ? [] : [{ customerId, poKey }], 'unended'),
    stockQuery(db, productIds),
    endedQuantitiesQuery(db, productIds),
    openHoldsQuery(db, maxOpenHolds === null ? [] : [customerId], now),
  )
  const returning = new Map(returned.map(({ product_id, qty }) => [product_id, Number(qty)]))
  return {
    products: new Map(products.map((row) => [row.id, { ...row, stock: row.stock + (returning.get(row.id) ?? 0) }])),
    customers: new Map(customers.map((customer) => [customer.id, customer])),
    openHolds: new Map(holds.map((row) => [row.customer_id, row.holds])),
    poHolders: new Map(holders.map(({ id, poKey }) => [poName(customerId, poKey), id])),
    today: dayIn(timeZone, now),
    currency,
  }
}

import { randomBytes } from 'node:crypto'
import type { TestSystem } from './system.ts'

/** Rows of a test's own, made through the API, so that no test depends on another's. */

export async function newCustomer(
  system: TestSystem,
  fields: Record<string, unknown> = {},
): Promise<{ id: number; email: string; version: number }> {
  const unique = randomBytes(6).toString('hex')
  const { status, body } = await system.customers.post('/customers', {
    name: `Customer ${unique}`,
    email: `${unique}@example.com`,
    ...fields,
  })
  if (status !== 201) throw new Error(`no customer: ${status} ${JSON.stringify(body)}`)
  return body
}

export async function newProduct(
  system: TestSystem,
  fields: Record<string, unknown> = {},
): Promise<{ id: number; sku: string; version: number }> {
  const unique = randomBytes(6).toString('hex')
  const product = { sku: `SKU-${unique}`, name: `Product ${unique}`, price_cents: 1000, stock: 100, ...fields }
  const { status, body } = await system.orders.post('/products', product)
  if (status !== 201) throw new Error(`no product: ${status} ${JSON.stringify(body)}`)
  return body
}

export async function newOrder(
  system: TestSystem,
  items: { product_id: number; qty: number }[],
  fields: Record<string, unknown> = {},
) {
  const { status, body } = await system.orders.post('/orders', { customer_id: 1, items, ...fields })
  if (status !== 201) throw new Error(`no order: ${status} ${JSON.stringify(body)}`)
  return body as { id: number; status: string; total_cents: number }
}

export async function stockOf(system: TestSystem, productId: number): Promise<number> {
  return (await system.orders.get(`/products/${productId}`)).body.stock
}

export function newKey(): string {
  return randomBytes(12).toString('hex')
}

/** How many answers there are of each status. */
export function statusCounts(answers: { status: number }[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

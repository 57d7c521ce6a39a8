import { randomBytes } from 'node:crypto'
import { addMinutes, fromRfc3339 } from '../src/platform/core/time.ts'
import { readClock } from '../src/platform/database/clock.ts'
import type { TestSystem } from './system.ts'

// Each test makes its own rows through the API, so that no test depends on another.

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
): Promise<{ id: number; sku: string; name: string; version: number }> {
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

/** Counts responses by status. */
export function statusCounts(responses: { status: number }[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const { status } of responses) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

/** Makes calls in parallel. */
export function atOnce<T>(count: number, call: (i: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => call(i)))
}

export async function orderOf(system: TestSystem, orderId: number) {
  return (await system.orders.get(`/orders/${orderId}`)).body
}

/** A customer's newest orders, at most 100. */
export async function ordersOf(system: TestSystem, customerId: number): Promise<{ id: number; status: string }[]> {
  return (await system.orders.get(`/orders?customer_id=${customerId}&limit=100`)).body.data
}

/** The time to which others are set back, as callers see it. */
export const LONG_AGO = '2020-01-01T00:00:00.000Z'

/** Lets the hold of an order end, if it has one. */
export async function endHold({ db }: TestSystem, orderId: number): Promise<void> {
  const expires_at = fromRfc3339(LONG_AGO)
  await db.updateTable('orders').set({ expires_at }).where('id', '=', orderId).where('status', '=', 'CREATED').execute()
}

/** Moves the confirmation of an order this many minutes into the past. */
export async function ageConfirmation(system: TestSystem, orderId: number, minutes: number): Promise<void> {
  const confirmed_at = addMinutes(await readClock(system.db), -minutes)
  await system.db.updateTable('orders').set({ confirmed_at }).where('id', '=', orderId).execute()
}

/** Lets an idempotency key expire. */
export async function expireKey(system: TestSystem, key: string): Promise<void> {
  const expires_at = fromRfc3339(LONG_AGO)
  await system.db.updateTable('idempotency_keys').set({ expires_at }).where('key', '=', key).execute()
}

/** A word that no other row contains. */
export function newWord(): string {
  return `w${randomBytes(6).toString('hex')}`
}

// The whole flow through the code of openapi-typescript, and openapi-fetch.
import createClient from 'openapi-fetch'
import type { paths as CustomersPaths } from './customers.js'
import type { paths as OrchestratorPaths } from './orchestrator.js'
import type { paths as OrdersPaths } from './orders.js'

const { CUSTOMERS_URL, ORDERS_URL, ORCHESTRATOR_URL, CLIENT_ID = '', CLIENT_SECRET = '' } = process.env
const run = `openapi-typescript-${Date.now()}`
const PRICE = 3_000_000_000
const TOTAL = 2 * PRICE

function check(what: string, holds: boolean, found: unknown): void {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(found)}`)
  console.log(`ok: ${what}`)
}

const auth = createClient<OrdersPaths>({ baseUrl: ORDERS_URL })
const { data: token } = await auth.POST('/auth/token', {
  body: { grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: CLIENT_SECRET },
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
})
if (!token) throw new Error('no token')
check('a token', token.token_type === 'Bearer', token)

const headers = { authorization: `Bearer ${token.access_token}` }
const customers = createClient<CustomersPaths>({ baseUrl: CUSTOMERS_URL, headers })
const orders = createClient<OrdersPaths>({ baseUrl: ORDERS_URL, headers })
const orchestrator = createClient<OrchestratorPaths>({ baseUrl: ORCHESTRATOR_URL, headers })

const { data: customer } = await customers.POST('/customers', { body: { name: run, email: `${run}@example.com` } })
if (!customer) throw new Error('no customer')
check('a customer', customer.phone === null, customer)

const { data: product } = await orders.POST('/products', {
  body: { sku: run, name: 'Machine', price_cents: PRICE, stock: 10 },
})
if (!product) throw new Error('no product')
check('a product whose price needs more than 31 bits', product.price_cents === PRICE, product)

const items = [{ product_id: product.id, qty: 2 }]
const { data: order } = await orders.POST('/orders', {
  params: { header: { 'idempotency-key': `${run}-place` } },
  body: { customer_id: customer.id, items },
})
if (!order) throw new Error('no order')
check('an order whose total needs more than 32 bits', order.total_cents === TOTAL, order)

const path = { id: order.id }
const { data: confirmed } = await orders.POST('/orders/{id}/confirm', {
  params: { path, header: { 'idempotency-key': `${run}-confirm` } },
})
check('it is confirmed', confirmed?.status === 'CONFIRMED', confirmed)

const { data: page } = await orders.GET('/orders', {
  params: { query: { customer_id: customer.id, from: '2026-01-01', limit: 5 } },
})
check('the list has it', page?.data[0]?.id === order.id && page.data[0].total_cents === TOTAL, page)

const { data: done } = await orchestrator.POST('/orchestrator/create-and-confirm-order', {
  params: { header: { 'idempotency-key': `${run}-both` } },
  body: { customer_id: customer.id, items },
})
if (!done) throw new Error('no response from the orchestrator')
check('created and confirmed in one call', done.success && done.data.order.total_cents === TOTAL, done)

const { data: canceled } = await orders.POST('/orders/{id}/cancel', { params: { path } })
check('it is canceled', canceled?.status === 'CANCELED', canceled)

const { error } = await orders.POST('/orders', {
  body: { customer_id: customer.id, items: [{ product_id: product.id, qty: 1_000 }] },
})
check('too little stock is a problem document', error?.code === 'insufficient_stock', error)

// The whole flow through the code of openapi-generator's typescript-fetch.
import * as Customers from './customers/index.js'
import * as Orchestrator from './orchestrator/index.js'
import * as Orders from './orders/index.js'

const { CUSTOMERS_URL = '', ORDERS_URL = '', ORCHESTRATOR_URL = '', CLIENT_ID = '', CLIENT_SECRET = '' } = process.env
const run = `typescript-fetch-${Date.now()}`
const PRICE = 3_000_000_000
const TOTAL = 2 * PRICE

function check(what: string, holds: boolean, found: unknown): void {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(found)}`)
  console.log(`ok: ${what}`)
}

const auth = new Orders.AuthApi(new Orders.Configuration({ basePath: ORDERS_URL }))
const token = await auth.issueToken({
  grantType: 'client_credentials',
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
})
check('a token', token.tokenType === 'Bearer', token)

// This generator leaves out the `Bearer` of an OAuth scheme.
const accessToken = (scheme?: string) => (scheme === 'oauth2' ? `Bearer ${token.accessToken}` : token.accessToken)
const customers = new Customers.CustomersApi(new Customers.Configuration({ basePath: CUSTOMERS_URL, accessToken }))
const settings = new Orders.Configuration({ basePath: ORDERS_URL, accessToken })
const products = new Orders.ProductsApi(settings)
const orders = new Orders.OrdersApi(settings)
const orchestrator = new Orchestrator.OrchestratorApi(
  new Orchestrator.Configuration({ basePath: ORCHESTRATOR_URL, accessToken }),
)

const customer = await customers.createCustomer({ newCustomer: { name: run, email: `${run}@example.com` } })
check('a customer', customer.phone === null, customer)

const product = await products.createProduct({
  newProduct: { sku: run, name: 'Machine', priceCents: PRICE, stock: 10 },
})
check('a product whose price needs more than 31 bits', product.priceCents === PRICE, product)

const items = [{ productId: product.id, qty: 2 }]
const order = await orders.placeOrder({
  idempotencyKey: `${run}-place`,
  newOrder: { customerId: customer.id, items },
})
check('an order whose total needs more than 32 bits', order.totalCents === TOTAL, order)

const confirmed = await orders.confirmOrder({ id: order.id, idempotencyKey: `${run}-confirm` })
check('it is confirmed', confirmed.status === 'CONFIRMED', confirmed)

const page = await orders.listOrders({ customerId: customer.id, from: '2026-01-01', limit: 5 })
check('the list has it', page.data[0]?.id === order.id && page.data[0].totalCents === TOTAL, page)

const done = await orchestrator.createAndConfirmOrder({
  idempotencyKey: `${run}-both`,
  createAndConfirm: { customerId: customer.id, items },
})
check('created and confirmed in one call', done.success && done.data.order.totalCents === TOTAL, done)

const canceled = await orders.cancelOrder({ id: order.id })
check('it is canceled', canceled.status === 'CANCELED', canceled)

const refused: unknown = await orders
  .placeOrder({ newOrder: { customerId: customer.id, items: [{ productId: product.id, qty: 1_000 }] } })
  .catch((error: unknown) => error)
if (!(refused instanceof Orders.ResponseError)) throw new Error('an order for too much was taken')
const problem = Orders.ProblemFromJSON(await refused.response.json())
check('too little stock is a problem document', problem.code === 'insufficient_stock', problem)

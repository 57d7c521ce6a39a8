import { Agent } from 'node:http'
import axios from 'axios'
import { z } from 'zod'
import { answerErrors, createApp, HttpError } from '../cold/baseline/express-app.ts'

const Body = z.strictObject({
  customer_id: z.int().positive(),
  items: z
    .array(z.strictObject({ product_id: z.int().positive(), qty: z.int().min(1).max(1_000_000) }))
    .min(1)
    .max(200),
  idempotency_key: z.string().min(1).max(200),
  correlation_id: z.string().max(128).optional(),
})

interface Customer {
  id: number
  name: string
  email: string
  phone: string | null
}

interface Order {
  id: number
  status: string
  total_cents: number
  items: { product_id: number; qty: number; unit_price_cents: number; subtotal_cents: number }[]
}

const common = {
  timeout: 5_000,
  headers: { authorization: `Bearer ${process.env.SERVICE_TOKEN}` },
  httpAgent: new Agent({ keepAlive: true }),
}
const customers = axios.create({ ...common, baseURL: process.env.CUSTOMERS_API_BASE ?? 'http://localhost:3001' })
const orders = axios.create({ ...common, baseURL: process.env.ORDERS_API_BASE ?? 'http://localhost:3010' })

const app = createApp()

app.post('/orchestrator/create-and-confirm-order', async (request, response) => {
  const { customer_id, items, idempotency_key, correlation_id } = Body.parse(request.body)
  const correlationId = correlation_id ?? crypto.randomUUID()
  const data = await createAndConfirm({ customer_id, items }, idempotency_key, correlationId).catch(refuse)
  response.status(201).json({ success: true, correlationId, data })
})
app.use(answerErrors)

app.listen(Number(process.env.PORT), '127.0.0.1')

async function createAndConfirm(
  input: { customer_id: number; items: z.output<typeof Body>['items'] },
  key: string,
  correlationId: string,
) {
  const headers = { 'x-correlation-id': correlationId }
  const { data: customer } = await customers.get<Customer>(`/internal/customers/${input.customer_id}`, { headers })
  const { data: created } = await orders.post<Order>('/orders', input, { headers })
  const { data: order } = await orders.post<Order>(`/orders/${created.id}/confirm`, undefined, {
    headers: { ...headers, 'x-idempotency-key': key },
  })
  return {
    customer: { id: customer.id, name: customer.name, email: customer.email, phone: customer.phone },
    order: { id: order.id, status: order.status, total_cents: order.total_cents, items: order.items },
  }
}

function refuse(error: unknown): never {
  if (axios.isAxiosError(error) && error.response && error.response.status < 500) {
    throw new HttpError(error.response.status, 'The order was refused')
  }
  console.error(error)
  throw new HttpError(502, 'A service failed')
}

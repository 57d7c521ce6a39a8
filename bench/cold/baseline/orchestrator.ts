import axios from 'axios'
import { z } from 'zod'

const Body = z.strictObject({
  customer_id: z.int().positive(),
  items: z
    .array(z.strictObject({ product_id: z.int().positive(), qty: z.int().min(1).max(1_000_000) }))
    .min(1)
    .max(200),
  idempotency_key: z.string().min(1).max(255),
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

const common = { timeout: 5_000, headers: { authorization: `Bearer ${process.env.SERVICE_TOKEN}` } }
const customers = axios.create({ ...common, baseURL: process.env.CUSTOMERS_API_BASE ?? 'http://localhost:3001' })
const orders = axios.create({ ...common, baseURL: process.env.ORDERS_API_BASE ?? 'http://localhost:3010' })

/** The orchestrator needs no routes: it answers the event itself, without Express. */
export async function handler(event: { body: string | null; isBase64Encoded?: boolean }) {
  const start = Date.now()
  const answer = await answerTo(event).catch((error: unknown) => refusalOf(error))
  console.log(JSON.stringify({ status: answer.status, ms: Date.now() - start }))
  return {
    statusCode: answer.status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(answer.body),
  }
}

async function answerTo({ body, isBase64Encoded = false }: { body: string | null; isBase64Encoded?: boolean }) {
  const text = Buffer.from(body ?? '', isBase64Encoded ? 'base64' : 'utf8').toString()
  const { customer_id, items, idempotency_key, correlation_id } = Body.parse(JSON.parse(text))
  const correlationId = correlation_id ?? crypto.randomUUID()
  const headers = { 'x-correlation-id': correlationId }
  const { data: customer } = await customers.get<Customer>(`/internal/customers/${customer_id}`, { headers })
  const { data: created } = await orders.post<Order>(
    '/orders',
    { customer_id, items },
    { headers: { ...headers, 'idempotency-key': `create-${idempotency_key}` } },
  )
  const { data: order } = await orders.post<Order>(`/orders/${created.id}/confirm`, undefined, {
    headers: { ...headers, 'idempotency-key': `confirm-${idempotency_key}` },
  })
  return {
    status: 201,
    body: {
      success: true,
      correlationId,
      data: {
        customer: { id: customer.id, name: customer.name, email: customer.email, phone: customer.phone },
        order: { id: order.id, status: order.status, total_cents: order.total_cents, items: order.items },
      },
    },
  }
}

function refusalOf(error: unknown) {
  if (error instanceof z.ZodError || error instanceof SyntaxError) {
    return { status: 400, body: { success: false, message: error.message } }
  }
  if (axios.isAxiosError(error) && error.response && error.response.status < 500) {
    return { status: error.response.status, body: { success: false, message: 'The order was refused' } }
  }
  console.error(error)
  return { status: 502, body: { success: false, message: 'A service failed' } }
}

import { z } from 'zod'
import { customers, orders } from './services.ts'

export const CreateAndConfirm = z.strictObject({
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

/** @returns the response body @throws AxiosError when a service refuses */
export async function createAndConfirm(input: z.output<typeof CreateAndConfirm>) {
  const { customer_id, items, idempotency_key, correlation_id } = input
  const correlationId = correlation_id ?? crypto.randomUUID()
  const headers = { 'x-correlation-id': correlationId }
  const { data: customer } = await customers.get<Customer>(`/internal/customers/${customer_id}`, { headers })
  const { data: created } = await orders.post<Order>('/orders', { customer_id, items }, { headers })
  const { data: order } = await orders.post<Order>(`/orders/${created.id}/confirm`, undefined, {
    headers: { ...headers, 'x-idempotency-key': idempotency_key },
  })
  const data = {
    customer: { id: customer.id, name: customer.name, email: customer.email, phone: customer.phone },
    order: { id: order.id, status: order.status, total_cents: order.total_cents, items: order.items },
  }
  return { success: true, correlationId, data }
}

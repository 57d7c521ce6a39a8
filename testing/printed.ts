import type { ApiResponse } from './api-client.ts'

export const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'

/** As the document that asked for the system prints them. */
export const REQUEST = {
  customer_id: 1,
  items: [{ product_id: 1, qty: 2 }],
  idempotency_key: 'abc-123',
  correlation_id: 'req-789',
}
export const ANSWER = {
  success: true,
  correlationId: 'req-789',
  data: {
    customer: { id: 1, name: 'ACME Corp', email: 'ops@acme.com', phone: '555-1234' },
    order: {
      id: 5,
      status: 'CONFIRMED',
      total_cents: 259800,
      items: [{ product_id: 1, qty: 2, unit_price_cents: 129900, subtotal_cents: 259800 }],
    },
  },
}

/** The printed answer, as text, with the id that the order got: the nodes of a cluster count in steps. */
export function printedResponse({ body }: Pick<ApiResponse, 'body'>): string {
  const order = { ...ANSWER.data.order, id: body.data.order.id }
  return JSON.stringify({ ...ANSWER, data: { ...ANSWER.data, order } })
}

/** What callers see of an answer, and whether it was stored. */
export function shown({ status, text, headers }: ApiResponse) {
  return { status, text, replayed: headers.get('idempotent-replayed') }
}

import type { ApiResponse } from './api-client.ts'

export const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'

/** As printed in the document that specifies the system. */
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

/** The printed response with the id of the order, since the ids of a cluster rise in steps. */
export function printedResponse({ body }: Pick<ApiResponse, 'body'>): string {
  const order = { ...ANSWER.data.order, id: body.data.order.id }
  return JSON.stringify({ ...ANSWER, data: { ...ANSWER.data, order } })
}

/** The parts of a response that callers see, and whether it is a replay. */
export function shown({ status, text, headers }: ApiResponse) {
  return { status, text, replayed: headers.get('idempotent-replayed') }
}

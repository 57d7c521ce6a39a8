import type { z } from 'zod'
import type { Trace } from '../platform/app.ts'
import { callService, type Reply, type Route } from '../platform/client.ts'
import { type NewOrder, Order as OrderSchema } from './contract.ts'
import type { Order } from './presenting.ts'

/** Each throws the AppError that Orders answered with, or `upstream_failed`, `unavailable`, `deadline_exceeded`. */
export interface OrdersClient {
  placeOrder(input: z.input<typeof NewOrder>, key: string, trace: Trace, signal?: AbortSignal): Promise<Reply<Order>>
  confirmOrder(id: number, key: string, trace: Trace, signal?: AbortSignal): Promise<Reply<Order>>
  /** Cancels the order only if nobody has confirmed it, and answers it as it then is. */
  cancelUnconfirmedOrder(id: number, trace: Trace, signal?: AbortSignal): Promise<Order>
}

export function createOrdersClient(route: Route): OrdersClient {
  const post = { method: 'POST', answer: OrderSchema } as const
  return {
    placeOrder: (body, idempotencyKey, trace, signal) =>
      callService(route, { ...post, path: '/orders', body, idempotencyKey, trace, signal }),
    confirmOrder: (id, idempotencyKey, trace, signal) =>
      callService(route, { ...post, path: `/orders/${id}/confirm`, idempotencyKey, trace, signal }),
    async cancelUnconfirmedOrder(id, trace, signal) {
      const body = { if_status: 'CREATED' }
      return (await callService(route, { ...post, path: `/orders/${id}/cancel`, body, trace, signal })).value
    },
  }
}

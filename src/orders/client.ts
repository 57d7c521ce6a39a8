import type { z } from 'zod'
import { SERVICE } from '../platform/auth.ts'
import { callService, createSharedCalls, type Reply, type Route, within } from '../platform/client.ts'
import type { Answer } from '../platform/idempotency.ts'
import type { Trace } from '../platform/trace.ts'
import { trusted } from '../platform/trusted.ts'
import { type NewOrder, Order as OrderSchema } from './contract.ts'
import type { Order } from './presenting.ts'
import type { OrdersService } from './service.ts'

/** Each throws the AppError that Orders answered with, or `upstream_failed`, `unavailable`, `deadline_exceeded`. */
export interface OrdersClient {
  placeOrder(input: z.output<typeof NewOrder>, key: string, trace: Trace, signal?: AbortSignal): Promise<Reply<Order>>
  confirmOrder(id: number, key: string, trace: Trace, signal?: AbortSignal): Promise<Reply<Order>>
  /** Cancels the order only if nobody has confirmed it, and answers it as it then is. */
  cancelUnconfirmedOrder(id: number, trace: Trace, signal?: AbortSignal): Promise<Order>
}

export function createOrdersClient(route: Route): OrdersClient {
  const post = { method: 'POST', answer: OrderSchema } as const
  const send = createSharedCalls(route, '/internal/orders/steps')
  return {
    placeOrder(order, key, trace, signal) {
      const call = { ...post, path: '/orders', body: order, idempotencyKey: key, trace, signal }
      return send(call, { key, step: { place: order } })
    },
    confirmOrder(id, key, trace, signal) {
      const call = { ...post, path: `/orders/${id}/confirm`, idempotencyKey: key, trace, signal }
      return send(call, { key, step: { confirm: id } })
    },
    async cancelUnconfirmedOrder(id, trace, signal) {
      const body = { if_status: 'CREATED' }
      return (await callService(route, { ...post, path: `/orders/${id}/cancel`, body, trace, signal })).value
    },
  }
}

/** Orders in the same process. */
export function createLocalOrdersClient(orders: OrdersService): OrdersClient {
  return {
    async placeOrder(order, key, trace, signal) {
      return replyOf(await within(signal, orders.placeOrder({ principal: SERVICE, trace }, order, key)))
    },
    async confirmOrder(id, key, trace, signal) {
      return replyOf(await within(signal, orders.confirmOrder({ principal: SERVICE, trace }, id, key)))
    },
    async cancelUnconfirmedOrder(id, trace, signal) {
      return replyOf(await within(signal, orders.cancelOrder({ principal: SERVICE, trace }, id, 'CREATED', undefined)))
        .value
    },
  }
}

function replyOf({ body, replayed }: Answer): Reply<Order> {
  return { value: trusted<Order>(JSON.parse(body)), replayed }
}

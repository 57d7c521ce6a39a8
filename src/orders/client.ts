import type { z } from 'zod'
import type { Caller } from '../platform/app.ts'
import { actFor, callerIdOf, SERVICE } from '../platform/auth.ts'
import { callService, createSharedCalls, type Reply, type Route, within } from '../platform/client.ts'
import type { Answer } from '../platform/idempotency.ts'
import { trusted } from '../platform/trusted.ts'
import { type NewOrder, Order as OrderSchema } from './contract.ts'
import type { Order } from './presenting.ts'
import type { OrdersService } from './service.ts'

/**
 * Calls count for their caller, not for this service.
 * @throws AppError what Orders answered with, or `upstream_failed`, `unavailable`, `deadline_exceeded`
 */
export interface OrdersClient {
  placeOrder(input: z.output<typeof NewOrder>, key: string, caller: Caller, signal?: AbortSignal): Promise<Reply<Order>>
  confirmOrder(id: number, key: string, caller: Caller, signal?: AbortSignal): Promise<Reply<Order>>
  /** Cancels the order only if nobody has confirmed it, and answers it as it then is. */
  cancelUnconfirmedOrder(id: number, caller: Caller, signal?: AbortSignal): Promise<Order>
}

export function createOrdersClient(route: Route): OrdersClient {
  const post = { method: 'POST', answer: OrderSchema } as const
  const send = createSharedCalls(route, '/internal/orders/steps')
  return {
    placeOrder(order, key, { principal, trace }, signal) {
      const onBehalfOf = callerIdOf(principal)
      const call = { ...post, path: '/orders', body: order, idempotencyKey: key, onBehalfOf, trace, signal }
      return send(call, { key, step: { place: order }, on_behalf_of: onBehalfOf })
    },
    confirmOrder(id, key, { principal, trace }, signal) {
      const onBehalfOf = callerIdOf(principal)
      const call = { ...post, path: `/orders/${id}/confirm`, idempotencyKey: key, onBehalfOf, trace, signal }
      return send(call, { key, step: { confirm: id }, on_behalf_of: onBehalfOf })
    },
    async cancelUnconfirmedOrder(id, { principal, trace }, signal) {
      const body = { if_status: 'CREATED' }
      const call = { ...post, path: `/orders/${id}/cancel`, body, onBehalfOf: callerIdOf(principal), trace, signal }
      return (await callService(route, call)).value
    },
  }
}

/** Orders in the same process. */
export function createLocalOrdersClient(
  orders: Pick<OrdersService, 'placeOrder' | 'confirmOrder' | 'cancelOrder'>,
): OrdersClient {
  return {
    async placeOrder(order, key, caller, signal) {
      return replyOf(await within(signal, orders.placeOrder(serviceFor(caller), order, key)))
    },
    async confirmOrder(id, key, caller, signal) {
      return replyOf(await within(signal, orders.confirmOrder(serviceFor(caller), id, key)))
    },
    async cancelUnconfirmedOrder(id, caller, signal) {
      return replyOf(await within(signal, orders.cancelOrder(serviceFor(caller), id, 'CREATED', undefined))).value
    },
  }
}

function serviceFor({ principal, trace }: Caller): Caller {
  return { principal: actFor(SERVICE, callerIdOf(principal)), trace }
}

function replyOf({ body, replayed }: Answer): Reply<Order> {
  return { value: trusted<Order>(JSON.parse(body)), replayed }
}

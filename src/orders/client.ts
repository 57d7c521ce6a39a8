import { z } from 'zod'
import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import type { Caller } from '../platform/http/app.ts'
import { actFor, callerIdOf, servicePrincipal } from '../platform/http/principal.ts'
import { createBatchedCalls, type Reply, raceAbort, type Upstream } from '../platform/rpc/client.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'
import type { ValidatedOrder } from './contract.ts'
import { ORDER_ERRORS } from './errors.ts'
import { SERVICE_SCOPES } from './scopes.ts'
import type { OrdersService } from './service.ts'

/**
 * Fair shares count a call for its caller, not for the calling service.
 * @throws AppError the refusal of Orders, or `upstream_failed`, `unavailable`, `deadline_exceeded`
 */
export interface OrdersClient {
  /**
   * Places and confirms an order for a validated customer.
   * @returns the JSON text of the customer and the order; every replay has the same bytes
   */
  placeOrder(
    order: z.output<typeof ValidatedOrder>,
    key: string,
    caller: Caller,
    signal?: AbortSignal,
  ): Promise<Reply<string>>
}

const PlacedOrderText = z.string().startsWith('{')

/** The refusals of Orders that are passed on to the orchestrator's callers. */
const REFUSALS = [ORDER_ERRORS, PRODUCT_ERRORS, CUSTOMER_ERRORS].flatMap((errors) => Object.values(errors))

export function createOrdersClient(upstream: Upstream): OrdersClient {
  const send = createBatchedCalls(upstream, '/internal/orders/placements')
  return {
    placeOrder(order, key, { principal, trace }, signal) {
      return send(
        { responseSchema: PlacedOrderText, refusals: REFUSALS, trace, signal },
        { key, order, on_behalf_of: callerIdOf(principal) },
      )
    },
  }
}

/** A client of Orders in the same process. */
export function createLocalOrdersClient(orders: Pick<OrdersService, 'placeValidatedOrder'>): OrdersClient {
  const service = servicePrincipal(SERVICE_SCOPES)
  return {
    async placeOrder(order, key, { principal, trace }, signal) {
      const caller = { principal: actFor(service, callerIdOf(principal)), trace }
      const { body, replayed } = await raceAbort(signal, orders.placeValidatedOrder(caller, order, key))
      return { value: body, replayed }
    },
  }
}

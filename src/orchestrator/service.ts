import type { z } from 'zod'
import type { CustomersClient } from '../customers/client.ts'
import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import type { OrdersClient } from '../orders/client.ts'
import { AppError, isRefusal, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { withTimeLimit } from '../platform/core/timeout.ts'
import type { Caller } from '../platform/http/app.ts'
import { mayActFor } from '../platform/http/principal.ts'
import type { Reply } from '../platform/rpc/client.ts'
import type { OrchestratorConfig } from './config.ts'
import type { CreateAndConfirm } from './contract.ts'
import { keyAtOrders } from './keys.ts'

type Input = z.output<typeof CreateAndConfirm>

export type OrchestratorService = ReturnType<typeof createOrchestratorService>

/**
 * Validates the customer through Customers, then has Orders create and confirm the order in one transaction. The
 * orchestrator keeps no state: its key at Orders derives from the caller's key, so a repeated request is the same order
 * at any time.
 */
export function createOrchestratorService(
  customers: CustomersClient,
  orders: OrdersClient,
  { deadlineMs }: Pick<OrchestratorConfig, 'deadlineMs'>,
) {
  return {
    /**
     * @returns the JSON text of the customer and the order, as it was first stored for the key
     * @throws AppError any refusal of Orders; `customer_not_found`; `upstream_failed`, `unavailable`,
     *   `deadline_exceeded` when an upstream fails
     */
    createAndConfirm(caller: Caller, input: Input, key: string): Promise<Reply<string>> {
      return withTimeLimit(deadlineMs, (deadline) => placeOrder(caller, input, key, deadline))
    },
  }

  async function placeOrder(caller: Caller, input: Input, key: string, deadline: AbortSignal): Promise<Reply<string>> {
    const { idempotency_key, correlation_id, ...order } = input
    if (!mayActFor(caller.principal, order.customer_id)) {
      throw new AppError(PLATFORM_ERRORS.not_found, `There is no customer ${order.customer_id}.`)
    }
    const place = (customer: Customer | null) =>
      orders.placeOrder({ ...order, customer }, keyAtOrders(caller.principal.id, key), caller, deadline)
    const customer = await findCustomer(order.customer_id, caller, deadline)
    if (!(customer instanceof AppError)) return place(customer)
    // A replay must succeed, even if the customer is deleted by now or Customers does not respond.
    return place(null).catch((error) => {
      throw isRefusal(error, PLATFORM_ERRORS.idempotency_key_reused) ? error : customer
    })
  }

  /** The customer, or the reason why there is none. */
  async function findCustomer(id: number, { trace }: Caller, deadline: AbortSignal): Promise<Customer | AppError> {
    try {
      const customer = await customers.getCustomer(id, trace, deadline)
      if (customer === undefined) return new AppError(CUSTOMER_ERRORS.customer_not_found, `There is no customer ${id}.`)
      return { id: customer.id, name: customer.name, email: customer.email, phone: customer.phone }
    } catch (error) {
      if (error instanceof AppError) return error
      throw error
    }
  }
}

type Customer = NonNullable<Parameters<OrdersClient['placeOrder']>[0]['customer']>

import type { z } from 'zod'
import type { CustomersClient } from '../customers/client.ts'
import type { OrdersClient } from '../orders/client.ts'
import type { Caller } from '../platform/app.ts'
import type { Principal } from '../platform/auth.ts'
import { AppError } from '../platform/errors.ts'
import { sha256 } from '../platform/hash.ts'
import type { Logger } from '../platform/logging.ts'
import { withTimeLimit } from '../platform/time-limit.ts'
import type { ConfirmedOrder, CreateAndConfirm } from './contract.ts'

/** How long the stock waits for a confirm that a crash has cut off, when no retry comes. */
const HOLD_MINUTES = 15
/** Orders that one key may have had canceled under it before its caller is told to take a new key. */
const MOST_ATTEMPTS = 5

/** The last part of the time is kept for giving up an order that could not be confirmed. */
const GIVE_UP_SHARE = 0.2
const LONGEST_GIVE_UP_MS = 2_000

export interface OrchestratorConfig {
  /** The answer comes within this time, whatever the other services do. */
  deadlineMs: number
}

type Input = z.output<typeof CreateAndConfirm>
type Order = Awaited<ReturnType<OrdersClient['placeOrder']>>['value']

export interface Orchestrated {
  data: z.output<typeof ConfirmedOrder>['data']
  /** Both steps had been done before: this answer has been given already. */
  replayed: boolean
}

export type OrchestratorService = ReturnType<typeof createOrchestratorService>

/**
 * Customer → create → confirm, through the other services. It keeps no state: the keys of its steps derive from the
 * caller's own, so whoever sends the request again, at whatever moment, goes on with the same order.
 */
export function createOrchestratorService(
  customers: CustomersClient,
  orders: OrdersClient,
  config: OrchestratorConfig,
  logger: Logger,
) {
  const giveUpMs = Math.min(LONGEST_GIVE_UP_MS, Math.floor(config.deadlineMs * GIVE_UP_SHARE))

  return {
    /**
     * @throws AppError the refusal of the step that failed; `upstream_failed`, `unavailable`, `deadline_exceeded`
     *   where a service is at fault
     */
    createAndConfirm(caller: Caller, input: Input, key: string): Promise<Orchestrated> {
      return withTimeLimit(config.deadlineMs - giveUpMs, (deadline) => takeSteps(caller, input, key, deadline))
    },
  }

  async function takeSteps(caller: Caller, input: Input, key: string, deadline: AbortSignal) {
    const { principal, trace } = caller
    const { customer_id, items } = input
    refuseOtherCustomer(principal, customer_id)
    const customer = await customers.getCustomer(customer_id, trace, deadline)
    if (customer === undefined) throw new AppError('customer_not_found', `There is no customer ${customer_id}.`)

    for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
      const attemptId = sha256(JSON.stringify([principal.id, key, attempt]))
      const order = { customer_id, items, hold_minutes: HOLD_MINUTES }
      const created = await orders.placeOrder(order, `create:${attemptId}`, caller, deadline)
      const confirmed = await confirmOrGiveUp(created.value.id, `confirm:${attemptId}`, caller, deadline)
      // Canceled under us: an earlier try was given up, or its hold ended. It never counted, so this key starts afresh.
      if (confirmed === 'canceled') continue
      const { id, name, email, phone } = customer
      return {
        data: { customer: { id, name, email, phone }, order: presentOrder(confirmed.order) },
        replayed: created.replayed && confirmed.replayed,
      }
    }
    throw new AppError('order_canceled', 'The orders of this key were canceled. Send the request with a new key.')
  }

  async function confirmOrGiveUp(id: number, key: string, caller: Caller, deadline: AbortSignal) {
    try {
      const { value, replayed } = await orders.confirmOrder(id, key, caller, deadline)
      return { order: value, replayed }
    } catch (error) {
      if (error instanceof AppError && error.code === 'order_canceled') return 'canceled'
      const order = await giveUp(id, caller)
      if (order?.status === 'CONFIRMED') return { order, replayed: false }
      throw error
    }
  }

  /**
   * Returns the stock of an order that could not be confirmed, unless its confirm did arrive after all: then the order
   * stands. If this fails too, the hold ends by itself.
   */
  async function giveUp(id: number, caller: Caller): Promise<Order | undefined> {
    try {
      return await withTimeLimit(giveUpMs, (limit) => orders.cancelUnconfirmedOrder(id, caller, limit))
    } catch (err) {
      logger.warn({ err, order_id: id, correlation_id: caller.trace.correlationId }, 'the order is left to its hold')
      return undefined
    }
  }
}

/** A client that is bound to a customer orders for that one; another customer does not exist for it. */
function refuseOtherCustomer(principal: Principal, customerId: number): void {
  if (principal.customerId === null || principal.customerId === customerId) return
  throw new AppError('not_found', `There is no customer ${customerId}.`)
}

function presentOrder({ id, status, total_cents, items }: Order): Orchestrated['data']['order'] {
  return { id, status, total_cents, items }
}

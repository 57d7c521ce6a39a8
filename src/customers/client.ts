import { createSharedCalls, type Route, unlessNotFound, within } from '../platform/client.ts'
import { withTimeLimit } from '../platform/time-limit.ts'
import type { Trace } from '../platform/trace.ts'
import { Customer } from './contract.ts'
import type { CustomersService, Customer as CustomerValue } from './service.ts'

export interface CustomersClient {
  /**
   * The customer, or undefined when there is none.
   * @throws AppError `upstream_failed`, `unavailable`, `deadline_exceeded`
   */
  getCustomer(id: number, trace: Trace, signal?: AbortSignal): Promise<CustomerValue | undefined>
}

export function createCustomersClient(route: Route): CustomersClient {
  const send = createSharedCalls(route, '/internal/customers/lookups')
  return {
    async getCustomer(id, trace, signal) {
      const call = { method: 'GET', path: `/internal/customers/${id}`, trace, answer: Customer, signal } as const
      const reply = await send(call, { id }).catch(unlessNotFound)
      return reply?.value
    },
  }
}

/** Customers in the same process. */
export function createLocalCustomersClient(customers: Pick<CustomersService, 'getAnyCustomer'>): CustomersClient {
  return { getCustomer: (id, _, signal) => within(signal, customers.getAnyCustomer(id).catch(unlessNotFound)) }
}

/**
 * Callers that ask for one customer while it is being fetched share that call, and whatever comes of it.
 * @param limitMs the time that all attempts of a lookup may take together
 */
export function shareLookups(client: CustomersClient, limitMs: number): CustomersClient {
  const underWay = new Map<number, Promise<CustomerValue | undefined>>()
  return {
    getCustomer(id, trace, signal) {
      const shared = underWay.get(id)
      if (shared) return within(signal, shared)
      const look = (signal: AbortSignal) => client.getCustomer(id, trace, signal)
      const lookup = withTimeLimit(limitMs, look).finally(() => underWay.delete(id))
      underWay.set(id, lookup)
      return within(signal, lookup)
    },
  }
}

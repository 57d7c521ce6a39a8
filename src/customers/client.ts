import type { Trace } from '../platform/app.ts'
import { callService, type Route } from '../platform/client.ts'
import { AppError } from '../platform/errors.ts'
import { withTimeLimit } from '../platform/time-limit.ts'
import { Customer } from './contract.ts'
import type { Customer as CustomerValue } from './service.ts'

export interface CustomersClient {
  /**
   * The customer, or undefined when there is none.
   * @throws AppError `upstream_failed`, `unavailable`, `deadline_exceeded`
   */
  getCustomer(id: number, trace: Trace, signal?: AbortSignal): Promise<CustomerValue | undefined>
}

export function createCustomersClient(route: Route): CustomersClient {
  return {
    async getCustomer(id, trace, signal) {
      try {
        const call = { method: 'GET', path: `/internal/customers/${id}`, trace, answer: Customer, signal } as const
        return (await callService(route, call)).value
      } catch (error) {
        if (error instanceof AppError && error.code === 'not_found') return undefined
        throw error
      }
    },
  }
}

/**
 * Callers that ask for one customer while it is being fetched share that call, and whatever comes of it.
 * @param limitMs the time that all attempts of a lookup may take together
 */
export function shareLookups(client: CustomersClient, limitMs: number): CustomersClient {
  const underWay = new Map<number, Promise<CustomerValue | undefined>>()
  return {
    getCustomer(id, trace) {
      const shared = underWay.get(id)
      if (shared) return shared
      const look = (signal: AbortSignal) => client.getCustomer(id, trace, signal)
      const lookup = withTimeLimit(limitMs, look).finally(() => underWay.delete(id))
      underWay.set(id, lookup)
      return lookup
    },
  }
}

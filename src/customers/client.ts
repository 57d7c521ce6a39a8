import type { CompiledQuery } from 'kysely'
import { createSharedCalls, type Route, unlessNotFound, within } from '../platform/client.ts'
import type { Database } from '../platform/database.ts'
import { dialectOf } from '../platform/dialect.ts'
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

/** Gives up a lookup whose attempts take longer than so many ms together. */
export function limitLookups(client: CustomersClient, limitMs: number): CustomersClient {
  return {
    getCustomer: (id, trace, signal) =>
      withTimeLimit(limitMs, (limit) => within(limit, client.getCustomer(id, trace, limit)), signal),
  }
}

// What an order does with customers, inside its own transaction.

/** Customers of whom nobody else may place an order, or change anything, until the transaction ends. */
export function lockingCustomers(trx: Database, ids: readonly number[]): CompiledQuery<{ id: number }> | undefined {
  if (ids.length === 0) return undefined
  return trx
    .selectFrom('customers')
    .select('id')
    .where('id', 'in', ids)
    .orderBy('id')
    .modifyEnd(dialectOf(trx).forUpdate)
    .compile()
}

import type { CompiledQuery } from 'kysely'
import type { z } from 'zod'
import { createSingleFlight } from '../platform/core/single-flight.ts'
import { withTimeLimit } from '../platform/core/timeout.ts'
import { compileOnce } from '../platform/database/compiled-query.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Database } from '../platform/database/types.ts'
import { createBatchedCalls, raceAbort, type Upstream, unlessNotFound } from '../platform/rpc/client.ts'
import type { Trace } from '../platform/telemetry/trace.ts'
import { Customer, type CustomerBrief as CustomerBriefSchema } from './contract.ts'
import type { CustomersService, Customer as CustomerValue } from './service.ts'

export type CustomerBrief = z.output<typeof CustomerBriefSchema>

export interface CustomersClient {
  /**
   * The customer, or undefined when there is none.
   * @throws AppError `upstream_failed`, `unavailable`, `deadline_exceeded`
   */
  getCustomer(id: number, trace: Trace, signal?: AbortSignal): Promise<CustomerValue | undefined>
}

export function createCustomersClient(upstream: Upstream): CustomersClient {
  const send = createBatchedCalls(upstream, '/internal/customers/lookups')
  return {
    async getCustomer(id, trace, signal) {
      const call = {
        method: 'GET',
        path: `/internal/customers/${id}`,
        trace,
        responseSchema: Customer,
        signal,
      } as const
      const reply = await send(call, { id }).catch(unlessNotFound)
      return reply?.value
    },
  }
}

/** Customers in the same process. */
export function createLocalCustomersClient(customers: Pick<CustomersService, 'getCustomerInternal'>): CustomersClient {
  return { getCustomer: (id, _, signal) => raceAbort(signal, customers.getCustomerInternal(id).catch(unlessNotFound)) }
}

/** A lookup that began longer ago is not joined: a customer that was changed since would be shown as it was. */
const MAX_SHARED_AGE_MS = 5

/**
 * Callers that ask for one customer at one moment share one lookup. It may have been sent shortly before, so an order is
 * held to {@link findingCustomers} once more, and a customer that was not there is looked for again.
 * @param limitMs the time that all attempts of a lookup may take together
 */
export function singleFlight(client: CustomersClient, limitMs: number): CustomersClient {
  const share = createSingleFlight<number, CustomerValue | undefined>(MAX_SHARED_AGE_MS)
  return {
    async getCustomer(id, trace, signal) {
      const look = () => withTimeLimit(limitMs, (limit) => client.getCustomer(id, trace, limit))
      const { joined, result } = share(id, look)
      const customer = await raceAbort(signal, result)
      return customer === undefined && joined ? raceAbort(signal, look()) : customer
    },
  }
}

// What an order does with customers, inside its own transaction.

/** Those of these customers that are there now, whatever a lookup said before. */
export function findingCustomers(trx: Database, ids: readonly number[]): CompiledQuery<{ id: number }> | undefined {
  if (ids.length === 0) return undefined
  return compileOnce(trx, `live customers ${ids.length}`, ids, () =>
    trx.selectFrom('customers').select('id').where('id', 'in', ids).where('deleted_at', 'is', null),
  )
}

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

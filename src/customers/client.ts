import type { z } from 'zod'
import { createSingleFlight } from '../platform/core/single-flight.ts'
import { withTimeLimit } from '../platform/core/timeout.ts'
import { createBatchedCalls, raceAbort, type Upstream, unlessNotFound } from '../platform/rpc/client.ts'
import type { Trace } from '../platform/telemetry/trace.ts'
import { Customer, type CustomerBrief as CustomerBriefSchema } from './contract.ts'
import type { CustomersService, Customer as CustomerValue } from './service.ts'

export type CustomerBrief = z.output<typeof CustomerBriefSchema>

/** During an upgrade, Customers may still be of a version that knows no external ids and no PO policies. */
const AnyVersionsCustomer = Customer.extend({
  external_id: Customer.shape.external_id.default(null),
  po_policy: Customer.shape.po_policy.default('unique'),
})

export interface CustomersClient {
  /**
   * @returns undefined when the customer does not exist
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
        responseSchema: AnyVersionsCustomer,
        signal,
      } as const
      const reply = await send(call, { id }).catch(unlessNotFound)
      return reply?.value
    },
  }
}

/** A client of Customers in the same process. */
export function createLocalCustomersClient(customers: Pick<CustomersService, 'getCustomerInternal'>): CustomersClient {
  return { getCustomer: (id, _, signal) => raceAbort(signal, customers.getCustomerInternal(id).catch(unlessNotFound)) }
}

/** Older lookups are not shared: they may show a customer as it was before a change. */
const MAX_SHARED_AGE_MS = 5

/**
 * Callers that ask for the same customer at the same moment share one lookup, which may be a little older than the
 * call. That is safe: an order checks its customer again in its own transaction, and a customer that was not found is
 * looked up again.
 * @param limitMs the time limit of a lookup, for all its attempts together
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

import { changedFrom } from '../platform/events/changed-from.ts'
import type { EventOrigin, NewEvent } from '../platform/events/record.ts'

/** What Customers tells others. */
export const CUSTOMER_EVENTS = ['customer.created', 'customer.updated', 'customer.deleted'] as const

type CustomerEvent = (typeof CUSTOMER_EVENTS)[number]

interface Versioned {
  id: number
  version: number
}

export function customerCreated(customer: Versioned, origin: EventOrigin): NewEvent {
  return eventOf('customer.created', customer, origin, { customer })
}

export function customerUpdated<C extends Versioned>(before: C, customer: C, origin: EventOrigin): NewEvent {
  return eventOf('customer.updated', customer, origin, { customer, previous: changedFrom(before, customer) })
}

/** The event has no old values: they were erased. */
export function customerErased(customer: Versioned, origin: EventOrigin): NewEvent {
  const reason = 'erased'
  return { ...eventOf('customer.updated', customer, origin, { customer, reason }), reason }
}

/** @param customer as it was, with the version of its deletion */
export function customerDeleted(customer: Versioned, origin: EventOrigin): NewEvent {
  return eventOf('customer.deleted', customer, origin, { customer })
}

function eventOf(type: CustomerEvent, { id, version }: Versioned, origin: EventOrigin, data: object): NewEvent {
  return { type, resource: { type: 'customer', id, version }, customerId: id, origin, data: JSON.stringify(data) }
}

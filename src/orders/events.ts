import type { z } from 'zod'
import type { DbTime } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { changedFrom } from '../platform/events/changed-from.ts'
import { type EventOrigin, type NewEvent, systemOrigin } from '../platform/events/record.ts'
import type { Order as OrderSchema } from './contract.ts'

/** What Orders tells others. */
export const ORDER_EVENTS = ['order.placed', 'order.confirmed', 'order.canceled', 'order.updated'] as const

type Order = z.output<typeof OrderSchema>

export type OrderEvent = (typeof ORDER_EVENTS)[number]

/** Why an order was canceled. */
export type CancelReason = 'requested' | 'hold_expired'

/** @param body the order's JSON, where it is made already */
export function orderPlaced(order: Order, body: string, cause: EventOrigin): NewEvent {
  return eventOf('order.placed', order, cause, `{"order":${body}}`)
}

export function orderConfirmed(before: Order, order: Order, cause: EventOrigin): NewEvent {
  return eventOf('order.confirmed', order, cause, dataOf(before, order))
}

export function orderCanceled(before: Order, order: Order, cause: EventOrigin, reason: CancelReason): NewEvent {
  return { ...eventOf('order.canceled', order, cause, dataOf(before, order, reason)), reason }
}

export function orderUpdated(before: Order, order: Order, cause: EventOrigin): NewEvent {
  return eventOf('order.updated', order, cause, dataOf(before, order))
}

/** The event has no old values: they were erased. */
export function orderErased(order: Order, cause: EventOrigin): NewEvent {
  const reason = 'erased'
  return { ...eventOf('order.updated', order, cause, JSON.stringify({ order, reason })), reason }
}

/** A version of an order that has no event. */
export interface MissedChange {
  version: number
  type: OrderEvent
  /** Absent: nothing tells it. */
  occurredAt?: DbTime
}

/** An event that is added later. What the order was then is not known, so it shows the order as it is now. */
export function orderBackfilled(order: Order, { version, type, occurredAt }: MissedChange): NewEvent {
  const reason = 'backfilled'
  const event = eventOf(type, { ...order, version }, BACKFILL, JSON.stringify({ order, reason }))
  return { ...event, reason, ...(occurredAt && { occurredAt }) }
}

const BACKFILL = systemOrigin('backfill')

/** What an order has in place of the details that may be about a person, once they are erased. */
export const ERASED = { ship_to: null, notes: null, metadata: null }

/** What an event tells of an order, without the details that may be about a person. */
export function withoutDetails(data: string): string {
  const { order, previous, ...rest } = unsafeCast<{ order: Order; previous?: Partial<Order> }>(JSON.parse(data))
  const kept = previous && Object.fromEntries(Object.entries(previous).filter(([name]) => !(name in ERASED)))
  return JSON.stringify({ order: { ...order, ...ERASED }, previous: kept, ...rest })
}

function dataOf(before: Order, order: Order, reason?: string): string {
  return JSON.stringify({ order, previous: changedFrom(before, order), reason })
}

function eventOf(type: OrderEvent, { id, version, customer_id }: Order, origin: EventOrigin, data: string): NewEvent {
  return { type, resource: { type: 'order', id, version }, customerId: customer_id, origin, data }
}

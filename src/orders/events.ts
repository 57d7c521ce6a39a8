import type { z } from 'zod'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { changedFrom } from '../platform/events/changed-from.ts'
import type { EventOrigin, NewEvent } from '../platform/events/record.ts'
import { Order as OrderSchema } from './contract.ts'

/** What Orders tells others. */
export const ORDER_EVENTS = ['order.placed', 'order.confirmed', 'order.canceled', 'order.updated'] as const

type Order = z.output<typeof OrderSchema>

type OrderEvent = (typeof ORDER_EVENTS)[number]

/** Why an order was canceled. */
export type CancelReason = 'requested' | 'hold_expired'

export function orderPlaced(order: Order, cause: EventOrigin): NewEvent {
  return eventOf('order.placed', order, cause, JSON.stringify({ order: stored(order) }))
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
  return { ...eventOf('order.updated', order, cause, JSON.stringify({ order: stored(order), reason })), reason }
}

/** What an order has in place of the details that may be about a person, once they are erased. */
export const ERASED = { ship_to: null, notes: null, metadata: null }

/** What an event tells of an order, without the details that may be about a person. */
export function withoutDetails(data: string): string {
  const { order, previous, ...rest } = unsafeCast<{ order: Order; previous?: Partial<Order> }>(JSON.parse(data))
  const kept = previous && Object.fromEntries(Object.entries(previous).filter(([name]) => !(name in ERASED)))
  return JSON.stringify({ order: { ...order, ...ERASED }, previous: kept, ...rest })
}

function dataOf(before: Order, order: Order, reason?: string): string {
  return JSON.stringify({ order: stored(order), previous: changedFrom(before, order), reason })
}

/**
 * An order as its events keep it: without lines, which never change, and without empty members. That halves what an event
 * costs and takes.
 */
function stored({ items: _, ...order }: Order): Partial<Order> {
  return Object.fromEntries(Object.entries(order).filter(([, value]) => value !== null))
}

/** What an event keeps of an order. With `items`: all of it, because the order was moved out of the database. */
export interface StoredOrderData {
  order: Partial<Order>
  previous?: Partial<Order>
  reason?: string
}

/** What an event tells, as callers see it. */
export function completeData({ order, ...rest }: StoredOrderData, items: Order['items']) {
  return { order: completeOrder({ items, ...order }), ...rest }
}

const MEMBERS = Object.keys(OrderSchema.shape)

function completeOrder(order: Partial<Order>): Record<string, unknown> {
  const members = new Map<string, unknown>(Object.entries(order))
  return Object.fromEntries(MEMBERS.map((member) => [member, members.get(member) ?? null]))
}

function eventOf(type: OrderEvent, { id, version, customer_id }: Order, origin: EventOrigin, data: string): NewEvent {
  return { type, resource: { type: 'order', id, version }, customerId: customer_id, origin, data }
}

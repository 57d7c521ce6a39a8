import type { z } from 'zod'
import type { DbTime } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { changedFrom } from '../platform/events/changed-from.ts'
import { type EventOrigin, type NewEvent, systemOrigin } from '../platform/events/record.ts'
import { Order as OrderSchema } from './contract.ts'

/** What Orders tells others. */
export const ORDER_EVENTS = ['order.placed', 'order.confirmed', 'order.canceled', 'order.updated'] as const

type Order = z.output<typeof OrderSchema>

export type OrderEvent = (typeof ORDER_EVENTS)[number]

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
  const event = eventOf(type, { ...order, version }, BACKFILL, JSON.stringify({ order: stored(order), reason }))
  return { ...event, reason, ...(occurredAt && { occurredAt }) }
}

const BACKFILL = systemOrigin('backfill')

/** What an order has in place of the details that may be about a person, once they are erased. */
export const ERASED = { ship_to: null, notes: null, metadata: null }

/** What an event tells of an order, without the details that may be about a person. */
export function withoutDetails(data: string): string {
  const { order, previous, ...rest } = unsafeCast<StoredOrderData>(JSON.parse(data))
  return JSON.stringify({ order: withoutPersonal(order), previous: previous && withoutPersonal(previous), ...rest })
}

function withoutPersonal(members: Partial<Order>): Partial<Order> {
  return Object.fromEntries(Object.entries(members).filter(([name]) => !(name in ERASED)))
}

function dataOf(before: Order, order: Order, reason?: string): string {
  return JSON.stringify({ order: stored(order), previous: changedFrom(before, order), reason })
}

/**
 * An order as its events keep it: without lines, which never change, and without empty members. That halves what an event
 * costs and takes.
 */
function stored(order: Order): Partial<Order> {
  const members: Record<string, unknown> = {}
  for (const name of STORED) if (order[name] !== null) members[name] = order[name]
  return members
}

const MEMBERS = OrderSchema.keyof().options
const STORED = MEMBERS.filter((name) => name !== 'items')

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

function completeOrder(order: Partial<Order>): Record<string, unknown> {
  const members = new Map<string, unknown>(Object.entries(order))
  return Object.fromEntries(MEMBERS.map((member) => [member, members.get(member) ?? null]))
}

function eventOf(type: OrderEvent, { id, version, customer_id }: Order, origin: EventOrigin, data: string): NewEvent {
  return { type, resource: { type: 'order', id, version }, customerId: customer_id, origin, data }
}

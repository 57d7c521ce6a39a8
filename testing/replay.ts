import { isDeepStrictEqual } from 'node:util'
import type { Event } from '../src/events/event-response.ts'
import type { ApiClient, ApiResponse } from './api-client.ts'

// Reading the feed as callers do, and what it must be for whoever keeps a copy by it.

export type FeedEvent = Event

type Body = ApiResponse['body']

interface Reading {
  /** A cursor; empty: from the oldest event. */
  after?: string
  /** Filters, as in a URL. */
  query?: string
  limit?: number
  token?: string
}

/** Reads the feed page by page to its end. */
export async function readFeed(api: ApiClient, { after = '', query = '', limit = 500, token }: Reading = {}) {
  const events: FeedEvent[] = []
  for (let cursor = after; ; ) {
    const path = `/events?${query === '' ? '' : `${query}&`}limit=${limit}&after=${cursor}`
    const { status, body } = await api.get(path, token === undefined ? {} : { token })
    if (status !== 200) throw new Error(`the feed answered ${status} ${JSON.stringify(body)}`)
    events.push(...body.data)
    cursor = body.next_cursor
    if (!body.has_more) return { events, cursor }
  }
}

/** What a reader has that began with nothing and took every event. */
export interface Replayed {
  orders: Map<number, Body>
  /** The stock of the products that were made in these events. */
  stocks: Map<number, number>
  /** What no reader could make sense of, in words. */
  faults: string[]
}

interface ReplayOptions {
  /** A time that tests write into rows: no event tells of that. */
  byHand?: string
  /** Whether a resource is older than these events. Its first event may then be any. */
  isOlder?(type: string, id: number): boolean
}

/** Takes the events one after another, each of which must follow from those before it. */
export function replay(events: readonly FeedEvent[], options: ReplayOptions = {}): Replayed {
  const of = (type: string) => events.filter(({ resource }) => resource.type === type)
  const byResource = Map.groupBy(events, ({ resource }) => `${resource.type} ${resource.id}`)
  const orders = new Map(of('order').map(({ resource, data }) => [resource.id, bodyIn(data, 'order')]))
  const stocks = stocksOf(of('product'), orders)
  const faults = [
    ...positionFaults(events),
    ...[...byResource.values()].flatMap((some) => resourceFaults(some, options)),
    ...[...stocks].flatMap(([id, stock]) => [
      ...crossingFaults(byResource.get(`product ${id}`) ?? [], stock),
      ...lowFaults(byResource.get(`product ${id}`) ?? [], returnsOf(id, of('order')), stock),
    ]),
  ]
  return { orders, stocks, faults }
}

function bodyIn(data: FeedEvent['data'], name: string): Body {
  return data[name]
}

function positionFaults(events: readonly FeedEvent[]): string[] {
  const [first] = events
  const misplaced = events.filter(({ position }, i) => position !== (first?.position ?? 0) + i)
  const repeated = events.length - new Set(events.map(({ id }) => id)).size
  return [
    ...misplaced.slice(0, 1).map((event) => `${named(event)} does not have the next position`),
    ...(repeated > 0 ? [`${repeated} events come twice`] : []),
  ]
}

function named({ id, type, position, resource }: FeedEvent): string {
  return `${id} at ${position}, ${type} of ${resource.type} ${resource.id} version ${resource.version},`
}

/** The types that begin a resource. */
const FIRST_TYPES = ['order.placed', 'customer.created', 'product.created']
/** The types that tell all of a product. */
const WHOLE_PRODUCT = ['product.created', 'product.updated']

function resourceFaults(events: readonly FeedEvent[], options: ReplayOptions): string[] {
  const faults: string[] = []
  let before: FeedEvent | undefined
  let body: Body
  for (const event of events) {
    const { type, resource, data } = event
    const after = bodyIn(data, resource.type)
    const wrong = [
      ...(after?.id === resource.id && after?.version === resource.version ? [] : ['tells of another version']),
      ...orderFaults(event, before, options),
      ...(resource.type === 'product' && !WHOLE_PRODUCT.includes(type) ? [] : chainFaults(event, body, options)),
      ...(resource.type === 'order' ? stateFaults(event) : []),
    ]
    faults.push(...wrong.map((fault) => `${named(event)} ${fault}`))
    before = event
    if (resource.type !== 'product' || WHOLE_PRODUCT.includes(type)) body = after
  }
  return faults
}

/** Orders and customers have one event for each version. A product's stock moves without one for each order. */
function orderFaults(event: FeedEvent, before: FeedEvent | undefined, { isOlder }: ReplayOptions): string[] {
  const { type, resource, data } = event
  const isFirst = FIRST_TYPES.includes(type)
  if (before === undefined) {
    if (isOlder?.(resource.type, resource.id) || data.reason === 'backfilled') return []
    return isFirst && resource.version === 1 ? [] : ['is the first of its resource']
  }
  if (isFirst) return ['begins what has begun']
  const { version } = before.resource
  if (resource.type === 'product') return resource.version >= version ? [] : [`comes after version ${version}`]
  return resource.version === version + 1 ? [] : [`comes after version ${version}`]
}

/** Members that change without being told as changed. */
const UNTOLD = ['version', 'updated_at']

/** What was there before, with the old values that the event tells, must be what it tells now. */
function chainFaults({ type, resource, data }: FeedEvent, before: Body, { byHand }: ReplayOptions): string[] {
  const [after, previous] = [bodyIn(data, resource.type) ?? {}, bodyIn(data, 'previous')]
  if (FIRST_TYPES.includes(type)) return previous === undefined ? [] : ['has old values']
  if (type === 'customer.deleted' || data.reason === 'erased') return previous === undefined ? [] : ['has old values']
  // An erasure takes the old values of a customer out of all of its events.
  if (previous === undefined && resource.type === 'customer') return []
  if (previous === undefined) return ['has no old values']
  if (before === undefined) return []
  const untold = resource.type === 'product' ? [...UNTOLD, 'stock'] : UNTOLD
  const unchanged = Object.keys(previous).filter((name) => isDeepStrictEqual(previous[name], after[name]))
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  const broken = names.filter((name) => {
    const was = name in previous ? previous[name] : after[name]
    return !untold.includes(name) && was !== byHand && before[name] !== byHand && !isDeepStrictEqual(was, before[name])
  })
  return [
    ...unchanged.map((name) => `tells ${name} as changed, and it is not`),
    ...broken.map((name) => `does not follow: ${name} was ${JSON.stringify(before[name])}`),
  ]
}

const DETAILS = ['notes', 'metadata', 'ship_to', 'requested_delivery_date']

function stateFaults({ type, data }: FeedEvent): string[] {
  const { status } = bodyIn(data, 'order') ?? {}
  const previous = bodyIn(data, 'previous') ?? {}
  const { reason } = data
  switch (type) {
    case 'order.placed':
      return status === 'CANCELED' && reason !== 'backfilled' ? ['was placed as canceled'] : []
    case 'order.confirmed':
      return status === 'CONFIRMED' && previous.status === 'CREATED' ? [] : ['is no confirmation']
    case 'order.canceled':
      return status === 'CANCELED' && /^(requested|hold_expired)$/.test(String(reason)) && previous.status
        ? []
        : ['is no cancel']
    case 'order.updated':
      return Object.keys(previous).every((name) => DETAILS.includes(name)) ? [] : ['changes more than details']
    default:
      return [`is of an unknown type`]
  }
}

/** What a reader works out: the first stock, what was adjusted, less the quantities of the orders that are not canceled. */
function stocksOf(events: readonly FeedEvent[], orders: ReadonlyMap<number, Body>): Map<number, number> {
  const stocks = new Map<number, number>()
  const add = (id: number, count: number) => stocks.has(id) && stocks.set(id, (stocks.get(id) ?? 0) + count)
  for (const { type, resource, data } of events) {
    if (type === 'product.created') stocks.set(resource.id, bodyIn(data, 'product').stock)
    if (type === 'product.stock_adjusted') add(resource.id, bodyIn(data, 'adjustment').delta)
  }
  const live = [...orders.values()].filter((order) => order && order.status !== 'CANCELED')
  for (const { product_id, qty } of live.flatMap(({ items }) => items)) add(product_id, -qty)
  return stocks
}

/** A stock runs out and comes back in turns. */
function crossingFaults(events: readonly FeedEvent[], finalStock: number): string[] {
  const faults: string[] = []
  let isOut = productIn(events[0]).stock === 0
  for (const event of events) {
    const goesOut = event.type === 'product.out_of_stock'
    if (!goesOut && event.type !== 'product.back_in_stock') continue
    const isZero = productIn(event).stock === 0
    if (isOut === goesOut || goesOut !== isZero) faults.push(`${named(event)} tells nothing new`)
    isOut = goesOut
  }
  const told = isOut ? 'as out of stock' : 'as in stock'
  return isOut === (finalStock === 0)
    ? faults
    : [...faults, `product ${events[0]?.resource.id} has ${finalStock}, and is told ${told}`]
}

/** Between two times at which a stock becomes low, it rose, or the limit did. */
function lowFaults(events: readonly FeedEvent[], returns: number, finalStock: number): string[] {
  const low = events.filter(({ type }) => type === 'product.stock_low')
  const notLow = low.filter((event) => !(productIn(event).stock <= (productIn(event).stock_low_at ?? -1)))
  const limits = events.filter(({ data }) => 'stock_low_at' in (bodyIn(data, 'previous') ?? {})).length
  const rises = events.filter(({ data }) => bodyIn(data, 'adjustment')?.delta > 0).length + returns + limits
  const { id, stock, stock_low_at } = productIn(events[0])
  const mustBeLow = limits === 0 && stock_low_at !== null && stock > stock_low_at && finalStock <= stock_low_at
  return [
    ...notLow.map((event) => `${named(event)} is not low`),
    ...(low.length > rises + 1 ? [`product ${id} became low ${low.length} times, and rose ${rises} times`] : []),
    ...(mustBeLow && low.length === 0 ? [`product ${id} has ${finalStock}, and was never told as low`] : []),
  ]
}

function productIn(event: FeedEvent | undefined): Body {
  return bodyIn(event?.data ?? {}, 'product') ?? {}
}

/** How often orders gave a product back. */
function returnsOf(productId: number, events: readonly FeedEvent[]): number {
  const hasIt = ({ data }: FeedEvent) =>
    bodyIn(data, 'order')?.items.some((item: Body) => item.product_id === productId)
  return events.filter((event) => event.type === 'order.canceled' && hasIt(event)).length
}

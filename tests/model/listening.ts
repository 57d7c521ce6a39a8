import { isDeepStrictEqual } from 'node:util'
import type { ApiClient, ApiResponse } from '../../testing/api-client.ts'
import { type FeedEvent, readFeed, replay } from '../../testing/replay.ts'
import { LONG_AGO } from '../../testing/rows.ts'
import type { TestSystem } from '../../testing/system.ts'

type Body = ApiResponse['body']

/** A part of the feed, as one way of reading it gave it, and as it must be. */
interface View {
  what: string
  seen: readonly FeedEvent[]
  expected: readonly FeedEvent[]
}

/** What was heard of a history, and what is there when it has ended. */
export interface Heard {
  /** The events of the rows that the history began with. */
  made: readonly FeedEvent[]
  /** The events of its calls. */
  events: readonly FeedEvent[]
  views: readonly View[]
  orders: readonly Body[]
  products: readonly Body[]
}

/** Few, so that a short history has several pages. */
const PAGE = 7
/** The readers that poll while others work. More of them would slow the calls down. */
const MEANWHILE = ['the whole feed', 'a bound client']
/** Of a history, so many orders are read each by itself. */
const MAX_ORDERS_ALONE = 2

/** Reads the feed from now on, in parts. */
export async function listen({ orders }: TestSystem) {
  let { cursor } = await readFeed(orders, { after: 'latest' })
  return {
    cursor: () => cursor,
    async readOn(): Promise<FeedEvent[]> {
      const { events, cursor: end } = await readFeed(orders, { after: cursor, limit: PAGE })
      cursor = end
      return events
    },
  }
}

interface Habit {
  what: string
  query: string
  limit: number
  shows(event: FeedEvent): FeedEvent | undefined
  boundTo?: number
}

function habitsOf(boundTo: number): Habit[] {
  const ofTypes = (pattern: RegExp) => (event: FeedEvent) => (pattern.test(event.type) ? event : undefined)
  return [
    { what: 'the whole feed', query: '', limit: 1, shows: (event) => event },
    { what: 'orders', query: 'types=order.*', limit: 3, shows: ofTypes(/^order\./) },
    { what: 'a bound client', query: '', limit: 2, shows: (event) => shownTo(boundTo, event), boundTo },
    {
      what: 'two types',
      query: 'types=product.out_of_stock,customer.*',
      limit: 500,
      shows: ofTypes(/^(product\.out_of_stock$|customer\.)/),
    },
  ]
}

/** A bound client sees its own orders, and of products not who changed them. */
function shownTo(boundTo: number, event: FeedEvent): FeedEvent | undefined {
  const { resource, data, actor } = event
  if (resource.type === 'order') return Object(data.order).customer_id === boundTo ? event : undefined
  if (resource.type !== 'product') return undefined
  return { ...event, actor: { ...actor, id: null }, correlation_id: null }
}

function viewOf({ what, shows }: Habit, seen: readonly FeedEvent[], all: readonly FeedEvent[]): View {
  return { what, seen, expected: all.map(shows).filter((event) => event !== undefined) }
}

/** Who reads, and from where on. */
interface Audience {
  tokens: { all: string; bound: string }
  /** The customer of the bound client. */
  boundTo: number
  after: string
}

/** Readers that poll while others work, each with its own filter, over instances in turn. */
export function startReaders(instances: readonly ApiClient[], { tokens, boundTo, after }: Audience) {
  const over = new AbortController()
  const habits = habitsOf(boundTo).filter(({ what }) => MEANWHILE.includes(what))
  const readers = habits.map(async (habit, i) => {
    const { query, limit } = habit
    const api = instances[i % instances.length]
    const events: FeedEvent[] = []
    let cursor = after
    for (let last = false; api && !last; ) {
      last = over.signal.aborted
      const read = await readFeed(api, { after: cursor, query, limit, token: tokenFor(habit, tokens) })
      events.push(...read.events)
      cursor = read.cursor
    }
    return { habit, events }
  })
  return {
    /** @param all the events that they must have heard */
    async stop(all: readonly FeedEvent[]): Promise<View[]> {
      over.abort()
      const heard = await Promise.all(readers)
      return heard.map(({ habit, events }) => ({
        ...viewOf(habit, events, all),
        what: `${habit.what}, read meanwhile`,
      }))
    },
  }
}

function tokenFor({ boundTo }: Habit, { all, bound }: Audience['tokens']): string {
  return boundTo === undefined ? all : bound
}

/** Reads the events of a history again in other ways, and what there is now. */
export async function lookAround(
  { orders: api }: TestSystem,
  { tokens, boundTo, after }: Audience,
  { events, orderIds, productIds }: { events: readonly FeedEvent[]; orderIds: number[]; productIds: number[] },
): Promise<Pick<Heard, 'views' | 'orders' | 'products'>> {
  const reading = habitsOf(boundTo).map(async (habit) => {
    const { query, limit } = habit
    const page = await readFeed(api, { after, query, limit, token: tokenFor(habit, tokens) })
    return viewOf(habit, page.events, events)
  })
  const readingOf = orderIds.slice(0, MAX_ORDERS_ALONE).map(async (id): Promise<View[]> => {
    const expected = events.filter(({ resource }) => resource.type === 'order' && resource.id === id)
    const { events: seen } = await readFeed(api, { query: `resource=order:${id}`, limit: 2 })
    return [
      { what: `order ${id}`, seen, expected },
      { what: `the history of order ${id}`, seen: await readHistory(api, id), expected },
    ]
  })
  return {
    views: [...(await Promise.all(reading)), ...(await Promise.all(readingOf)).flat()],
    orders: await readAll(api, 'orders', orderIds),
    products: await readAll(api, 'products', productIds),
  }
}

async function readHistory(api: ApiClient, orderId: number): Promise<FeedEvent[]> {
  const events: FeedEvent[] = []
  for (let cursor = ''; ; ) {
    const { body } = await api.get(`/orders/${orderId}/history?limit=2&cursor=${cursor}`)
    events.push(...body.data)
    if (body.next_cursor === null) return events
    cursor = body.next_cursor
  }
}

function readAll(api: ApiClient, collection: string, ids: readonly number[]): Promise<Body[]> {
  return Promise.all(ids.map(async (id) => (await api.get(`/${collection}/${id}`)).body))
}

/** What is wrong with what was heard, in words. Replayed, it must give the very state of everything. */
export function faultsOf({ made, events, views, orders, products }: Heard): string[] {
  const replayed = replay([...made, ...events], { byHand: LONG_AGO })
  const unknown = [...replayed.orders.keys()].filter((id) => orders.every((order) => order.id !== id))
  return [
    ...replayed.faults,
    ...views.filter(({ seen, expected }) => !isDeepStrictEqual(seen, expected)).map(differenceOf),
    ...unknown.map((id) => `the feed has an order ${id} that is not there`),
    ...orders.filter((order) => !isSame(order, replayed.orders.get(order.id))).map(inWords),
    ...products
      .filter(({ id, stock }) => replayed.stocks.get(id) !== stock)
      .map(({ id, stock }) => `product ${id} has ${stock}, by the feed ${replayed.stocks.get(id)}`),
  ]
}

function inWords(order: Body): string {
  return `the feed does not lead to this order: ${JSON.stringify(order)}`
}

function differenceOf({ what, seen, expected }: View): string {
  const named = (all: readonly FeedEvent[]) =>
    all.map(({ position, id, type }) => `${position} ${id} ${type}`).join(', ')
  return `as ${what}, the feed has ${seen.length} events: ${named(seen)}; it must have ${expected.length}: ${named(expected)}`
}

/** Whether an order is as events tell it. Times that the tests wrote into rows are in no event. */
export function isSame(order: Body, replayed: Body): boolean {
  const names = new Set([...Object.keys(order), ...Object.keys(replayed ?? {})])
  return [...names].every((name) => order[name] === LONG_AGO || isDeepStrictEqual(order[name], replayed?.[name]))
}

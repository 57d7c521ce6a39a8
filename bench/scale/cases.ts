import { cutPage } from '../../src/platform/http/pagination.ts'
import { BUSY_PRODUCT } from '../../testing/many-rows.ts'
import type { Cursor, Fixture } from './fixture.ts'

/** One kind of request. */
export interface Case {
  name: string
  depth: string
  target: Target
  service: 'customers' | 'orders'
  /** Called by a client that is bound to a customer. */
  bound?: boolean
  /** Requests of this kind for different rows. */
  pathsIn(fixture: Fixture): Promise<string[]>
}

/** The largest allowed ratio of large to small, or the longest time in the large one. */
export type Target = { ratio: number } | { ms: number }

const LIST_TARGET = { ratio: 1.5 }
const SEARCH_TARGET = { ratio: 2 }
const FEED_TARGET = { ms: 20 }
const VARIANTS = 32

/** The last depth is inside an import, where a thousand orders have one time. */
const DEPTHS = { first: undefined, middle: 0.5, last: 0.9999 }

const FILTERS = [
  [],
  ['status=CONFIRMED'],
  ['status=CANCELED'],
  ['status=CREATED'],
  ['customer'],
  ['customer', 'status=CONFIRMED'],
  ['customer', 'status=CREATED'],
  ['times'],
  ['status=CONFIRMED', 'times'],
  ['customer', 'times'],
  ['customer', 'status=CANCELED', 'times'],
]

const SEARCHES: {
  what: string
  words(i: number): string
  after?: (fixture: Fixture, i: number) => [string, number]
}[] = [
  { what: 'one letter', words: () => 'g' },
  { what: 'a short beginning', words: (i) => `fam${i % 2 === 0 ? '' : 'i'}` },
  { what: 'a long beginning', words: (i) => `family${100 + i}` },
  { what: 'a whole word', words: (i) => `u${1_000 + i}` },
  { what: 'two words, one in every third row', words: (i) => `given${i} gmbh` },
  { what: 'two words, both few have', words: (i) => `given${i} dom${i + 3}` },
  { what: 'two words, beginnings', words: (i) => `gi fam${i % 2 === 0 ? 'ily1' : 'ily2'}` },
  { what: 'two words, a rare and a common one', words: (i) => `corp u${10 + i}` },
  { what: 'three words', words: (i) => `given1 fam dom${1 + (i % 9)}` },
  {
    what: 'a word that all have, deep',
    words: () => 'com',
    after: ({ customers }, i) => ['com', customers / 2 + i * 10],
  },
  { what: 'a letter, deep', words: () => 'f', after: (_, i) => [`family${1_000 + i * 50}`, 1] },
]

/** Requests for events, with a share of the feed at which they begin. */
const FEED: { what: string; query?: string | ((i: number) => string); bound?: boolean; starts?: readonly number[] }[] =
  [
    { what: 'all', starts: [0, 0.5, 1] },
    { what: 'all, 500 a page', query: 'limit=500' },
    { what: 'a type that few have', query: 'types=customer.*' },
    { what: 'a type that none has', query: 'types=webhook_endpoint.disabled' },
    { what: 'a bound client, nearly all orders are of others', query: 'types=order.*', bound: true },
    { what: 'a bound client, with products', bound: true },
    { what: 'one order', query: (i) => `resource=order:${2_000 + 5 * i + 1}`, starts: [0] },
    { what: 'one product, with a tenth of all events', query: `resource=product:${BUSY_PRODUCT}` },
    { what: 'one product, a bound client', query: `resource=product:${BUSY_PRODUCT}`, bound: true },
  ]

export const FEED_CASES: Case[] = [...FEED.flatMap(feedPages), history()]

export const LIST_CASES: Case[] = [
  ...FILTERS.flatMap((filter) => Object.entries(DEPTHS).map(([depth, share]) => orderList(filter, depth, share))),
  ...Object.entries(DEPTHS).map(([depth, share]) => customerList(depth, share)),
  ...SEARCHES.map(search),
]

function orderList(filter: string[], depth: string, share: number | undefined): Case {
  return {
    name: `orders: ${filter.join(', ').replaceAll('status=', '') || 'all'}`,
    depth,
    target: LIST_TARGET,
    service: 'orders',
    async pathsIn(fixture) {
      const [[start], [end]] = [await fixture.cursorsAt(0.999), await fixture.cursorsAt(0.1)]
      const times = `from=${start?.createdAt}&to=${end?.createdAt}`
      const places = share === undefined ? [] : await fixture.cursorsAt(share)
      return variants((i) => {
        const conditions = filter.map((one) => ({ customer: `customer_id=${1 + (i % 4)}`, times })[one] ?? one)
        const place = places[i % places.length]
        return `/orders?${[...conditions, ...(place ? [`cursor=${orderCursor(place)}`] : [])].join('&')}`
      })
    },
  }
}

function customerList(depth: string, share = 0): Case {
  return {
    name: 'customers: all',
    depth,
    target: LIST_TARGET,
    service: 'customers',
    pathsIn: async ({ customers }) =>
      variants((i) => {
        const after = Math.round((customers - 200) * share) + i
        return share === 0 ? '/customers' : `/customers?cursor=${cursorOf('customers', [after])}`
      }),
  }
}

function feedPages({ what, query = '', bound = false, starts = [0.5] }: (typeof FEED)[number]): Case[] {
  return starts.map((share) => ({
    name: `events: ${what}`,
    depth: { 0: 'first', 1: 'last' }[share] ?? 'middle',
    target: FEED_TARGET,
    service: 'orders',
    bound,
    pathsIn: async ({ events }) =>
      variants((i) => {
        const after = cursorOf('events', [Math.min(events, Math.round(events * share) + i * 10)])
        return `/events?after=${after}&${typeof query === 'string' ? query : query(i)}`
      }),
  }))
}

function history(): Case {
  return {
    name: 'events: the history of an order',
    depth: 'first',
    target: FEED_TARGET,
    service: 'orders',
    pathsIn: async () => variants((i) => `/orders/${2_000 + 5 * i + 1}/history`),
  }
}

function search({ what, words, after }: (typeof SEARCHES)[number]): Case {
  return {
    name: `search: ${what}`,
    depth: after ? 'deep' : 'first',
    target: SEARCH_TARGET,
    service: 'customers',
    pathsIn: async (fixture) =>
      variants((i) => {
        const cursor = after && `&cursor=${cursorOf('customers.search', after(fixture, i))}`
        return `/customers?search=${encodeURIComponent(words(i))}${cursor ?? ''}`
      }),
  }
}

function variants(make: (i: number) => string): string[] {
  return Array.from({ length: VARIANTS }, (_, i) => make(i))
}

function orderCursor({ createdAt, id }: Cursor): string {
  return cursorOf('orders', [createdAt, id])
}

/** The cursor that the list returns with a page that ends there. */
function cursorOf(list: string, key: (string | number)[]): string {
  return cutPage(list, [key, key], 1, (row) => row).next_cursor ?? ''
}

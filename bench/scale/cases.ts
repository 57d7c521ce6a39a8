import { cutPage } from '../../src/platform/http/pagination.ts'
import type { Cursor, Fixture } from './fixture.ts'

/** One kind of request. */
export interface Case {
  name: string
  depth: string
  /** The largest allowed ratio of large to small. */
  target: number
  service: 'customers' | 'orders'
  /** Requests of this kind for different rows. */
  pathsIn(fixture: Fixture): Promise<string[]>
}

const LIST_TARGET = 1.5
const SEARCH_TARGET = 2
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

export const CASES: Case[] = [
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

import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { SCOPES } from '../../src/platform/auth.ts'
import type { ApiClient } from '../support/api-client.ts'
import { atOnce } from '../support/rows.ts'
import type { TestSystem } from '../support/system.ts'
import type { Observed } from './linearizing.ts'
import { type Call, type LaterOrders, type Place, type Seen, type State, stateOf } from './model.ts'
import { type Callee, send } from './sending.ts'
import { anyBeginning, anyContender, anyShared, anyVerb, firstRows, type Known, learn, type Verb } from './verbs.ts'

/** What callers do: first one of them alone, then several at the same time. */
export interface History {
  beginning: Verb[]
  branches: Verb[][]
}

/** One call after another. */
export const anySequence: fc.Arbitrary<History> = fc
  .array(anyVerb, { minLength: 1, maxLength: 40, size: 'max' })
  .map((beginning) => ({ beginning, branches: [] }))

/** Two to four callers; in some histories all of them begin with the same call, under the same key. */
export const anyRace: fc.Arbitrary<History> = fc
  .record({
    beginning: fc.array(anyBeginning, { maxLength: 6 }),
    shared: fc.option(anyShared, { nil: undefined }),
    branches: fc.array(fc.array(anyContender, { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 4 }),
  })
  .map(({ beginning, shared, branches }) => {
    return { beginning, branches: branches.map((verbs) => (shared ? [shared, ...verbs] : verbs)) }
  })

/** What came of a history: each branch in its own order, the beginning and what was read at the end among them. */
export interface Played {
  start: State
  branches: Observed[][]
  later: LaterOrders
}

const MOST_PAGES = 20

/**
 * Makes the calls of a history, over rows of its own, and reads at the end all that it knows of.
 * @param instances of Orders, over one database: its callers take turns at them
 */
export async function play(
  system: TestSystem,
  instances: readonly ApiClient[],
  { beginning, branches }: History,
): Promise<Played> {
  const word = `w${randomBytes(4).toString('hex')}`
  const known: Known = { word, customers: [], products: [], orders: [], keyed: [], etags: {} }
  const all = await system.token({ clientId: `all-${word}` })
  let now = 0

  function calleeOf(branch: number, tokens: Callee['tokens']): Callee {
    return { system, orders: instances[branch % instances.length] ?? system.orders, tokens }
  }

  async function observe(callee: Callee, known: Known, call: Call): Promise<Observed> {
    const sent = now++
    const seen = await send(callee, call)
    learn(known, call, seen)
    return { call, seen, sent, answered: now++ }
  }

  /** A list is read to its end, page by page. */
  async function observeAll(callee: Callee, known: Known, verbs: readonly Verb[]): Promise<Observed[]> {
    const done: Observed[] = []
    for (const verb of verbs) {
      const call = verb(known)
      let after: Place | undefined
      for (let page = 0; page < MOST_PAGES; page++) {
        const observed = await observe(callee, known, after ? Object.assign({}, call, { after }) : call)
        done.push(observed)
        after = 'limit' in call ? placeAfter(observed.seen) : undefined
        if (after === undefined) break
      }
    }
    return done
  }

  const setUp = calleeOf(0, { all, bound: all, other: all })
  const rows = firstRows(known)
  const customers = await bodiesOf(rows.customers, (fields) =>
    observe(setUp, known, { verb: 'createCustomer', by: 'all', fields }),
  )
  const products = await bodiesOf(rows.products, (fields) =>
    observe(setUp, known, { verb: 'createProduct', by: 'all', fields }),
  )
  const tokens = {
    all,
    bound: await system.token({ clientId: `bound-${word}`, customerId: customers[0].id }),
    other: await system.token({
      clientId: `other-${word}`,
      scopes: SCOPES.filter((scope) => !scope.startsWith('customers:')),
    }),
  }

  const first = await observeAll(calleeOf(0, tokens), known, beginning)
  const knowers = branches.map(() => structuredClone(known))
  const raced = await atOnce(branches.length, (i) =>
    observeAll(calleeOf(i, tokens), knowers[i] ?? known, branches[i] ?? []),
  )
  const last = await observeAll(calleeOf(0, tokens), known, readingsOf([known, ...knowers]))
  return { start: stateOf(customers, products), branches: [first, ...raced, last], later: ordersIn(last) }
}

async function bodiesOf<T>(fields: T[], create: (fields: T) => Promise<Observed>) {
  const bodies = []
  for (const one of fields) {
    const { seen } = await create(one)
    if (seen.status !== 201) throw new Error(`no row to begin with: ${seen.status} ${seen.text}`)
    bodies.push(seen.body)
  }
  return bodies
}

function placeAfter({ body }: Seen): Place | undefined {
  const cursor = body.next_cursor
  return typeof cursor === 'string' ? { cursor, row: body.data.at(-1) } : undefined
}

function readingsOf(knowers: readonly Known[]): Verb[] {
  const idsOf = (of: (known: Known) => number[]) => [...new Set(knowers.flatMap(of))]
  const calls: Call[] = [
    ...idsOf(({ customers }) => customers).flatMap((id): Call[] => [
      { verb: 'getCustomer', by: 'all', id },
      { verb: 'listOrders', by: 'all', customer_id: id, limit: 100 },
    ]),
    ...idsOf(({ products }) => products).map((id): Call => ({ verb: 'getProduct', by: 'all', id })),
    ...idsOf(({ orders }) => orders).map((id): Call => ({ verb: 'getOrder', by: 'all', id })),
  ]
  return calls.map((call) => () => call)
}

/** When each order was created that a list shows. */
function ordersIn(observed: readonly Observed[]): LaterOrders {
  const lists = observed.filter(({ call }) => call.verb === 'listOrders').flatMap(({ seen }) => seen.body.data)
  return new Map(lists.map(({ id, created_at }) => [id, created_at]))
}

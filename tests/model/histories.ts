import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { SCOPES } from '../../src/compose/modules.ts'
import type { ApiClient } from '../../testing/api-client.ts'
import { atOnce } from '../../testing/rows.ts'
import type { TestSystem } from '../../testing/system.ts'
import { type Callee, send } from './driver.ts'
import type { Observed } from './linearizability.ts'
import { type Heard, listen, lookAround, startReaders } from './listening.ts'
import { type Call, type LaterOrders, type PageStart, type Seen, type State, stateOf } from './model.ts'
import { anyBeginning, anyContender, anyShared, anyVerb, firstCalls, type Known, learn, type Verb } from './verbs.ts'

/** What callers do: first one of them alone, then several at the same time. */
export interface History {
  beginning: Verb[]
  branches: Verb[][]
}

/** One call after another. */
export const anySequence: fc.Arbitrary<History> = fc
  .array(anyVerb, { minLength: 1, maxLength: 40, size: 'max' })
  .map((beginning) => ({ beginning, branches: [] }))

/** Two to four callers; in some histories all of them begin with the same call. */
export const anyRace: fc.Arbitrary<History> = fc
  .record({
    beginning: fc.array(anyBeginning, { maxLength: 6 }),
    shared: fc.option(anyShared, { nil: undefined }),
    branches: fc.array(fc.array(anyContender, { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 4 }),
  })
  .map(({ beginning, shared, branches }) => {
    return { beginning, branches: branches.map((verbs) => (shared ? [shared, ...verbs] : verbs)) }
  })

/** An executed history: each branch in its order, also the beginning and the final reads. */
export interface Played {
  start: State
  branches: Observed[][]
  later: LaterOrders
  feed: Heard
}

const MAX_PAGES = 20

/**
 * Makes the calls of a history over rows of its own, and at the end reads all rows that it knows.
 * @param instances of Orders over one database, which the callers share in turn
 */
export async function play(
  system: TestSystem,
  instances: readonly ApiClient[],
  { beginning, branches }: History,
): Promise<Played> {
  const word = `w${randomBytes(4).toString('hex')}`
  // What earlier histories left to sweep is no event of this one.
  await system.sweeps.releaseExpiredHolds()
  const listening = await listen(system)
  const known: Known = { word, customers: [], products: [], orders: [], keyed: [], etags: {} }
  const all = await system.token({ clientId: `all-${word}` })
  const start = await setUp({ system, orders: system.orders, tokens: { all, bound: all, other: all } }, known)
  const tokens = {
    all,
    bound: await system.token({ clientId: `bound-${word}`, customerId: start.boundTo }),
    other: await system.token({
      clientId: `other-${word}`,
      scopes: SCOPES.filter((scope) => !scope.startsWith('customers:')),
    }),
  }
  let now = 0
  const made = await listening.readOn()

  function calleeOf(branch: number): Callee {
    return { system, orders: instances[branch % instances.length] ?? system.orders, tokens }
  }

  /** A list is read to its end, page by page. */
  async function observeAll(callee: Callee, known: Known, verbs: readonly Verb[]): Promise<Observed[]> {
    const done: Observed[] = []
    for (const verb of verbs) {
      const first = verb(known)
      let after: PageStart | undefined
      for (let page = 0; page < MAX_PAGES; page++) {
        const sent = now++
        const own = 'by' in first && { correlation: `${word}-${sent}` }
        const call: Call = Object.assign({}, first, own, after && { after })
        const seen = await send(callee, call)
        done.push({ call, seen, sent, answered: now++ })
        learn(known, call, seen)
        after = 'limit' in call ? nextPageAfter(seen) : undefined
        if (after === undefined) break
      }
    }
    return done
  }

  const first = await observeAll(calleeOf(0), known, beginning)
  const knowers = branches.map(() => structuredClone(known))
  const audience = { tokens, boundTo: start.boundTo, after: listening.cursor() }
  const readers = branches.length > 0 ? startReaders(instances, audience) : undefined
  const raced = await atOnce(branches.length, (i) => observeAll(calleeOf(i), knowers[i] ?? known, branches[i] ?? []))
  // Nothing changes any more, so parallel reads equal reads in turn.
  const readings = await sendAll(calleeOf(0), readingsOf(word, [known, ...knowers]))
  const last = readings.map((reading) => ({ ...reading, sent: now++, answered: now++ }))
  const later = ordersIn(last)
  const events = await listening.readOn()
  const heard = (await readers?.stop(events)) ?? []
  const touched = { events, orderIds: [...later.keys()], productIds: productsIn(last) }
  const { views, ...rows } = await lookAround(system, audience, touched)
  const feed = { made, events, views: [...heard, ...views], ...rows }
  return { start, branches: [first, ...raced, last], later, feed }
}

function productsIn(observed: readonly Observed[]): number[] {
  const lists = observed.filter(({ call }) => call.verb === 'searchProducts')
  return lists.flatMap(({ seen }) => seen.body.data).map(({ id }) => id)
}

/** Makes the first rows of the history. @returns the state with them */
async function setUp(callee: Callee, known: Known): Promise<State> {
  const made = await sendAll(callee, firstCalls(known))
  for (const { call, seen } of made) {
    if (seen.status !== 201) throw new Error(`no row to begin with: ${seen.status} ${seen.text}`)
    learn(known, call, seen)
  }
  const rowsOf = (verb: Call['verb']) => made.filter(({ call }) => call.verb === verb).map(({ seen }) => seen.body)
  return stateOf(rowsOf('createCustomer'), rowsOf('createProduct'), {
    all: `client:all-${known.word}`,
    bound: `client:bound-${known.word}`,
    other: `client:other-${known.word}`,
  })
}

/** Makes independent calls in parallel. */
function sendAll(callee: Callee, calls: readonly Call[]): Promise<Pick<Observed, 'call' | 'seen'>[]> {
  return Promise.all(calls.map(async (call) => ({ call, seen: await send(callee, call) })))
}

function nextPageAfter({ body }: Seen): PageStart | undefined {
  const cursor = body.next_cursor
  return typeof cursor === 'string' ? { cursor, row: body.data.at(-1) } : undefined
}

/** All customers and products of the history, and the orders of each customer that any caller knows. */
function readingsOf(word: string, knowers: readonly Known[]): Call[] {
  const all = { by: 'all', limit: 100 } as const
  const customers = new Set(knowers.flatMap(({ customers }) => customers))
  return [
    { verb: 'searchCustomers', search: word, ...all },
    { verb: 'searchProducts', search: word, ...all },
    ...[...customers].map((customer_id): Call => ({ verb: 'listOrders', customer_id, ...all })),
  ]
}

/** The creation times of the listed orders. */
function ordersIn(observed: readonly Observed[]): LaterOrders {
  const lists = observed.filter(({ call }) => call.verb === 'listOrders').flatMap(({ seen }) => seen.body.data)
  return new Map(lists.map(({ id, created_at }) => [id, created_at]))
}

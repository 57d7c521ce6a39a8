import type { FeedEvent } from '../../testing/replay.ts'
import {
  agrees,
  type Call,
  type Expected,
  isTold,
  type LaterOrders,
  type Outcome,
  outcomesOf,
  type Progress,
  type Seen,
  type State,
  type Told,
} from './model.ts'

/** A call and its response. `sent` and `answered` are logical times. */
export interface Observed {
  call: Call
  seen: Seen
  sent: number
  answered: number
}

export interface Explained {
  state: State
  /** The model's case of each call. */
  cases: { verb: Call['verb']; what: string }[]
}

export interface Unexplained {
  /** The longest order that the model could follow. */
  followed: Observed[]
  /** The calls that might come next, and the responses that the model expects of them. */
  next: { observed: Observed; expected: Expected[] }[]
  /** Where all calls are followed: events that no call had. */
  surplus?: readonly FeedEvent[]
}

/** What was seen besides the responses. */
interface Found {
  /** The orders that exist at the end. */
  later?: LaterOrders
  /** The events of the calls, in the order of the feed. */
  events?: readonly FeedEvent[]
}

/**
 * Searches a sequence of the calls in which the model gives the responses that were seen (Wing & Gong 1993). It keeps
 * the order of each branch, and no call comes before one that was answered before it was sent. No state is visited twice
 * at one point of all branches (Lowe 2017). Where the feed is known, each step must have its events there, and each event
 * its step.
 */
export function linearize(
  start: State,
  branches: readonly Observed[][],
  { later, events }: Found = {},
): Explained | Unexplained {
  const feed = events && feedOf(events)
  const visited = new Set<string>()
  let best: Unexplained = { followed: [], next: [] }

  interface Point {
    state: State
    /** How many calls of each branch are done, and the progress of the next one. */
    done: number[]
    progress: (Progress | null)[]
    followed: Observed[]
    cases: Explained['cases']
    /** The events of the steps so far. */
    told: readonly FeedEvent[]
  }

  function follow(point: Point): Explained | undefined {
    const name = JSON.stringify([point.done, point.progress, point.state])
    if (visited.has(name)) return undefined
    visited.add(name)
    const waiting = point.done.map((count, branch) => branches[branch]?.[count])
    if (waiting.every((observed) => observed === undefined)) return end(point)
    const firstResponse = Math.min(...waiting.map((observed) => observed?.answered ?? Number.POSITIVE_INFINITY))
    const next: Unexplained['next'] = []
    for (const [branch, observed] of waiting.entries()) {
      if (observed === undefined || observed.sent > firstResponse) continue
      const refuted: Expected[] = []
      const { call, seen } = observed
      for (const outcome of outcomesOf(point.state, call, seen, point.progress[branch] ?? undefined, later)) {
        const told = outcome.told.map((one) => feed?.find(one))
        const missing = feed && outcome.told.find((_, i) => told[i] === undefined)
        if (missing || ('expected' in outcome && !agrees(outcome.expected, seen))) {
          refuted.push(refutationOf(outcome, missing))
          continue
        }
        const known = {
          ...point,
          state: outcome.state,
          told: [...point.told, ...told.filter((one) => one !== undefined)],
        }
        const explained = follow(
          'progress' in outcome
            ? { ...known, progress: point.progress.with(branch, outcome.progress) }
            : {
                ...known,
                done: point.done.with(branch, (point.done[branch] ?? 0) + 1),
                progress: point.progress.with(branch, null),
                followed: [...point.followed, observed],
                cases: [...point.cases, { verb: call.verb, what: outcome.expected.what }],
              },
        )
        if (explained) return explained
      }
      if (refuted.length > 0) next.push({ observed, expected: refuted })
    }
    if (point.followed.length > best.followed.length || (best.next.length === 0 && best.surplus === undefined))
      best = { followed: point.followed, next }
    return undefined
  }

  function end({ state, followed, cases, told }: Point): Explained | undefined {
    const surplus = feed?.all.filter((event) => !told.includes(event)) ?? []
    if (surplus.length === 0) return { state, cases }
    best = { followed, next: [], surplus }
    return undefined
  }

  const progress = branches.map(() => null)
  return follow({ state: start, done: branches.map(() => 0), progress, followed: [], cases: [], told: [] }) ?? best
}

/** Of many orders in one transaction only the sum counts here, so the model does not say when they come. */
const CROSSINGS = ['product.stock_low', 'product.out_of_stock', 'product.back_in_stock']

function feedOf(events: readonly FeedEvent[]) {
  const all = events.filter(({ type }) => !CROSSINGS.includes(type))
  const byName = Map.groupBy(all, ({ type, resource }) => `${type} ${resource.id}`)
  const find = (told: Told) => byName.get(`${told.type} ${told.resource.id}`)?.find((event) => isTold(told, event))
  return { all, find }
}

/** What the model expected instead. */
function refutationOf(outcome: Outcome, missing: Told | undefined): Expected {
  const step = { status: 0, body: '', etag: null, location: null, replayed: false, what: 'a step of it' }
  const expected = 'expected' in outcome ? outcome.expected : step
  return missing ? { ...expected, what: `${expected.what}, with the event ${JSON.stringify(missing)}` } : expected
}

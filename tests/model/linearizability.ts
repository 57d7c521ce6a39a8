import {
  agrees,
  type Call,
  type Expected,
  type LaterOrders,
  outcomesOf,
  type Progress,
  type Seen,
  type State,
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
}

/**
 * Searches a sequence of the calls in which the model gives the responses that were seen (Wing & Gong 1993). It keeps
 * the order of each branch, and no call comes before one that was answered before it was sent. No state is visited twice
 * at one point of all branches (Lowe 2017). @param later the orders that exist at the end
 */
export function linearize(start: State, branches: readonly Observed[][], later?: LaterOrders): Explained | Unexplained {
  const visited = new Set<string>()
  let best: Unexplained = { followed: [], next: [] }

  interface Point {
    state: State
    /** How many calls of each branch are done, and the progress of the next one. */
    done: number[]
    progress: (Progress | null)[]
    followed: Observed[]
    cases: Explained['cases']
  }

  function follow(point: Point): Explained | undefined {
    const name = JSON.stringify([point.done, point.progress, point.state])
    if (visited.has(name)) return undefined
    visited.add(name)
    const waiting = point.done.map((count, branch) => branches[branch]?.[count])
    if (waiting.every((observed) => observed === undefined)) return { state: point.state, cases: point.cases }
    const firstResponse = Math.min(...waiting.map((observed) => observed?.answered ?? Number.POSITIVE_INFINITY))
    const next: Unexplained['next'] = []
    for (const [branch, observed] of waiting.entries()) {
      if (observed === undefined || observed.sent > firstResponse) continue
      const refuted: Expected[] = []
      const { call, seen } = observed
      for (const outcome of outcomesOf(point.state, call, seen, point.progress[branch] ?? undefined, later)) {
        if ('progress' in outcome) {
          const explained = follow({ ...point, ...outcome, progress: point.progress.with(branch, outcome.progress) })
          if (explained) return explained
        } else if (agrees(outcome.expected, seen)) {
          const explained = follow({
            state: outcome.state,
            done: point.done.with(branch, (point.done[branch] ?? 0) + 1),
            progress: point.progress.with(branch, null),
            followed: [...point.followed, observed],
            cases: [...point.cases, { verb: call.verb, what: outcome.expected.what }],
          })
          if (explained) return explained
        } else refuted.push(outcome.expected)
      }
      if (refuted.length > 0) next.push({ observed, expected: refuted })
    }
    if (point.followed.length > best.followed.length || best.next.length === 0)
      best = { followed: point.followed, next }
    return undefined
  }

  const progress = branches.map(() => null)
  return follow({ state: start, done: branches.map(() => 0), progress, followed: [], cases: [] }) ?? best
}

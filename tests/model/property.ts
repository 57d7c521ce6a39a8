import fc from 'fast-check'
import type { ApiClient } from '../../testing/api-client.ts'
import type { TestSystem } from '../../testing/system.ts'
import { formatFailure, formatFeedFailure } from './format-failure.ts'
import { type History, play } from './histories.ts'
import { linearize } from './linearizability.ts'
import { faultsOf } from './listening.ts'

export interface Checked {
  histories: number
  calls: number
  events: number
  /** Counts of each verb and case, as `verb: what`, and of each type of event, as `feed: type`. */
  cases: Record<string, number>
  /** The smallest history that the model can't explain; absent where it explains them all. */
  failure?: Failure
}

export interface Failure {
  /** Finds the history again, with the seed. */
  path: string
  /** For people. */
  description: string
}

interface CheckOptions {
  system: TestSystem
  /** Instances of Orders over the system's database. */
  instances: readonly ApiClient[]
  seed: number
  runs: number
  /** The path of an earlier failure: plays only that history and smaller forms of it. */
  path?: string | undefined
}

/** A race that failed once may need several tries to fail again. */
const TRIES = 10
const SHRINK_LIMIT_MS = 30_000

/** Plays histories until the model can't explain one, and then shrinks that one. */
export async function checkProperty(histories: fc.Arbitrary<History>, options: CheckOptions): Promise<Checked> {
  const { system, instances, seed, runs, path = '' } = options
  const checked: Checked = { histories: 0, calls: 0, events: 0, cases: {} }
  let unexplained: string | undefined
  let shrinkUntil = Number.POSITIVE_INFINITY

  /** @returns a description of what the model can't explain */
  async function playAndExplain(history: History): Promise<string | undefined> {
    const played = await play(system, instances, history)
    const { later, feed } = played
    const found = linearize(played.start, played.branches, { later, events: feed.events })
    if ('next' in found) return formatFailure(played, found)
    const faults = faultsOf(feed)
    if (faults.length > 0) return formatFeedFailure(played, faults)
    checked.histories++
    checked.calls += found.cases.length
    checked.events += feed.events.length
    const told = feed.events.map(({ type, data }) => `feed: ${[type, data.reason].filter(Boolean).join(', ')}`)
    for (const name of [...found.cases.map(({ verb, what }) => `${verb}: ${what}`), ...told]) {
      checked.cases[name] = (checked.cases[name] ?? 0) + 1
    }
    return undefined
  }

  const property = fc.asyncProperty(histories, async (history) => {
    const hasFailed = unexplained !== undefined || path !== ''
    const tries = hasFailed && history.branches.length > 0 ? TRIES : 1
    for (let i = 0; i < tries && performance.now() < shrinkUntil; i++) {
      const description = await playAndExplain(history)
      if (description === undefined) continue
      shrinkUntil = Math.min(shrinkUntil, performance.now() + SHRINK_LIMIT_MS)
      unexplained = description
      throw new Error('the model does not explain this history')
    }
  })
  const run = await fc.check(property, { seed, path, numRuns: runs })
  if (!run.failed) return checked
  if (unexplained === undefined || run.counterexamplePath === null) throw run.errorInstance
  return { ...checked, failure: { path: run.counterexamplePath, description: unexplained } }
}

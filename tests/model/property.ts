import fc from 'fast-check'
import type { ApiClient } from '../../testing/api-client.ts'
import type { TestSystem } from '../../testing/system.ts'
import { tell } from './format-failure.ts'
import { type History, play } from './histories.ts'
import { linearize } from './linearizability.ts'

export interface Checked {
  histories: number
  calls: number
  /** How often each verb came to what, as `verb: what`. */
  cases: Record<string, number>
  /** The smallest history that the model can't explain; absent where it explains them all. */
  failure?: Failure
}

export interface Failure {
  /** Leads to the history, from the seed. */
  path: string
  /** For people. */
  told: string
}

interface CheckOptions {
  system: TestSystem
  /** Of Orders, over the system's database. */
  instances: readonly ApiClient[]
  seed: number
  runs: number
  /** Of an earlier failure: only its history is played, and those that may be a smaller form of it. */
  path?: string | undefined
}

/** What happened once among several callers may need some tries to happen again. */
const TRIES = 10
const SHRINK_LIMIT_MS = 30_000

/** Plays histories and has the model explain each; of the first that it can't explain the smallest form is looked for. */
export async function check(histories: fc.Arbitrary<History>, options: CheckOptions): Promise<Checked> {
  const { system, instances, seed, runs, path = '' } = options
  const checked: Checked = { histories: 0, calls: 0, cases: {} }
  let unexplained: string | undefined
  let shrinkUntil = Number.POSITIVE_INFINITY

  /** @returns what the model can't explain of it */
  async function playAndExplain(history: History): Promise<string | undefined> {
    const played = await play(system, instances, history)
    const found = linearize(played.start, played.branches, played.later)
    if ('next' in found) return tell(played, found)
    checked.histories++
    checked.calls += found.cases.length
    for (const { verb, what } of found.cases) {
      checked.cases[`${verb}: ${what}`] = (checked.cases[`${verb}: ${what}`] ?? 0) + 1
    }
    return undefined
  }

  const property = fc.asyncProperty(histories, async (history) => {
    const hasFailed = unexplained !== undefined || path !== ''
    const tries = hasFailed && history.branches.length > 0 ? TRIES : 1
    for (let i = 0; i < tries && performance.now() < shrinkUntil; i++) {
      const told = await playAndExplain(history)
      if (told === undefined) continue
      shrinkUntil = Math.min(shrinkUntil, performance.now() + SHRINK_LIMIT_MS)
      unexplained = told
      throw new Error('the model does not explain this history')
    }
  })
  const run = await fc.check(property, { seed, path, numRuns: runs })
  if (!run.failed) return checked
  if (unexplained === undefined || run.counterexamplePath === null) throw run.errorInstance
  return { ...checked, failure: { path: run.counterexamplePath, told: unexplained } }
}

import fc from 'fast-check'
import type { ApiClient } from '../support/api-client.ts'
import type { TestSystem } from '../support/system.ts'
import { type History, play } from './histories.ts'
import { linearize } from './linearizing.ts'
import { tell } from './telling.ts'

export interface Checked {
  histories: number
  calls: number
  /** How often each verb came to what, as `verb: what`. */
  cases: Record<string, number>
  /** The smallest history that the model does not know, for people; absent where it knows them all. */
  failure?: string
}

interface CheckOptions {
  system: TestSystem
  /** Of Orders, over the system's database. */
  instances: readonly ApiClient[]
  seed: number
  runs: number
}

/** What happened once among several callers may need some tries to happen again. */
const TRIES = 10
const SHRINK_LIMIT_MS = 60_000

/** Plays histories and has the model explain each; of the first that it can't explain the smallest form is looked for. */
export async function check(histories: fc.Arbitrary<History>, options: CheckOptions): Promise<Checked> {
  const { system, instances, seed, runs } = options
  const checked: Checked = { histories: 0, calls: 0, cases: {} }
  let shrinkUntil = Number.POSITIVE_INFINITY

  async function fails(history: History): Promise<string | undefined> {
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
    const tries = checked.failure === undefined || history.branches.length === 0 ? 1 : TRIES
    for (let i = 0; i < tries && performance.now() < shrinkUntil; i++) {
      const failure = await fails(history)
      if (failure === undefined) continue
      shrinkUntil = Math.min(shrinkUntil, performance.now() + SHRINK_LIMIT_MS)
      checked.failure = failure
      throw new Error('the model does not know this history')
    }
  })
  const { failed, errorInstance } = await fc.check(property, { seed, numRuns: runs })
  if (failed && checked.failure === undefined) throw errorInstance
  return checked
}

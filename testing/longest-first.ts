import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Files that take longest, by far the longest first; many of them wait more than they compute. A long file that started
 * last would run alone. Vitest measures durations too, but a fresh clone has none.
 */
export const LONG_FILES = [
  'tests/database/galera.test.ts',
  'tests/contract/docs-page.test.ts',
  'tests/operations/prometheus.test.ts',
  'tests/operations/commands.test.ts',
  'tests/model/model.test.ts',
  'tests/deploy/functions.test.ts',
  'tests/deploy/offline.test.ts',
  'tests/concurrency/orphaned-transactions.test.ts',
  'src/orchestrator/app.test.ts',
  'tests/contract/http-abuse.test.ts',
  'src/webhooks/dispatcher.test.ts',
  'tests/operations/metrics.test.ts',
  'tests/startup/scripts.test.ts',
  'tests/operations/incidents.test.ts',
  'tests/concurrency/processes.test.ts',
  'tests/concurrency/locked-rows.test.ts',
  'tests/startup/startup.test.ts',
  'tests/operations/traces.test.ts',
  'src/orders/app.test.ts',
  'tests/model/preview.test.ts',
  'tests/contract/order-support.test.ts',
  'tests/operations/wrong-stock.test.ts',
  'tests/fuzz/fuzz.test.ts',
  'tests/auth/secrets.test.ts',
  'tests/deploy/deno.test.ts',
  'tests/concurrency/overload.test.ts',
  'tests/database/query-plans.test.ts',
  'tests/concurrency/concurrency.test.ts',
]

/** The order in which workers take test files: the long ones first. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const rank = ({ moduleId }: TestSpecification) => rankOf(relative(this.ctx.config.root, moduleId))
    return sorted.toSorted((a, b) => rank(a) - rank(b))
  }
}

function rankOf(file: string): number {
  const index = LONG_FILES.indexOf(file)
  return index === -1 ? LONG_FILES.length : index
}

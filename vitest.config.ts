import { defineConfig } from 'vitest/config'
import { LongestFirst } from './testing/longest-first.ts'
import { createProgress } from './testing/progress.ts'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts'],
    globalSetup: ['testing/global-setup.ts'],
    reporters: ['default', createProgress()],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    sequence: { sequencer: LongestFirst },
    // Of the time of two workers on two cores, a third was spent waiting: for a browser, a cluster, an alert, a time limit.
    maxWorkers: 3,
  },
})

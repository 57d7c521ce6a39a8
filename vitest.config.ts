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
    // Two cores: with a third worker, requests took longer than the time limits that some tests set.
    maxWorkers: 2,
  },
})

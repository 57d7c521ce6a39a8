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
    // One more than two cores: many tests wait for a limit, a lock or the end of a program.
    maxWorkers: 3,
  },
})

import { defineConfig } from 'vitest/config'
import { createProgress } from './testing/progress.ts'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts'],
    globalSetup: ['testing/global-setup.ts'],
    reporters: ['default', createProgress()],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores: more workers would only wait for each other, and for the one database server.
    maxWorkers: 2,
  },
})

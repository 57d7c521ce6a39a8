import type { Reporter } from 'vitest/node'

const MANY_FILES = 40

/** Prints the expected duration, and without a terminal the progress after each file. */
export function createProgress(): Reporter {
  const began = Date.now()
  let all = 0
  let done = 0
  return {
    onTestRunStart(files) {
      all = files.length
      const time = all > MANY_FILES ? ', in about ten minutes on two cores' : ''
      console.log(`\nTesting ${all} ${all === 1 ? 'file' : 'files'}${time}.\n`)
    },
    onTestModuleEnd() {
      done++
      if (!process.stdout.isTTY) console.log(`[${done} of ${all} files, ${Math.round((Date.now() - began) / 1000)} s]`)
    },
  }
}

import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'

/**
 * What programs that run for a while have in common at their edges: the command line, progress, and being stopped.
 * Ctrl-C and SIGTERM end `interruption`, whose reason is thrown by the work that heeds it.
 */
export function createProgram(help: string) {
  const began = performance.now()
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort(new Error('Interrupted.')))

  /** Says what is wrong with how it was called, and how it should be; ends with 1. */
  function fail(message: string): never {
    console.error(`${message}\n\n${help}`)
    process.exit(1)
  }

  return {
    began,
    interruption: interrupted.signal,
    fail,

    /** The command line, `--help` included, or {@link fail}. */
    readOptions<const O extends ParseArgsOptionsConfig>(options: O) {
      try {
        return parseArgs({ options: { ...options, help: { type: 'boolean', short: 'h' } } }).values
      } catch (error) {
        return fail(error instanceof Error ? error.message : String(error))
      }
    },

    /** A line of progress, with the seconds that have passed. */
    tell(line: string): void {
      const seconds = Math.round((performance.now() - began) / 1000)
      console.error(`${String(seconds).padStart(4)} s  ${line}`)
    },

    /** What is left to do with what the work threw: of an interruption to say so, and to end with 130. @throws all else */
    endInterrupted(error: unknown): void {
      if (!interrupted.signal.aborted) throw error
      console.error('Interrupted.')
      process.exitCode = 130
    },
  }
}

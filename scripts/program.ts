import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { isSystemError } from '../src/compose/process.ts'
import { StartError } from '../src/compose/start-failure.ts'

/**
 * What programs have in common at their edges: the command line, progress, and being stopped.
 * Ctrl-C and SIGTERM end `interruption`, whose reason is thrown by the work that heeds it.
 */
export function createProgram(help: string) {
  const began = performance.now()
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort(new Error('Interrupted.')))
  process.once('uncaughtException', (error) => {
    console.error(isSystemError(error) || error instanceof StartError ? error.message : error)
    process.exit(1)
  })

  /** Says what is wrong with how it was called, and how it should be; ends with 1. */
  function fail(message: string): never {
    console.error(`${message}\n\n${help}`)
    process.exit(1)
  }

  /** The command line, `--help` included, or {@link fail}. */
  function readOptions<const O extends ParseArgsOptionsConfig>(options: O) {
    try {
      return parseArgs({ options: { ...options, help: { type: 'boolean', short: 'h' } } }).values
    } catch (error) {
      return fail(error instanceof Error ? error.message : String(error))
    }
  }

  return {
    began,
    interruption: interrupted.signal,
    fail,
    readOptions,

    /** For a program that takes no options: `--help` prints the help and ends with 0. */
    readNothing(): void {
      if (!readOptions({}).help) return
      console.log(help)
      process.exit(0)
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

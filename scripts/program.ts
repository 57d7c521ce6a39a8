import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { isSystemError } from '../src/compose/process.ts'
import { StartError } from '../src/compose/start-failure.ts'

/**
 * The common parts of programs: the command line, progress, and interruption. Ctrl-C and SIGTERM abort the signal
 * `interruption`; work that heeds the signal throws its reason.
 */
export function createProgram(help: string) {
  const began = performance.now()
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort(new Error('Interrupted.')))
  process.once('uncaughtException', (error) => {
    console.error(isSystemError(error) || error instanceof StartError ? error.message : error)
    process.exit(1)
  })

  /** Prints what is wrong with the command line, with the help. Exits with 1. */
  function fail(message: string): never {
    console.error(`${message}\n\n${help}`)
    process.exit(1)
  }

  /** Reads the command line, `--help` included. Calls {@link fail} for a wrong one. */
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

    /** For a program without options. `--help` prints the help and exits with 0. */
    readNothing(): void {
      if (!readOptions({}).help) return
      console.log(help)
      process.exit(0)
    },

    /** Prints a line of progress, with the seconds since the start. */
    tell(line: string): void {
      const seconds = Math.round((performance.now() - began) / 1000)
      console.error(`${String(seconds).padStart(4)} s  ${line}`)
    },

    /** Reports an interruption and sets the exit code 130. @throws any other error */
    endInterrupted(error: unknown): void {
      if (!interrupted.signal.aborted) throw error
      console.error('Interrupted.')
      process.exitCode = 130
    },
  }
}

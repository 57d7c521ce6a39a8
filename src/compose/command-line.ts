import { createInterface } from 'node:readline'
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import type { Env } from './env.ts'
import { SCOPES, type Scope } from './modules.ts'
import { run } from './process.ts'
import { readEnvFile, StartError } from './start-failure.ts'

/** A command line that can't be understood. The message ends with the help. */
export class UsageError extends StartError {
  constructor(fault: string, help: string) {
    super(`${fault}\n\n${help}`)
  }
}

/**
 * Runs a command. Commands serve no callers, so they need no secrets. `--help` prints the help and does nothing else.
 * @param failure the exit code of a command that failed
 */
export async function runCommand(help: string, command: (env: Env) => Promise<void>, failure = 1): Promise<void> {
  if (process.argv.some((argument) => argument === '--help' || argument === '-h')) console.log(help)
  else await run((env) => command(withoutQueryTimeout(env)), { serves: false, failure })
}

/**
 * Commands have no query timeout: a migration or an audit of a large database takes longer than a caller would wait.
 */
function withoutQueryTimeout(env: Env): Env {
  return { ...env, database: { ...env.database, queryTimeoutMs: 0, readTimeoutMs: 0 } }
}

/** Reads options. @throws UsageError */
export function readOptions<O extends ParseArgsOptionsConfig>(options: O, help: string) {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), help)
  }
}

/** Like {@link readOptions}, with the arguments that belong to no option. @throws UsageError */
export function readOptionsAndRest<O extends ParseArgsOptionsConfig>(options: O, help: string) {
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    return { values, rest: positionals }
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), help)
  }
}

/** A variable that belongs to one command and to no service. An empty one counts as absent. */
export function readVariable(name: string): string | undefined {
  return (process.env[name] ?? readEnvFile()[name]) || undefined
}

/**
 * Asks for confirmation before a change that can't be undone.
 * @param yes whether the command line confirms the change already
 * @throws StartError when the user declines, and when there is no terminal
 */
export async function askToGoOn(question: string, yes: boolean): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY) throw new StartError(`${question}\nNothing was changed. To go on, add --yes.`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const response = await new Promise<string>((resolve) => {
    terminal.once('close', () => resolve(''))
    terminal.question(`${question}\nGo on? [y/N] `, resolve)
  })
  terminal.close()
  if (!/^\s*y(es)?\s*$/i.test(response)) throw new StartError('Nothing was changed.')
}

/** @throws UsageError for a scope that does not exist */
export function readScopes(text: string, help: string): Scope[] {
  const names = [...new Set(text.split(/[\s,]+/).filter((name) => name !== ''))]
  const scopes = SCOPES.filter((scope) => names.includes(scope))
  const unknown = names.filter((name) => !scopes.some((scope) => scope === name))
  if (unknown.length > 0)
    throw new UsageError(`Unknown scope: ${unknown.join(', ')}. There are: ${SCOPES.join(', ')}.`, help)
  if (scopes.length === 0) throw new UsageError('At least one scope is needed.', help)
  return scopes
}

/** @throws UsageError for anything but a positive integer */
export function readPositive(text: string | undefined, option: string, help: string): number | undefined {
  if (text === undefined) return undefined
  const number = Number(text)
  if (Number.isSafeInteger(number) && number > 0) return number
  throw new UsageError(`${option} must be a positive integer.`, help)
}

const DAYS = /^(\d{1,5})d$/

/** A length of time such as `30d`, in days. Undefined for any other text. */
export function readDays(text: string): number | undefined {
  const [, days] = DAYS.exec(text) ?? []
  return days === undefined ? undefined : Number(days)
}

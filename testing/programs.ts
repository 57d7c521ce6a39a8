import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { inject, onTestFinished } from 'vitest'
import { parseEnv } from '../src/compose/env.ts'
import type { Engine } from '../src/platform/database/dialect.ts'
import { createDatabase, dropDatabase, type Variables } from './fixture.ts'
import { freshDatabaseVariables } from './system.ts'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))
export const BINARIES = join(ROOT, 'node_modules', '.bin')
const SCRIPTS: Record<string, string> = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts
const LIMIT_MS = 30_000

/**
 * Lets the programs of one run share what each would make anew: compiled modules, which are half the processor time of a
 * start, and Serverless's compiled schema, which it looks for in the home directory.
 */
export function sharedCaches(): Variables {
  const folder = inject('caches')
  return { NODE_COMPILE_CACHE: join(folder, 'node'), SLS_SCHEMA_CACHE_BASE_DIR: folder }
}

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
  /** How long it ran, in ms. */
  ms: number
}

export interface Program {
  pid: number
  stdout(): string
  stderr(): string
  /** The lines that were logged so far. */
  log(): LogLine[]
  ended: Promise<Ended>
  /** Sends SIGTERM, and waits for the end. */
  stop(): Promise<Ended>
}

export type LogLine = Record<string, unknown> & { msg: string }

/**
 * Runs a script of package.json until the test ends, with only these variables, in an empty folder: it does not read the
 * project's `.env`.
 */
export function startProgram(script: string, variables: Variables, args: string[] = []): Program {
  const [runtime = '', file = '', ...rest] = SCRIPTS[script]?.split(' ') ?? []
  return startCommand(join(BINARIES, runtime), [join(ROOT, file), ...rest, ...args], variables)
}

/** Runs a script through npm, as people do. */
export function startThroughNpm(script: string, variables: Variables): Program {
  return startCommand('npm', ['run', '--silent', '--prefix', ROOT, script], variables)
}

/** Runs a script of package.json to its end. */
export function runProgram(script: string, variables: Variables, args: string[] = []): Promise<Ended> {
  const { ended, stderr } = startProgram(script, variables, args)
  return within(ended, () => `npm run ${script} did not end\n${stderr()}`)
}

/** Runs a command until the test ends, with only these variables. @param cwd default: an empty folder */
export function startCommand(command: string, args: string[], variables: Variables, cwd?: string): Program {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-program-'))
  const PATH = [BINARIES, process.env.PATH].join(delimiter)
  const began = Date.now()
  const child = spawn(command, args, {
    cwd: cwd ?? folder,
    env: { PATH, HOME: folder, ...sharedCaches(), ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own, so that its children can be ended with it.
    detached: true,
  })
  const { stdout, stderr } = captureOutput(child)
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout: stdout(), stderr: stderr(), ms: Date.now() - began }))
  })
  onTestFinished(async () => {
    if (child.pid !== undefined) killGroup(child.pid)
    await ended
    rmSync(folder, { recursive: true, force: true })
  })
  const stop = () => {
    child.kill('SIGTERM')
    return within(ended, () => `it did not stop\n${stdout()}\n${stderr()}`)
  }
  return { pid: child.pid ?? 0, stdout, stderr, log: () => logLines(stdout()), ended, stop }
}

/** What a process has written so far. */
export function captureOutput({ stdout, stderr }: Pick<ChildProcess, 'stdout' | 'stderr'>) {
  const texts = { stdout: '', stderr: '' }
  stdout?.setEncoding('utf8').on('data', (text) => {
    texts.stdout += text
  })
  stderr?.setEncoding('utf8').on('data', (text) => {
    texts.stderr += text
  })
  return { stdout: () => texts.stdout, stderr: () => texts.stderr }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

/** Every whole line, each of which must be JSON. */
export function logLines(stdout: string): LogLine[] {
  const lines = stdout.split('\n').slice(0, -1)
  return lines.map((line) => JSON.parse(line))
}

export function within<T>(work: Promise<T>, failure: () => string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(failure())), LIMIT_MS)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** Polls until `look` finds something. */
export async function until<T>(
  look: () => T | undefined | Promise<T | undefined>,
  failure: () => string,
  limitMs = LIMIT_MS,
): Promise<NonNullable<T>> {
  const end = Date.now() + limitMs
  while (Date.now() < end) {
    const found = await look()
    if (found !== undefined && found !== null) return found
    await sleep(20)
  }
  throw new Error(failure())
}

/** Variables that make a program on Node run this code in a timer, each time it gets SIGUSR2. */
export function onSigusr2(code: string): Variables {
  const script = `process.on('SIGUSR2', () => setTimeout(() => { ${code} }))`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
}

/** Waits for a log line that fits. */
export function logged(program: Program, fits: (line: LogLine) => boolean): Promise<LogLine> {
  return until(
    () => program.log().find(fits),
    () => `no such line was logged\n${program.stdout()}\n${program.stderr()}`,
  )
}

/** Waits until a service listens. @returns its URL */
export async function addressOf(program: Program): Promise<string> {
  const { port } = await logged(program, ({ msg }) => msg === 'listening')
  return `http://127.0.0.1:${port}`
}

/** The variables of a new database, which is removed when the test ends. */
export function freshDatabase(engine: Engine): Variables {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-data-'))
  const variables = freshDatabaseVariables(engine, folder)
  onTestFinished(async () => {
    await dropDatabase(parseEnv(variables).database)
    rmSync(folder, { recursive: true, force: true })
  })
  return variables
}

/** The variables of a new database with its tables, made without a program. It is removed when the test ends. */
export async function migratedDatabase(engine: Engine, { seeded = false } = {}): Promise<Variables> {
  const variables = freshDatabase(engine)
  const db = await createDatabase(parseEnv(variables).database, { seeded })
  await db.destroy()
  return variables
}

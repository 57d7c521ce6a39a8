import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { endProcess, hasEnded } from '../scripts/children.ts'

export interface Program<Name extends string = string> {
  name: Name
  /** From here. */
  file: string
  variables: Record<string, string>
  /** Answers `/health` when it is up. */
  port: number
}

/** A service that is started again a moment after it died, as a container platform would. */
export interface Supervised {
  name: string
  /** At once, with no chance to finish anything. @returns whether there was something to kill */
  kill(): boolean
  /** How often it was started. */
  starts(): number
  /** Deaths that were not ours, of a process that had been up. */
  ownDeaths(): string[]
  /** Ends of processes that could not start, as while the database was away. */
  failedStarts(): number
  up(): boolean
  stop(): Promise<void>
}

const RESTART_AFTER_MS = 300
const LAST_WORDS = 600

export function supervise(program: Program, folder: string): Supervised {
  const log = join(folder, `${program.name}.log`)
  const ownDeaths: string[] = []
  let child: ChildProcess | undefined
  let starts = 0
  let failedStarts = 0
  let up = false
  let killed = false
  let stopping = false
  let restarting: NodeJS.Timeout | undefined

  function start(): void {
    starts++
    up = false
    killed = false
    const started = launch(program, log, folder)
    child = started
    started.once('exit', (code, signal) => died(code, signal))
    awaitHealth(started)
  }

  async function awaitHealth(of: ChildProcess): Promise<void> {
    while (!hasEnded(of)) {
      if (await answersHealth(program.port)) {
        if (!hasEnded(of)) up = true
        return
      }
      await sleep(100)
    }
  }

  function died(code: number | null, signal: NodeJS.Signals | null): void {
    if (stopping) return
    if (!killed && up) ownDeaths.push(`${program.name} ended by itself (${code ?? signal}): ${lastWords(log)}`)
    else if (!killed) failedStarts++
    up = false
    restarting = setTimeout(start, RESTART_AFTER_MS)
  }

  // Should the run itself end in an error, nothing of it stays.
  process.once('exit', () => child?.kill('SIGKILL'))
  start()
  return {
    name: program.name,
    kill() {
      if (child === undefined || hasEnded(child) || killed) return false
      killed = true
      return child.kill('SIGKILL')
    },
    starts: () => starts,
    ownDeaths: () => ownDeaths,
    failedStarts: () => failedStarts,
    up: () => up && child !== undefined && !hasEnded(child),
    async stop() {
      stopping = true
      clearTimeout(restarting)
      if (child) await endProcess(child)
    },
  }
}

function launch({ file, variables }: Program, log: string, folder: string): ChildProcess {
  const out = openSync(log, 'a')
  const child = spawn(process.execPath, [fileURLToPath(new URL(file, import.meta.url))], {
    // Where no .env is.
    cwd: folder,
    env: { PATH: process.env.PATH, ...variables },
    stdio: ['ignore', out, out],
  })
  closeSync(out)
  return child
}

async function answersHealth(port: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(2_000) }).catch(
    () => undefined,
  )
  await response?.body?.cancel()
  return response?.ok ?? false
}

function lastWords(log: string): string {
  return readFileSync(log, 'utf8').slice(-LAST_WORDS)
}

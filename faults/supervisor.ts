import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { endProcess, hasEnded } from '../scripts/children.ts'
import { isUp, launch, type ServiceProcess, type ServiceProgram } from '../testing/service-processes.ts'

/** A service that is restarted a moment after it died, as a container platform does. */
export interface Supervised {
  name: string
  /** Sends SIGKILL. @returns whether a process was running */
  kill(): boolean
  /** How often it was started. */
  starts(): number
  /** Deaths of processes that were up and that nobody killed. */
  ownDeaths(): string[]
  /** Processes that ended before they were up, as while the database was down. */
  failedStarts(): number
  up(): boolean
  stop(): Promise<void>
}

const RESTART_AFTER_MS = 300

export function supervise(program: ServiceProgram, folder: string): Supervised {
  const ownDeaths: string[] = []
  let running: ServiceProcess | undefined
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
    const started = launch(program, folder)
    running = started
    started.child.once('exit', (code, signal) => died(code, signal))
    awaitHealth(started.child)
  }

  async function awaitHealth(of: ChildProcess): Promise<void> {
    while (!hasEnded(of)) {
      if (await isUp(program.port, '/health', 2_000)) {
        if (!hasEnded(of)) up = true
        return
      }
      await sleep(100)
    }
  }

  function died(code: number | null, signal: NodeJS.Signals | null): void {
    if (stopping) return
    if (!killed && up) ownDeaths.push(`${program.name} ended by itself (${code ?? signal}): ${running?.logTail()}`)
    else if (!killed) failedStarts++
    up = false
    restarting = setTimeout(start, RESTART_AFTER_MS)
  }

  start()
  return {
    name: program.name,
    kill() {
      if (running === undefined || hasEnded(running.child) || killed) return false
      killed = true
      return running.child.kill('SIGKILL')
    },
    starts: () => starts,
    ownDeaths: () => ownDeaths,
    failedStarts: () => failedStarts,
    up: () => up && running !== undefined && !hasEnded(running.child),
    async stop() {
      stopping = true
      clearTimeout(restarting)
      if (running) await endProcess(running.child)
    },
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Ground } from './workloads.ts'

/** What a process that makes load is told. */
export interface Load {
  workload: string
  /** Callers, each with one thing under way. */
  connections: number
  warmMs: number
  measureMs: number
  ground: Ground
}

/** What it tells. */
export type Told = { kind: 'began' } | { kind: 'ended' } | { kind: 'result'; result: Result }

/** Of the time that is measured, but for `placed`. */
export interface Result {
  done: number
  errors: number
  seconds: number
  p50: number
  p99: number
  max: number
  /** Orders that were promised, those before and after the time that is measured included. */
  placed: number
  firstError: string | undefined
}

/** Does one thing after another. */
export interface Caller {
  /** @returns whether it placed an order. @throws Error when it could not be done */
  act(): Promise<{ placed: boolean }>
  close(): void
}

interface Tally {
  measuring: boolean
  stopping: boolean
  placed: number
  errors: number
  latencies: number[]
  firstError: string | undefined
}

const PAUSE_AFTER_ERROR_MS = 50

/** Makes this process one that does what loads it is told, and ends when the one that started it lets go. */
export function answerLoads<L extends Load>(open: (load: L) => Caller): void {
  // Ctrl-C reaches the whole group of processes.
  process.on('SIGINT', () => {})
  process.on('disconnect', () => process.exit(0))
  process.on('message', async (load: L) => {
    tell({ kind: 'result', result: await drive(load, () => open(load)) })
  })
}

function tell(message: Told): void {
  process.send?.(message)
}

async function drive({ connections, warmMs, measureMs }: Load, open: () => Caller): Promise<Result> {
  const tally: Tally = {
    measuring: false,
    stopping: false,
    placed: 0,
    errors: 0,
    latencies: [],
    firstError: undefined,
  }
  const callers = Array.from({ length: connections }, () => goOn(open(), tally))
  await sleep(warmMs)
  tell({ kind: 'began' })
  tally.measuring = true
  const began = performance.now()
  await sleep(measureMs)
  tally.measuring = false
  const seconds = (performance.now() - began) / 1000
  tell({ kind: 'ended' })
  tally.stopping = true
  await Promise.all(callers)
  return { ...summarise(tally), seconds }
}

/** The next thing when the last is done. */
async function goOn(caller: Caller, tally: Tally): Promise<void> {
  while (!tally.stopping) {
    const began = performance.now()
    try {
      const { placed } = await caller.act()
      if (placed) tally.placed++
      if (tally.measuring) tally.latencies.push(performance.now() - began)
    } catch (error) {
      tally.firstError ??= String(error)
      if (tally.measuring) tally.errors++
      await sleep(PAUSE_AFTER_ERROR_MS)
    }
  }
  caller.close()
}

function summarise({ latencies, errors, placed, firstError }: Tally) {
  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { done: latencies.length, errors, p50: at(0.5), p99: at(0.99), max: at(1), placed, firstError }
}

import { setTimeout as sleep } from 'node:timers/promises'
import { createLatencies } from '../testing/latencies.ts'
import { onTask, postToParent } from './converse.ts'
import type { Fixture } from './workloads.ts'

/** The task of a load generator. */
export interface Load {
  workload: string
  /** Callers, each with one act in progress. */
  connections: number
  warmMs: number
  measureMs: number
  fixture: Fixture
}

/** What a load generator posts to its parent. */
export type GeneratorMessage = { kind: 'began' } | { kind: 'ended' } | { kind: 'result'; result: Result }

/** Counts and times of the measured period, except `placed`. Times in ms. */
export interface Result {
  done: number
  errors: number
  seconds: number
  p50: number
  p99: number
  max: number
  /** Acknowledged orders, also those before and after the measured period. */
  placed: number
  firstError: string | undefined
}

/** Does one act after another. */
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
  latencies: ReturnType<typeof createLatencies>
  firstError: string | undefined
}

const PAUSE_AFTER_ERROR_MS = 50

/** Makes this process a generator of the loads that its parent sends. */
export function generateLoads<L extends Load>(open: (load: L) => Caller): void {
  onTask<L>(async (load) => postToParent({ kind: 'result', result: await drive(load, () => open(load)) }))
}

async function drive({ connections, warmMs, measureMs }: Load, open: () => Caller): Promise<Result> {
  const tally: Tally = {
    measuring: false,
    stopping: false,
    placed: 0,
    errors: 0,
    latencies: createLatencies(),
    firstError: undefined,
  }
  const callers = Array.from({ length: connections }, () => callerLoop(open(), tally))
  await sleep(warmMs)
  postToParent({ kind: 'began' })
  tally.measuring = true
  const began = performance.now()
  await sleep(measureMs)
  tally.measuring = false
  const seconds = (performance.now() - began) / 1000
  postToParent({ kind: 'ended' })
  tally.stopping = true
  await Promise.all(callers)
  return { ...summarise(tally), seconds }
}

/** Acts again as soon as the last act is done. */
async function callerLoop(caller: Caller, tally: Tally): Promise<void> {
  while (!tally.stopping) {
    const began = performance.now()
    try {
      const { placed } = await caller.act()
      if (placed) tally.placed++
      if (tally.measuring) tally.latencies.record(performance.now() - began)
    } catch (error) {
      tally.firstError ??= String(error)
      if (tally.measuring) tally.errors++
      await sleep(PAUSE_AFTER_ERROR_MS)
    }
  }
  caller.close()
}

function summarise({ latencies, errors, placed, firstError }: Tally) {
  const { p50, p99, max } = latencies.percentiles()
  return { done: latencies.count(), errors, p50, p99, max, placed, firstError }
}

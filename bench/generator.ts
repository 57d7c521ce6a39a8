import { setTimeout as sleep } from 'node:timers/promises'
import { Connection, textOf } from './http.ts'
import { type Ground, WORKLOADS, type Workload } from './workloads.ts'

/**
 * The load, in a process of its own: so many connections, each with one request under way. It speaks plain HTTP/1.1 over
 * sockets, because on a small machine a whole client would cost about as much as the systems that it measures.
 */
export interface Load {
  workload: string
  port: number
  connections: number
  warmMs: number
  measureMs: number
  ground: Ground
}

export type Told = { kind: 'began' } | { kind: 'ended' } | { kind: 'result'; result: Result }

/** Of the time that is measured, but for `accepted`. */
export interface Result {
  done: number
  errors: number
  seconds: number
  p50: number
  p99: number
  max: number
  /** Answers of success, those before and after the time that is measured included. */
  accepted: number
  firstError: string | undefined
}

interface Tally {
  measuring: boolean
  stopping: boolean
  accepted: number
  errors: number
  latencies: number[]
  firstError: string | undefined
}

const PAUSE_AFTER_ERROR_MS = 50

// Ctrl-C reaches the whole group of processes: this one ends when the one that started it lets go.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit(0))
process.on('message', async (load: Load) => {
  tell({ kind: 'result', result: await generate(load) })
})

function tell(message: Told): void {
  process.send?.(message)
}

async function generate(load: Load): Promise<Result> {
  const workload = WORKLOADS.find(({ name }) => name === load.workload)
  if (workload === undefined) throw new Error(`no workload ${load.workload}`)
  const tally: Tally = {
    measuring: false,
    stopping: false,
    accepted: 0,
    errors: 0,
    latencies: [],
    firstError: undefined,
  }
  const callers = Array.from({ length: load.connections }, () => call(load, workload, tally))
  await sleep(load.warmMs)
  tell({ kind: 'began' })
  tally.measuring = true
  const began = performance.now()
  await sleep(load.measureMs)
  tally.measuring = false
  const seconds = (performance.now() - began) / 1000
  tell({ kind: 'ended' })
  tally.stopping = true
  await Promise.all(callers)
  return { ...summarise(tally), seconds }
}

/** One caller: its next request when its last was answered. */
async function call({ port, ground }: Load, workload: Workload, tally: Tally): Promise<void> {
  let connection = new Connection(port)
  while (!tally.stopping) {
    const began = performance.now()
    try {
      const { status, text } = await connection.ask(textOf(workload.shot(ground)))
      if (status !== workload.status) throw new Error(`${status}: ${text.slice(0, 500)}`)
      tally.accepted++
      if (tally.measuring) tally.latencies.push(performance.now() - began)
    } catch (error) {
      tally.firstError ??= String(error)
      if (tally.measuring) tally.errors++
      connection.close()
      await sleep(PAUSE_AFTER_ERROR_MS)
      connection = new Connection(port)
    }
  }
  connection.close()
}

function summarise({ latencies, errors, accepted, firstError }: Tally) {
  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { done: latencies.length, errors, p50: at(0.5), p99: at(0.99), max: at(1), accepted, firstError }
}

import type { ChildProcess } from 'node:child_process'
import type { GeneratorMessage, Load, Result } from './caller-loop.ts'
import { converse } from './converse.ts'
import { type Row, type Sample, summarise } from './report.ts'
import { cpuMsOf, type RunningSystem, rssMibOf } from './systems.ts'
import type { Workload } from './workloads.ts'

export interface Plan {
  rounds: number
  connections: number[]
  /** Before the first round of a workload, so that the code of each system is compiled. */
  firstWarmMs: number
  warmMs: number
  measureMs: number
  workloads: readonly Workload[]
}

/** A system and what puts it under load. */
export interface SystemUnderTest extends RunningSystem {
  generator: ChildProcess
  /** The load in the form that its generator takes. */
  loadOf(load: Load): Load
  takesPart(workload: Workload): boolean
}

const MAX_BENCH_MS = 60 * 60_000
const MAX_DRAIN_MS = 60_000
/** The rest of a measurement, for the estimate of the remaining time. */
const DRAIN_MS = 300

/** Measures all systems in turns. @param stop ends it, with the signal's reason */
export async function measureAll(plan: Plan, systems: readonly SystemUnderTest[], stop: AbortSignal): Promise<Row[]> {
  const pace = startPace(plan, systems)
  const until = Date.now() + MAX_BENCH_MS
  const rows: Row[] = []
  for (const workload of plan.workloads) {
    if (Date.now() > until) {
      console.error(`No time left for ${workload.name} and what follows it.`)
      break
    }
    console.error(`${workload.name}: ${workload.title}`)
    const those = systems.filter((system) => system.takesPart(workload))
    rows.push(...(await measureWorkload(plan, workload, those, pace, stop)))
  }
  return rows
}

interface Account {
  system: SystemUnderTest
  ordersBefore: number
  placed: number
  /** By number of connections. */
  samples: Map<number, Sample[]>
}

async function measureWorkload(
  { rounds, connections: all, firstWarmMs, warmMs, measureMs }: Plan,
  workload: Workload,
  systems: readonly SystemUnderTest[],
  pace: Pace,
  stop: AbortSignal,
): Promise<Row[]> {
  const accounts: Account[] = []
  for (const system of systems) {
    const { orders: ordersBefore } = await system.books()
    accounts.push({ system, ordersBefore, placed: 0, samples: new Map() })
  }
  const run = async (account: Account, times: Pick<Load, 'connections' | 'warmMs' | 'measureMs'>) => {
    const { system } = account
    const load = system.loadOf({ ...times, workload: workload.name, fixture: system.fixture })
    const sample = await measure(system, load, stop)
    account.placed += sample.placed
    pace.passed(load)
    return sample
  }

  const first = { connections: Math.max(...all), warmMs: firstWarmMs, measureMs: 0 }
  for (const account of accounts) await run(account, first)
  for (const connections of all) {
    for (let round = 0; round < rounds; round++) {
      // Each round another system begins: the work that one leaves to the database must not always hit the same system.
      const from = round % accounts.length
      for (const account of [...accounts.slice(from), ...accounts.slice(0, from)]) {
        const sample = await run(account, { connections, warmMs, measureMs })
        account.samples.set(connections, [...(account.samples.get(connections) ?? []), sample])
        console.error(`  ${pace.left()}  ${progressOf(account.system, connections, round, sample)}`)
      }
    }
  }

  const settled: (Account & { faults: string[] })[] = []
  for (const account of accounts) {
    const faults = await faultsOf(account)
    for (const fault of faults) console.error(`  ${account.system.name}: ${fault}`)
    settled.push({ ...account, faults })
  }
  return all.flatMap((connections) =>
    settled.map(({ system: { name, ours }, samples, faults }) => {
      const figures = summarise(samples.get(connections) ?? [], faults)
      return { workload: workload.name, connections, system: name, ours, ...figures }
    }),
  )
}

/** Problems after a workload: an ended process, a failed audit, missing acknowledged orders. */
export async function faultsOf({ system, ordersBefore, placed }: Omit<Account, 'samples'>): Promise<string[]> {
  const { orders, differences } = await system.books()
  const missing = ordersBefore + placed - orders
  const gone = system.ended()
  return [
    ...differences.map((difference) => `the books differ: ${difference}`),
    ...(missing > 0 ? [`${missing} orders are missing`] : []),
    ...(gone === undefined ? [] : [`${gone} has ended`]),
  ]
}

export async function measure(system: SystemUnderTest, load: Load, stop: AbortSignal): Promise<Sample> {
  const pids = [...system.pids]
  const cpuNow = () => ({ each: pids.map(([, pid]) => cpuMsOf(pid)), database: system.databaseCpuMs() })
  let atStart = cpuNow()
  let atEnd = atStart
  let rss: (number | undefined)[] = []
  const result = await runLoad(system, load, stop, (kind) => {
    if (kind === 'began') atStart = cpuNow()
    else {
      atEnd = cpuNow()
      rss = pids.map(([, pid]) => rssMibOf(pid))
    }
  })
  const usages = pids.map(([name], i) => [name, { cpu: minus(atEnd.each[i], atStart.each[i]), rss: rss[i] }] as const)
  return { ...result, processes: Object.fromEntries(usages), databaseCpu: minus(atEnd.database, atStart.database) }
}

function minus(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a - b
}

function runLoad(
  { generator, name }: SystemUnderTest,
  load: Load,
  stop: AbortSignal,
  mark: (kind: 'began' | 'ended') => void,
): Promise<Result> {
  return converse<GeneratorMessage, Result>(generator, {
    task: load,
    hear(message) {
      if (message.kind === 'result') return message.result
      mark(message.kind)
      return undefined
    },
    limitMs: load.warmMs + load.measureMs + MAX_DRAIN_MS,
    stop,
    name: `${load.workload} of ${name}`,
  })
}

interface Pace {
  passed(load: Pick<Load, 'warmMs' | 'measureMs'>): void
  /** The remaining time, in words. */
  left(): string
}

/** Assumes that the rest will take as long as what is done. */
function startPace(plan: Plan, systems: readonly SystemUnderTest[]): Pace {
  const timeOf = ({ warmMs, measureMs }: Pick<Load, 'warmMs' | 'measureMs'>) => warmMs + measureMs + DRAIN_MS
  const ofEach =
    plan.rounds * plan.connections.length * timeOf(plan) + timeOf({ warmMs: plan.firstWarmMs, measureMs: 0 })
  const runs = plan.workloads.flatMap((workload) => systems.filter((system) => system.takesPart(workload)))
  const began = Date.now()
  let done = 0
  return {
    passed(load) {
      done += timeOf(load)
    },
    left() {
      const seconds = (((Date.now() - began) / done) * (runs.length * ofEach - done)) / 1000
      const text = seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`
      return `${text} left`.padStart(11)
    },
  }
}

function progressOf({ name }: SystemUnderTest, connections: number, round: number, sample: Sample): string {
  const { done, seconds, p50, p99, errors, firstError } = sample
  const figures = `${Math.round(done / seconds)}/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`
  const told = firstError === undefined ? '' : `, ${errors} errors, the first ${firstError.slice(0, 200)}`
  return `${String(connections).padStart(3)} connections, round ${round + 1}, ${name.padEnd(28)}  ${figures}${told}`
}

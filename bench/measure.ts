import type { ChildProcess } from 'node:child_process'
import type { Load, Result, Told } from './caller-loop.ts'
import { type Row, type Sample, summarise } from './report.ts'
import { type Contestant, cpuMsOf, rssMibOf } from './systems.ts'
import type { Workload } from './workloads.ts'

export interface Plan {
  rounds: number
  connections: number[]
  /** Of each system before a workload, once, so that its code is compiled when the first round comes. */
  firstWarmMs: number
  warmMs: number
  measureMs: number
  workloads: readonly Workload[]
}

/** A contestant with what puts it under load. */
export interface Entrant extends Contestant {
  generator: ChildProcess
  /** The load as this one's generator wants it. */
  loadOf(load: Load): Load
  takesPart(workload: Workload): boolean
}

const MAX_BENCH_MS = 60 * 60_000
const MAX_DRAIN_MS = 60_000
/** What a measurement takes besides, for the estimate of the time that is left. */
const DRAIN_MS = 300

/** Everyone in turns. @param stop ends it, with the signal's reason */
export async function measureAll(plan: Plan, entrants: readonly Entrant[], stop: AbortSignal): Promise<Row[]> {
  const pace = startPace(plan, entrants)
  const until = Date.now() + MAX_BENCH_MS
  const rows: Row[] = []
  for (const workload of plan.workloads) {
    if (Date.now() > until) {
      console.error(`No time left for ${workload.name} and what follows it.`)
      break
    }
    console.error(`${workload.name}: ${workload.title}`)
    const those = entrants.filter((entrant) => entrant.takesPart(workload))
    rows.push(...(await measureWorkload(plan, workload, those, pace, stop)))
  }
  return rows
}

interface Account {
  entrant: Entrant
  ordersBefore: number
  placed: number
  /** By connections. */
  samples: Map<number, Sample[]>
}

async function measureWorkload(
  { rounds, connections: all, firstWarmMs, warmMs, measureMs }: Plan,
  workload: Workload,
  entrants: readonly Entrant[],
  pace: Pace,
  stop: AbortSignal,
): Promise<Row[]> {
  const accounts: Account[] = []
  for (const entrant of entrants) {
    const { orders: ordersBefore } = await entrant.books()
    accounts.push({ entrant, ordersBefore, placed: 0, samples: new Map() })
  }
  const run = async (account: Account, times: Pick<Load, 'connections' | 'warmMs' | 'measureMs'>) => {
    const { entrant } = account
    const load = entrant.loadOf({ ...times, workload: workload.name, ground: entrant.ground })
    const sample = await measure(entrant, load, stop)
    account.placed += sample.placed
    pace.passed(load)
    return sample
  }

  const first = { connections: Math.max(...all), warmMs: firstWarmMs, measureMs: 0 }
  for (const account of accounts) await run(account, first)
  for (const connections of all) {
    for (let round = 0; round < rounds; round++) {
      // By turns the first, so that what one leaves for the database to do does not always meet the same one.
      const from = round % accounts.length
      for (const account of [...accounts.slice(from), ...accounts.slice(0, from)]) {
        const sample = await run(account, { connections, warmMs, measureMs })
        account.samples.set(connections, [...(account.samples.get(connections) ?? []), sample])
        console.error(`  ${pace.left()}  ${progressOf(account.entrant, connections, round, sample)}`)
      }
    }
  }

  const settled: (Account & { faults: string[] })[] = []
  for (const account of accounts) {
    const faults = await faultsOf(account)
    for (const fault of faults) console.error(`  ${account.entrant.name}: ${fault}`)
    settled.push({ ...account, faults })
  }
  return all.flatMap((connections) =>
    settled.map(({ entrant: { name, ours }, samples, faults }) => {
      const figures = summarise(samples.get(connections) ?? [], faults)
      return { workload: workload.name, connections, system: name, ours, ...figures }
    }),
  )
}

/** What is wrong with a system after a workload: a process gone, books that differ, orders that were promised and lost. */
export async function faultsOf({ entrant, ordersBefore, placed }: Omit<Account, 'samples'>): Promise<string[]> {
  const { orders, differences } = await entrant.books()
  const missing = ordersBefore + placed - orders
  const gone = entrant.ended()
  return [
    ...differences.map((difference) => `the books differ: ${difference}`),
    ...(missing > 0 ? [`${missing} orders are missing`] : []),
    ...(gone === undefined ? [] : [`${gone} has ended`]),
  ]
}

export async function measure(entrant: Entrant, load: Load, stop: AbortSignal): Promise<Sample> {
  const pids = [...entrant.pids]
  const cpuNow = () => ({ each: pids.map(([, pid]) => cpuMsOf(pid)), database: entrant.databaseCpuMs() })
  let atStart = cpuNow()
  let atEnd = atStart
  let rss: (number | undefined)[] = []
  const result = await runLoad(entrant, load, stop, (kind) => {
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
  { generator, name }: Entrant,
  load: Load,
  stop: AbortSignal,
  mark: (kind: 'began' | 'ended') => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(late)
      generator.off('message', hear)
      generator.off('exit', gone)
      stop.removeEventListener('abort', giveUp)
      act()
    }
    const hear = (told: Told) => {
      if (told.kind === 'result') settle(() => resolve(told.result))
      else mark(told.kind)
    }
    const gone = () => settle(() => reject(new Error(`what puts ${name} under load has ended`)))
    const giveUp = () => settle(() => reject(stop.reason))
    const late = setTimeout(
      () => settle(() => reject(new Error(`${load.workload} of ${name} does not end`))),
      load.warmMs + load.measureMs + MAX_DRAIN_MS,
    )
    if (stop.aborted) return giveUp()
    stop.addEventListener('abort', giveUp)
    generator.on('message', hear)
    generator.on('exit', gone)
    generator.send(load)
  })
}

interface Pace {
  passed(load: Pick<Load, 'warmMs' | 'measureMs'>): void
  /** The time that is left, in words. */
  left(): string
}

/** Takes what is still planned to go as what is done went. */
function startPace(plan: Plan, entrants: readonly Entrant[]): Pace {
  const timeOf = ({ warmMs, measureMs }: Pick<Load, 'warmMs' | 'measureMs'>) => warmMs + measureMs + DRAIN_MS
  const ofEach =
    plan.rounds * plan.connections.length * timeOf(plan) + timeOf({ warmMs: plan.firstWarmMs, measureMs: 0 })
  const runs = plan.workloads.flatMap((workload) => entrants.filter((entrant) => entrant.takesPart(workload)))
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

function progressOf({ name }: Entrant, connections: number, round: number, sample: Sample): string {
  const { done, seconds, p50, p99, errors, firstError } = sample
  const figures = `${Math.round(done / seconds)}/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`
  const told = firstError === undefined ? '' : `, ${errors} errors, the first ${firstError.slice(0, 200)}`
  return `${String(connections).padStart(3)} connections, round ${round + 1}, ${name.padEnd(28)}  ${figures}${told}`
}

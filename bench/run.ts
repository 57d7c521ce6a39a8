import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createConnection } from 'mysql2/promise'
import { type DatabaseServer, HOW_TO_GET_A_SERVER, startDatabaseServer } from '../tests/support/database-server.ts'
import type { Load, Result, Told } from './generator.ts'
import { printTable, type Row, type Sample, summarise } from './report.ts'
import { cpuMsOf, rssMibOf, SYSTEMS, type System, startSystem } from './systems.ts'
import { WORKLOADS, type Workload } from './workloads.ts'

const HELP = `This system under load, beside the stack that it replaces (three Express processes, axios, mysql2, jsonwebtoken, zod), in
turns, on the same database server, through HTTP on this machine. Ours runs twice: as three services, and in one process.

  npm run bench -- [--quick | --full] [--workload name]...

${WORKLOADS.map(({ name, title }) => `  ${name.padEnd(8)}  ${title}`).join('\n')}

  --quick     1 round, 64 connections, short: about a minute
  --full      256 connections too; absent: 3 rounds of 1, 16 and 64 connections, about ten minutes
  --workload  only this one; may be given again

It needs a MySQL or MariaDB server, as the tests do. Writes bench/results/load.json. The books of each system are audited
after each workload; one whose books don't balance did nothing that counts.`

const RESULTS = 'bench/results/load.json'
const LONGEST_BENCH_MS = 25 * 60_000
const LONGEST_DRAIN_MS = 60_000

interface Plan {
  rounds: number
  connections: number[]
  /** Of each system before a workload, once, so that its code is compiled when the first round comes. */
  firstWarmMs: number
  warmMs: number
  measureMs: number
  workloads: readonly Workload[]
}

const interrupted = new AbortController()

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const { values } = readArguments()
if (values.help) console.log(HELP)
else await main(planOf(values))

function readArguments() {
  try {
    return parseArgs({
      options: {
        help: { type: 'boolean', short: 'h' },
        quick: { type: 'boolean' },
        full: { type: 'boolean' },
        workload: { type: 'string', multiple: true },
      },
    })
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error))
  }
}

function planOf({ quick = false, full = false, workload: names = [] }: typeof values): Plan {
  if (quick && full) fail('--quick or --full?')
  const unknown = names.filter((name) => !WORKLOADS.some((workload) => workload.name === name))
  if (unknown.length > 0) fail(`--workload ${unknown.join(', ')}?`)
  const workloads = names.length === 0 ? WORKLOADS : WORKLOADS.filter(({ name }) => names.includes(name))
  if (quick) return { rounds: 1, connections: [64], firstWarmMs: 2_500, warmMs: 300, measureMs: 2_000, workloads }
  const connections = full ? [1, 16, 64, 256] : [1, 16, 64]
  return { rounds: 3, connections, firstWarmMs: 4_000, warmMs: 500, measureMs: 2_500, workloads }
}

function fail(message: string): never {
  console.error(`${message}\n\n${HELP}`)
  process.exit(1)
}

async function main(plan: Plan): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort(new Error('Interrupted.')))
  const server = await startDatabaseServer({ durable: true })
  if (server === undefined) return fail(HOW_TO_GET_A_SERVER)
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-bench-'))
  const systems: System[] = []
  let generator: ChildProcess | undefined
  try {
    const machine = {
      node: process.version,
      database: server.version,
      flushAtCommit: await flushAtCommit(server),
      cpus: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    }
    console.error(
      Object.entries(machine)
        .map(([name, value]) => `${name} ${value}`)
        .join(', '),
    )
    for (const name of SYSTEMS) {
      interrupted.signal.throwIfAborted()
      console.error(`Starting ${name} …`)
      systems.push(await startSystem(name, server, folder))
    }
    generator = fork(fileURLToPath(new URL('generator.ts', import.meta.url)), { execArgv: [] })
    const rows = await measureAll(plan, systems, generator, server)
    printTable(rows)
    save(rows, plan, machine)
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
    console.error('Interrupted.')
    process.exitCode = 130
  } finally {
    if (generator?.connected) generator.disconnect()
    await Promise.all(systems.map((system) => system.stop()))
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** 1 where a commit is on the disk when it is done. */
async function flushAtCommit({ host, port, user, password }: DatabaseServer): Promise<string> {
  const connection = await createConnection({ host, port, user, password })
  try {
    const [rows] = await connection.query('select @@innodb_flush_log_at_trx_commit as flush')
    return String(Array.isArray(rows) && rows[0] && 'flush' in rows[0] ? rows[0].flush : 'unknown')
  } finally {
    await connection.end()
  }
}

async function measureAll(
  plan: Plan,
  systems: readonly System[],
  generator: ChildProcess,
  server: DatabaseServer,
): Promise<Row[]> {
  const until = Date.now() + LONGEST_BENCH_MS
  const rows: Row[] = []
  for (const workload of plan.workloads) {
    if (Date.now() > until) {
      console.error(`No time left for ${workload.name} and what follows it.`)
      break
    }
    console.error(`${workload.name}: ${workload.title}`)
    const before = await ordersIn(systems)
    const accepted = new Map(systems.map(({ name }) => [name, 0]))
    const taken = new Map(systems.map(({ name }) => [name, new Map<number, Sample[]>()]))
    const run = async (system: System, load: Pick<Load, 'connections' | 'warmMs' | 'measureMs'>) => {
      const whole = { ...load, workload: workload.name, port: system.ports[workload.service], ground: system.ground }
      const sample = await measure(system, whole, generator, server)
      accepted.set(system.name, (accepted.get(system.name) ?? 0) + sample.accepted)
      return sample
    }
    const { warmMs, measureMs, firstWarmMs } = plan
    for (const system of systems) {
      await run(system, { connections: Math.max(...plan.connections), warmMs: firstWarmMs, measureMs: 0 })
    }
    for (const connections of plan.connections) {
      for (let round = 0; round < plan.rounds; round++) {
        // By turns the first, so that what one leaves for the database to do does not always meet the same one.
        const turn = [...systems.slice(round % systems.length), ...systems.slice(0, round % systems.length)]
        for (const system of turn) {
          const sample = await run(system, { connections, warmMs, measureMs })
          const samples = taken.get(system.name)
          samples?.set(connections, [...(samples.get(connections) ?? []), sample])
          console.error(progressOf(system, connections, round, sample))
        }
      }
    }
    for (const system of systems) {
      const placed = workload.places ? (accepted.get(system.name) ?? 0) : 0
      const faults = await faultsIn(system, (before.get(system.name) ?? 0) + placed)
      for (const fault of faults) console.error(`  ${system.name}: ${fault}`)
      for (const [connections, samples] of taken.get(system.name) ?? []) {
        rows.push({ workload: workload.name, connections, system: system.name, ...summarise(samples, faults) })
      }
    }
  }
  return rows
}

async function ordersIn(systems: readonly System[]) {
  const counted = systems.map(async ({ name, books }) => [name, (await books()).orders] as const)
  return new Map(await Promise.all(counted))
}

/** What is wrong with a system after a workload: a process gone, books that differ, orders that were promised and lost. */
async function faultsIn(system: System, ordersPromised: number): Promise<string[]> {
  const { orders, differences } = await system.books()
  const gone = system.ended()
  return [
    ...differences.map((difference) => `the books differ: ${difference}`),
    ...(orders < ordersPromised ? [`${ordersPromised - orders} orders are missing`] : []),
    ...(gone === undefined ? [] : [`${gone} has ended`]),
  ]
}

async function measure(system: System, load: Load, generator: ChildProcess, server: DatabaseServer): Promise<Sample> {
  const pids = [...system.pids]
  const usage = () => ({ each: pids.map(([, pid]) => cpuMsOf(pid)), database: cpuMsOf(server.pid) })
  let atStart = usage()
  let atEnd = atStart
  let rss: number | undefined
  const result = await runLoad(generator, load, (kind) => {
    if (kind === 'began') atStart = usage()
    else {
      atEnd = usage()
      rss = pids.reduce<number | undefined>((sum, [, pid]) => plus(sum, rssMibOf(pid)), 0)
    }
  })
  const cpu = Object.fromEntries(pids.map(([name], i) => [name, minus(atEnd.each[i], atStart.each[i])]))
  return { ...result, cpu, databaseCpu: minus(atEnd.database, atStart.database), rss }
}

function plus(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b
}

function minus(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a - b
}

function runLoad(generator: ChildProcess, load: Load, mark: (kind: 'began' | 'ended') => void): Promise<Result> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(late)
      generator.off('message', hear)
      generator.off('exit', gone)
      interrupted.signal.removeEventListener('abort', stop)
      act()
    }
    const hear = (told: Told) => {
      if (told.kind === 'result') settle(() => resolve(told.result))
      else mark(told.kind)
    }
    const gone = () => settle(() => reject(new Error('the load generator has ended')))
    const stop = () => settle(() => reject(interrupted.signal.reason))
    const late = setTimeout(
      () => settle(() => reject(new Error(`${load.workload} does not end`))),
      load.warmMs + load.measureMs + LONGEST_DRAIN_MS,
    )
    if (interrupted.signal.aborted) return stop()
    interrupted.signal.addEventListener('abort', stop)
    generator.on('message', hear)
    generator.on('exit', gone)
    generator.send(load)
  })
}

function progressOf({ name }: System, connections: number, round: number, sample: Sample): string {
  const { done, seconds, p50, p99, errors, firstError } = sample
  const figures = `${Math.round(done / seconds)}/s, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`
  const told = firstError === undefined ? '' : `, ${errors} errors, the first ${firstError.slice(0, 200)}`
  return `  ${String(connections).padStart(3)} connections, round ${round + 1}, ${name.padEnd(11)}  ${figures}${told}`
}

function save(rows: readonly Row[], { workloads, ...plan }: Plan, machine: object): void {
  mkdirSync('bench/results', { recursive: true })
  const titles = Object.fromEntries(workloads.map(({ name, title }) => [name, title]))
  const results = { at: new Date().toISOString(), machine, ...plan, workloads: titles, rows }
  writeFileSync(RESULTS, `${JSON.stringify(results, null, 2)}\n`)
  console.log(`Written to ${RESULTS}.`)
}

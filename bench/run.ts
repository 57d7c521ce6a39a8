import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createConnection } from 'mysql2/promise'
import { createProgram } from '../scripts/program.ts'
import { type DatabaseServer, HOW_TO_GET_A_SERVER, startDatabaseServer } from '../tests/support/database-server.ts'
import { BARE, type Bare, startBare } from './bare/system.ts'
import { type CheckResult, checkSystem, printChecks } from './checks.ts'
import type { HttpLoad } from './generator.ts'
import type { Load } from './loading.ts'
import { type Entrant, measureAll, type Plan } from './measuring.ts'
import { printTable, type Results, type Row, resultsFile } from './report.ts'
import { SYSTEMS, type System, startSystem } from './systems.ts'
import { WORKLOADS, type Workload } from './workloads.ts'

const RESULTS = resultsFile('load', {})
const NARROWED_RESULTS = resultsFile('load', { narrowed: true })

const HELP = `This system under load, beside the stack that it replaces (three Express processes, axios, mysql2, jsonwebtoken, zod), in
turns, on the same database server, through HTTP on this machine. Ours runs three times: as three services, in one
process, and in one process with the embedded SQLite. A bare loop of the same SQL without HTTP tells the limit.

  npm run bench -- [--quick] [--workload name]... [--connections number]...

${WORKLOADS.map(({ name, title }) => `  ${name.padEnd(8)}  ${title}`).join('\n')}

  --quick        1 round, 64 connections, short: under three minutes; absent: 3 rounds of 1, 16, 64 and 256
                 connections, about twenty minutes
  --workload     only this one; may be given again
  --connections  only so many; may be given again

It needs a MySQL or MariaDB server, as the tests do. First each system is checked: whether it is right when many call at
once, and when they call again. The books of each are audited after each workload; one whose books don't balance did
nothing that counts. Ends with 1 when a check or the books of ours fail, never for a figure. Writes ${RESULTS},
or where the run was narrowed by an option ${NARROWED_RESULTS}. npm run bench:chart makes the chart of it.`

const { endInterrupted, fail, interruption, readOptions } = createProgram(HELP)

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const values = readOptions({
  quick: { type: 'boolean' },
  workload: { type: 'string', multiple: true },
  connections: { type: 'string', multiple: true },
})
if (values.help) console.log(HELP)
else await main(planOf(values), resultsFile('load', values))

function planOf({ quick = false, workload: names = [], connections: counts = [] }: typeof values): Plan {
  const unknown = names.filter((name) => !WORKLOADS.some((workload) => workload.name === name))
  if (unknown.length > 0) fail(`--workload ${unknown.join(', ')}?`)
  const odd = counts.filter((count) => !/^[1-9]\d{0,3}$/.test(count))
  if (odd.length > 0) fail(`--connections ${odd.join(', ')}?`)
  const workloads = names.length === 0 ? WORKLOADS : WORKLOADS.filter(({ name }) => names.includes(name))
  const usual = quick ? [64] : [1, 16, 64, 256]
  const connections = counts.length === 0 ? usual : counts.map(Number)
  return quick
    ? { rounds: 1, connections, firstWarmMs: 1_200, warmMs: 300, measureMs: 1_500, workloads }
    : { rounds: 3, connections, firstWarmMs: 3_000, warmMs: 400, measureMs: 2_000, workloads }
}

async function main(plan: Plan, file: string): Promise<void> {
  const server = await startDatabaseServer({ durable: true })
  if (server === undefined) return fail(HOW_TO_GET_A_SERVER)
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-bench-'))
  const systems: System[] = []
  const bares: Bare[] = []
  let generator: ChildProcess | undefined
  try {
    const machine = await describeMachine(server)
    console.error(`${Object.entries(machine).flat().join(' ')}\n`)
    for (const name of SYSTEMS) systems.push(await start(name, () => startSystem(name, server, folder)))
    if (plan.workloads.some(({ lines }) => lines !== undefined)) {
      for (const name of BARE) bares.push(await start(name, () => startBare(name, server)))
    }
    const checks = await checkAll(systems)
    generator = fork(fileURLToPath(new URL('generator.ts', import.meta.url)), { execArgv: [] })
    const rows = await measureAll(plan, entrantsOf(systems, generator, bares), interruption)
    printTable(rows)
    save({ machine, checks, rows }, plan, file)
    judge(checks, rows)
  } catch (error) {
    endInterrupted(error)
  } finally {
    if (generator?.connected) generator.disconnect()
    await Promise.all([...systems, ...bares].map((contestant) => contestant.stop()))
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function describeMachine(server: DatabaseServer): Promise<Results['machine']> {
  return {
    node: process.version,
    database: server.version,
    flushAtCommit: await flushAtCommit(server),
    cpus: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
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

function start<T>(name: string, begin: () => Promise<T>): Promise<T> {
  interruption.throwIfAborted()
  console.error(`Starting ${name} …`)
  return begin()
}

async function checkAll(systems: readonly System[]): Promise<CheckResult[]> {
  const results: CheckResult[] = []
  for (const system of systems) {
    interruption.throwIfAborted()
    console.error(`Checking ${system.name} …`)
    results.push(...(await checkSystem(system)))
  }
  console.error()
  printChecks(results)
  return results
}

function entrantsOf(systems: readonly System[], generator: ChildProcess, bares: readonly Bare[]): Entrant[] {
  return [
    ...systems.map((system) => ({
      ...system,
      generator,
      loadOf: (load: Load): HttpLoad => ({ ...load, ports: system.ports }),
      takesPart: () => true,
    })),
    ...bares.map((bare) => ({
      ...bare,
      loadOf: (load: Load) => load,
      takesPart: ({ lines }: Workload) => lines !== undefined,
    })),
  ]
}

function save(found: Pick<Results, 'machine' | 'checks' | 'rows'>, { workloads, ...plan }: Plan, file: string): void {
  mkdirSync(dirname(file), { recursive: true })
  const titles = Object.fromEntries(workloads.map(({ name, title }) => [name, title]))
  const results: Results & Omit<Plan, 'workloads'> = {
    at: new Date().toISOString(),
    ...plan,
    workloads: titles,
    ...found,
  }
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`)
  console.log(`Written to ${file}.`)
}

/** Ours must be right, however fast it is. */
function judge(checks: readonly CheckResult[], rows: readonly Row[]): void {
  const failures = [
    ...checks.filter(({ ours, holds }) => ours && !holds).map(({ system, check }) => `${system}: ${check}`),
    ...rows
      .filter(({ ours, faults }) => ours && faults.length > 0)
      .map(({ system, workload }) => `${system}: ${workload}`),
  ]
  if (failures.length === 0) return
  console.error(`Not right:\n${[...new Set(failures)].map((failure) => `  ${failure}`).join('\n')}`)
  process.exitCode = 1
}

import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createConnection } from 'mysql2/promise'
import { createProgram } from '../scripts/program.ts'
import { type DatabaseServer, HOW_TO_GET_A_SERVER, startDatabaseServer } from '../testing/database-server.ts'
import type { Load } from './caller-loop.ts'
import { type CheckResult, checkSystem, printChecks } from './checks.ts'
import type { HttpLoad } from './generator.ts'
import { measureAll, type Plan, type SystemUnderTest } from './measure.ts'
import { RAW_SQL, type RawSql, startRawSql } from './raw-sql/system.ts'
import { describeMachine, printTable, type Results, type Row, resultsFile, saveResults } from './report.ts'
import { SYSTEMS, type System, startSystem } from './systems.ts'
import { WORKLOADS, type Workload } from './workloads.ts'

const RESULTS = resultsFile('load', {})
const NARROWED_RESULTS = resultsFile('load', { narrowed: true })

const HELP = `Measures this system under load and compares it with the stack that it replaces (three Express processes, axios, mysql2,
jsonwebtoken, zod). They take turns on the same database server, over HTTP on this machine. This system runs three times: as
three services, in one process, and in one process with the embedded SQLite. A loop of the same SQL without HTTP shows the limit.

  npm run bench -- [--quick] [--workload name]... [--connections number]...

${WORKLOADS.map(({ name, title }) => `  ${name.padEnd(8)}  ${title}`).join('\n')}

  --quick        1 short round with 64 connections, under three minutes; default: 3 rounds of 1, 16, 64 and 256
                 connections, about twenty minutes
  --workload     runs only this workload; can be repeated
  --connections  runs only with this many connections; can be repeated

It needs a MySQL or MariaDB server, as the tests do. First it checks each system with concurrent and with repeated calls.
After each workload it audits the books of each system; a system whose books don't balance counts as zero. Exits with 1
when a check or the books of this system fail, never because of a figure. Writes ${RESULTS}, or with an
option ${NARROWED_RESULTS}. npm run bench:chart draws the chart.`

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
  if (unknown.length > 0) fail(`--workload: there is no ${unknown.join(', ')}.`)
  const odd = counts.filter((count) => !/^[1-9]\d{0,3}$/.test(count))
  if (odd.length > 0) fail(`--connections must be a number from 1 to 9999, not ${odd.join(', ')}.`)
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
  const loops: RawSql[] = []
  let generator: ChildProcess | undefined
  try {
    const machine = { ...describeMachine(server.version), flushAtCommit: await flushAtCommit(server) }
    console.error(`${Object.entries(machine).flat().join(' ')}\n`)
    for (const name of SYSTEMS) systems.push(await start(name, () => startSystem(name, server, folder)))
    if (plan.workloads.some(({ lines }) => lines !== undefined)) {
      for (const name of RAW_SQL) loops.push(await start(name, () => startRawSql(name, server)))
    }
    const checks = await checkAll(systems)
    generator = fork(fileURLToPath(new URL('generator.ts', import.meta.url)), { execArgv: [] })
    const rows = await measureAll(plan, systemsUnderTest(systems, generator, loops), interruption)
    printTable(rows)
    save({ machine, checks, rows }, plan, file)
    failOnFaults(checks, rows)
  } catch (error) {
    endInterrupted(error)
  } finally {
    if (generator?.connected) generator.disconnect()
    await Promise.all([...systems, ...loops].map((system) => system.stop()))
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** 1 where a commit is flushed to the disk. */
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

function systemsUnderTest(
  systems: readonly System[],
  generator: ChildProcess,
  loops: readonly RawSql[],
): SystemUnderTest[] {
  return [
    ...systems.map((system) => ({
      ...system,
      generator,
      loadOf: (load: Load): HttpLoad => ({ ...load, ports: system.ports }),
      takesPart: () => true,
    })),
    ...loops.map((bare) => ({
      ...bare,
      loadOf: (load: Load) => load,
      takesPart: ({ lines }: Workload) => lines !== undefined,
    })),
  ]
}

function save(found: Pick<Results, 'machine' | 'checks' | 'rows'>, { workloads, ...plan }: Plan, file: string): void {
  const titles = Object.fromEntries(workloads.map(({ name, title }) => [name, title]))
  saveResults(file, { ...plan, workloads: titles, ...found } satisfies Omit<Results, 'at'> & Omit<Plan, 'workloads'>)
}

/** Fails when a check or the books of this system fail, never because of a figure. */
function failOnFaults(checks: readonly CheckResult[], rows: readonly Row[]): void {
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

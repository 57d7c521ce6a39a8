import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../scripts/program.ts'
import { type DatabaseServer, HOW_TO_GET_A_SERVER, startDatabaseServer } from '../testing/database-server.ts'
import type { Load } from './caller-loop.ts'
import type { HttpLoad } from './generator.ts'
import { faultsOf, measure, type SystemUnderTest } from './measure.ts'
import { describeMachine, median, padTable, resultsFile, saveResults } from './report.ts'
import { rssMibOf, type System, startSystem } from './systems.ts'

const RESULTS = resultsFile('soak', {})
const NARROWED_RESULTS = resultsFile('soak', { narrowed: true })

const HELP = `Measures whether memory stays flat: runs the three services under the mixed workload for minutes. Every 10 seconds it reads
the memory (RSS) and the heap in use (the lowest value of the 10 seconds) of each process.

  npm run bench:soak -- [--minutes 10] [--connections 64]

It needs a MySQL or MariaDB server, as the tests do. Exits with 1 when a request fails, when the books differ or lack an
order, or when a process has ended; never because of a figure. Writes ${RESULTS}, or with an option
${NARROWED_RESULTS}.`

interface Plan {
  minutes: number
  connections: number
}

const WORKLOAD = 'mix'
/** The time between two readings of the memory. After each, the callers open new connections. */
const SLICE_MS = 10_000
const SLICES_PER_MINUTE = 60_000 / SLICE_MS
const WARM_MS = 10_000
const BYTES_PER_MIB = 1024 * 1024
/** The share of the readings that counts as the beginning, and as the end. */
const EDGE = 0.2

const { endInterrupted, fail, interruption, readOptions, tell } = createProgram(HELP)

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const values = readOptions({
  minutes: { type: 'string' },
  connections: { type: 'string' },
})
if (values.help) console.log(HELP)
else await main(planOf(values), resultsFile('soak', values))

function planOf({ minutes = '10', connections = '64' }: typeof values): Plan {
  if (!/^[1-9]\d{0,2}$/.test(minutes)) fail(`--minutes ${minutes}?`)
  if (!/^[1-9]\d{0,3}$/.test(connections)) fail(`--connections ${connections}?`)
  return { minutes: Number(minutes), connections: Number(connections) }
}

/** Ten seconds of load, and the memory afterwards, in MiB; undefined where the machine does not say. */
interface Slice {
  done: number
  seconds: number
  errors: number
  firstError: string | undefined
  placed: number
  p50: number
  p99: number
  rss: Record<string, number | undefined>
  heap: Record<string, number | undefined>
}

interface Found {
  perSecondInMinutes: number[]
  errors: number
  memory: Memory[]
  faults: string[]
  slices: Slice[]
}

/** One process's memory of one kind, in MiB. */
interface Memory {
  process: string
  kind: 'RSS' | 'heap'
  /** Medians. */
  atFirst: number
  atLast: number
  /** In MiB a minute, by least squares over the second half. */
  slope: number
}

async function main(plan: Plan, file: string): Promise<void> {
  const server = await startDatabaseServer({ durable: true })
  if (server === undefined) return fail(HOW_TO_GET_A_SERVER)
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-soak-'))
  let system: System | undefined
  let generator: ChildProcess | undefined
  try {
    tell('starting the services …')
    const tellsHeap = new URL('soak/heap.ts', import.meta.url).href
    system = await startSystem('services', server, folder, ['--import', tellsHeap])
    generator = fork(fileURLToPath(new URL('generator.ts', import.meta.url)), { execArgv: [] })
    const found = await soak(plan, underTest(system, generator), server, system.folder)
    print(found)
    saveResults(file, { machine: describeMachine(server.version), workload: WORKLOAD, ...plan, ...found })
    if (found.faults.length > 0 || found.errors > 0) process.exitCode = 1
  } catch (error) {
    endInterrupted(error)
  } finally {
    if (generator?.connected) generator.disconnect()
    await system?.stop()
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function underTest(system: System, generator: ChildProcess): SystemUnderTest {
  const loadOf = (load: Load): HttpLoad => ({ ...load, ports: system.ports })
  return { ...system, generator, loadOf, takesPart: () => true }
}

async function soak(
  { minutes, connections }: Plan,
  system: SystemUnderTest,
  server: DatabaseServer,
  folder: string,
): Promise<Found> {
  const { orders: ordersBefore } = await system.books()
  const slices: Slice[] = []
  const common = { workload: WORKLOAD, connections, measureMs: SLICE_MS, fixture: system.fixture }
  for (let i = 0; i < minutes * SLICES_PER_MINUTE; i++) {
    const load = system.loadOf({ ...common, warmMs: i === 0 ? WARM_MS : 0 })
    const { processes: _, databaseCpu: __, max: ___, ...result } = await measure(system, load, interruption)
    const slice = { ...result, ...memoryNow(system, server, folder) }
    slices.push(slice)
    tell(inWords(slice))
  }
  tell('auditing the books …')
  const placed = slices.reduce((sum, slice) => sum + slice.placed, 0)
  return {
    perSecondInMinutes: Array.from({ length: minutes }, (_, minute) =>
      rateOf(slices.slice(minute * SLICES_PER_MINUTE, (minute + 1) * SLICES_PER_MINUTE)),
    ),
    errors: slices.reduce((sum, { errors }) => sum + errors, 0),
    memory: memoryOver(slices),
    faults: await faultsOf({ system, ordersBefore, placed }),
    slices,
  }
}

function memoryNow({ pids }: SystemUnderTest, server: DatabaseServer, folder: string): Pick<Slice, 'rss' | 'heap'> {
  const ofEach = (read: (pid: number) => number | undefined) =>
    Object.fromEntries([...pids].map(([name, pid]) => [name, read(pid)]))
  return {
    rss: { ...ofEach(rssMibOf), database: rssMibOf(server.pid) },
    heap: ofEach((pid) => heapMibOf(pid, folder)),
  }
}

function heapMibOf(pid: number, folder: string): number | undefined {
  try {
    return Number(readFileSync(join(folder, `heap-${pid}`), 'utf8')) / BYTES_PER_MIB
  } catch {
    return undefined
  }
}

function rateOf(slices: readonly Slice[]): number {
  const sum = (of: 'done' | 'seconds') => slices.reduce((all, slice) => all + slice[of], 0)
  return sum('done') / sum('seconds')
}

function inWords({ done, seconds, errors, firstError, p99, rss, heap }: Slice): string {
  const memory = Object.entries(rss).map(([name, mib]) => {
    const ofIt = heap[name] === undefined ? '' : ` (${heap[name].toFixed(0)})`
    return `${name} ${mib?.toFixed(0) ?? 'n/a'}${ofIt}`
  })
  const failed = errors === 0 ? '' : `, ${errors} errors, the first ${firstError?.slice(0, 200)}`
  return `${Math.round(done / seconds)}/s, p99 ${p99.toFixed(1)} ms${failed}; MiB (heap): ${memory.join(', ')}`
}

function memoryOver(slices: readonly Slice[]): Memory[] {
  const kinds = [
    ['RSS', 'rss'],
    ['heap', 'heap'],
  ] as const
  return kinds.flatMap(([kind, field]) =>
    Object.keys(slices[0]?.[field] ?? {}).map((process) => {
      const seen = slices.map((slice) => slice[field][process] ?? Number.NaN)
      const edge = Math.max(1, Math.round(seen.length * EDGE))
      const half = seen.slice(Math.floor(seen.length / 2))
      return {
        process,
        kind,
        atFirst: median(seen.slice(0, edge)),
        atLast: median(seen.slice(-edge)),
        slope: slopeOf(half) * SLICES_PER_MINUTE,
      }
    }),
  )
}

/** The slope a number, by least squares. */
function slopeOf(numbers: readonly number[]): number {
  const middle = (numbers.length - 1) / 2
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length
  let above = 0
  let below = 0
  for (const [i, number] of numbers.entries()) {
    above += (i - middle) * (number - mean)
    below += (i - middle) ** 2
  }
  return above / below
}

function print({ perSecondInMinutes, errors, memory, faults, slices }: Found): void {
  const minutes = Math.round((slices.length * EDGE * 10) / SLICES_PER_MINUTE) / 10
  const head = ['process', 'MiB', `first ${minutes} min`, `last ${minutes} min`, 'change', 'MiB a minute, second half']
  const table = memory.map(({ process, kind, atFirst, atLast, slope }) => [
    process,
    kind,
    atFirst.toFixed(1),
    atLast.toFixed(1),
    signed(atLast - atFirst, 1),
    signed(slope, 2),
  ])
  console.log(`\n${padTable([head, ...table], (column) => column < 2).join('\n')}`)
  const orders = slices.reduce((sum, { placed }) => sum + placed, 0)
  console.log(`
Done a second, in each minute: ${perSecondInMinutes.map(Math.round).join(' ')}; ${errors} errors; ${orders} orders${faults.length > 0 ? '' : ', and the books balance'}.
The heap is the least that was in use within ten seconds. The database fills its own cache, of a fixed size, and keeps all orders.`)
  for (const fault of faults) console.error(`Not right: ${fault}`)
}

function signed(number: number, digits: number): string {
  return `${number < 0 ? '' : '+'}${number.toFixed(digits)}`
}

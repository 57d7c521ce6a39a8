import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../scripts/program.ts'
import { chunks } from '../src/platform/database/bulk-insert.ts'
import { openDatabase } from '../src/platform/database/open.ts'
import { HOW_TO_GET_A_SERVER, startDatabaseServer } from '../testing/database-server.ts'
import type { Percentiles } from '../testing/latencies.ts'
import { converse } from './converse.ts'
import { type Figures, figuresOf, recoveryOf } from './overload/figures.ts'
import type { Arrival, SenderMessage, Step, Task } from './overload/sender.ts'
import { describeMachine, padTable, resultsFile, saveResults } from './report.ts'
import { cpuMsOf, rssMibOf, type System, startSystem } from './systems.ts'

const RESULTS = resultsFile('overload', {})
const NARROWED_RESULTS = resultsFile('overload', { narrowed: true })
const NAMES = ['one process', 'services'] as const

const HELP = `Measures this system with more orders than it can process: how many it accepts, how fast it refuses the rest, and how
soon it recovers. First it finds the peak with 64 callers, each of which waits for its answer. Then orders come at a fixed
rate, whether or not earlier ones were answered: half the peak, 4 times the peak, then half the peak again.

  npm run bench:overload -- [--quick] [--system name]

  --quick   about half a minute; default: under a minute
  --system  ${NAMES.map((name) => `'${name}'`).join(' or ')}; default: '${NAMES[0]}'

It needs a MySQL or MariaDB server, as the tests do. At the end it audits the books and looks for every accepted order.
Exits with 1 when an order is missing, when the books differ, or when an answer is neither 201 nor 503 with Retry-After;
never because of a figure. Writes ${RESULTS}, or with an option ${NARROWED_RESULTS}.`

interface Plan {
  system: (typeof NAMES)[number]
  callers: number
  warmMs: number
  peakMs: number
  halfMs: number
  spikeMs: number
  afterMs: number
  /** Requests beyond these are not sent: they would measure this machine, not the system. */
  maxConnections: number
}

const HALF = 0.5
const SPIKE_FACTOR = 4
/** A p99 within this many times the p99 before the spike counts as recovered. */
const RECOVERED_FACTOR = 2
const MAX_PERFORMANCE_MS = 120_000
const ORDERS_PER_QUERY = 5_000

interface Phase extends Figures {
  name: string
  usage: Usage
}

/** Processors in use by the system, the database and the sender; undefined where the machine does not say. */
interface Usage {
  system: number | undefined
  database: number | undefined
  sender: number | undefined
  /** Memory of the system's processes at the end, in MiB. */
  rss: number | undefined
}

interface Performance {
  arrivals: Arrival[]
  usages: Usage[]
  opened: number
  firstOther: string | undefined
}

const { endInterrupted, fail, interruption, readOptions, tell } = createProgram(HELP)

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const values = readOptions({
  quick: { type: 'boolean' },
  system: { type: 'string' },
})
if (values.help) console.log(HELP)
else await main(planOf(values), resultsFile('overload', values))

function planOf({ quick = false, system: asked = NAMES[0] }: typeof values): Plan {
  const system = NAMES.find((name) => name === asked) ?? fail(`--system ${asked}?`)
  const common = { system, callers: 64, maxConnections: 4_000 }
  return quick
    ? { ...common, warmMs: 2_000, peakMs: 2_000, halfMs: 3_000, spikeMs: 4_000, afterMs: 3_000 }
    : { ...common, warmMs: 5_000, peakMs: 5_000, halfMs: 8_000, spikeMs: 10_000, afterMs: 8_000 }
}

async function main(plan: Plan, file: string): Promise<void> {
  const server = await startDatabaseServer({ durable: true })
  if (server === undefined) return fail(HOW_TO_GET_A_SERVER)
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-overload-'))
  let system: System | undefined
  let sender: ChildProcess | undefined
  try {
    tell(`starting ${plan.system} …`)
    system = await startSystem(plan.system, server, folder)
    sender = fork(fileURLToPath(new URL('overload/sender.ts', import.meta.url)), {
      execArgv: [],
      serialization: 'advanced',
    })
    const found = await overload(plan, system, sender)
    print(plan, found)
    saveResults(file, { machine: describeMachine(server.version), plan, ...found })
    if (found.faults.length > 0) process.exitCode = 1
  } catch (error) {
    endInterrupted(error)
  } finally {
    if (sender?.connected) sender.disconnect()
    await system?.stop()
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Found {
  /** Orders a second from callers that wait for their responses. */
  peak: number
  phases: Phase[]
  /** From the end of the spike until the system has recovered, in ms; undefined when it has not. */
  recoveryMs: number | undefined
  connections: number
  accepted: number
  /** Orders in the database whose caller got no acknowledgement. */
  unpromised: number
  firstOther: string | undefined
  faults: string[]
}

async function overload(plan: Plan, system: System, sender: ChildProcess): Promise<Found> {
  const { callers, warmMs, peakMs, halfMs, spikeMs, afterMs, maxConnections } = plan
  const { orders: ordersBefore } = await system.books()
  const { ports, fixture } = system
  const run = (steps: Step[], callers?: number) =>
    perform(system, sender, { ports, fixture, callers, steps, maxConnections })
  const phaseOf = (name: string, { arrivals, usages }: Performance, steps: readonly Step[], step: number): Phase => {
    const usage = usages[step] ?? { system: undefined, database: undefined, sender: undefined, rss: undefined }
    return { name, ...figuresOf(arrivals, steps, step), usage }
  }

  tell(`${callers} callers who wait for their answers …`)
  const closed = [warmMs, peakMs].map((ms) => ({ ms, perSecond: 0 }))
  const first = await run(closed, callers)
  const full = phaseOf(`${callers} callers`, first, closed, 1)
  const peak = full.accepted
  if (peak === 0) throw new Error(`no order was accepted: ${first.firstOther}`)

  tell(`${Math.round(peak)} orders/s. Now ${HALF} of it come …`)
  const half = [{ ms: halfMs, perSecond: peak * HALF }]
  const second = await run(half)
  const before = phaseOf(`${HALF} × peak`, second, half, 0)

  tell(`p99 ${inMs(before.acceptedMs.p99)} ms. Now ${SPIKE_FACTOR} times it come, then ${HALF} of it again …`)
  const spike = [
    { ms: spikeMs, perSecond: peak * SPIKE_FACTOR },
    { ms: afterMs, perSecond: peak * HALF },
  ]
  const third = await run(spike)

  tell('auditing the books …')
  const all = [first, second, third]
  const arrivals = all.flatMap((performance) => performance.arrivals)
  const { orders, differences } = await system.books()
  const accepted = arrivals.flatMap(({ order }) => (order === undefined ? [] : [order]))
  const firstOther = all.find((performance) => performance.firstOther !== undefined)?.firstOther
  return {
    peak,
    phases: [
      full,
      before,
      phaseOf(`${SPIKE_FACTOR} × peak`, third, spike, 0),
      phaseOf(`${HALF} × peak again`, third, spike, 1),
    ],
    recoveryMs: recoveryOf(third.arrivals, spike, 1, before.acceptedMs.p99 * RECOVERED_FACTOR),
    connections: third.opened,
    accepted: accepted.length,
    unpromised: orders - ordersBefore - accepted.length,
    firstOther,
    faults: await faultsOf(system, arrivals, accepted, differences, firstOther),
  }
}

function perform(system: System, sender: ChildProcess, task: Task): Promise<Performance> {
  const marks: Mark[] = []
  const usages: Usage[] = []
  const mark = () => {
    const now = markOf(system, sender)
    const last = marks.at(-1)
    if (last) usages.push(usageBetween(last, now, system))
    marks.push(now)
  }
  return converse<SenderMessage, Performance>(sender, {
    task,
    hear(message) {
      if (message.kind === 'done') return { ...message, usages }
      if (message.kind === 'second') tell(`  ${inWords(message.counts)}`)
      else mark()
      return undefined
    },
    limitMs: MAX_PERFORMANCE_MS,
    stop: interruption,
    name: system.name,
  })
}

function inWords(counts: Record<string, number>): string {
  const some = Object.entries(counts).filter(([, count]) => count > 0)
  return some.map(([outcome, count]) => `${count} ${outcome}`).join(', ') || 'no answers'
}

interface Mark {
  at: number
  /** Processor time so far, in ms. */
  system: number | undefined
  database: number | undefined
  sender: number | undefined
}

function markOf({ pids, databaseCpuMs }: System, sender: ChildProcess): Mark {
  return {
    at: performance.now(),
    system: sumOf(pids, cpuMsOf),
    database: databaseCpuMs(),
    sender: cpuMsOf(sender.pid),
  }
}

function usageBetween(from: Mark, to: Mark, { pids }: System): Usage {
  const cores = (of: 'system' | 'database' | 'sender') => {
    const [first, last] = [from[of], to[of]]
    return first === undefined || last === undefined ? undefined : (last - first) / (to.at - from.at)
  }
  return {
    system: cores('system'),
    database: cores('database'),
    sender: cores('sender'),
    rss: sumOf(pids, rssMibOf),
  }
}

/** Undefined as soon as one is. */
function sumOf(pids: System['pids'], read: (pid: number) => number | undefined): number | undefined {
  let sum = 0
  for (const pid of pids.values()) {
    const value = read(pid)
    if (value === undefined) return undefined
    sum += value
  }
  return sum
}

async function faultsOf(
  system: System,
  arrivals: readonly Arrival[],
  accepted: readonly number[],
  differences: readonly string[],
  firstOther: string | undefined,
): Promise<string[]> {
  const others = arrivals.filter(({ outcome }) => outcome === 'other').length
  const ids = new Set(accepted)
  const missing = ids.size - (await confirmedAmong(system, [...ids]))
  const gone = system.ended()
  return [
    ...differences.map((difference) => `the books differ: ${difference}`),
    ...(missing > 0 ? [`${missing} orders that were accepted are missing or not confirmed`] : []),
    ...(ids.size < accepted.length ? [`${accepted.length - ids.size} requests were given the order of another`] : []),
    ...(others > 0 ? [`${others} answers were neither an order nor a refusal, the first: ${firstOther}`] : []),
    ...(gone === undefined ? [] : [`${gone} has ended`]),
  ]
}

async function confirmedAmong({ database }: System, ids: readonly number[]): Promise<number> {
  const db = await openDatabase({ ...database.env.database, pool: 1, readTimeoutMs: 0 })
  try {
    let found = 0
    for (const some of chunks(ids, ORDERS_PER_QUERY)) {
      const { confirmed } = await db
        .selectFrom('orders')
        .select((eb) => eb.fn.countAll<number>().as('confirmed'))
        .where('id', 'in', some)
        .where('status', '=', 'CONFIRMED')
        .executeTakeFirstOrThrow()
      found += Number(confirmed)
    }
    return found
  } finally {
    await db.destroy()
  }
}

function print(
  { callers }: Plan,
  { peak, phases, recoveryMs, connections, accepted, unpromised, faults }: Found,
): void {
  const head = [
    'orders come',
    'come/s',
    'late p99',
    'accepted/s',
    '× peak',
    'p50',
    'p99',
    'refused/s',
    'p50',
    'p99',
    'other',
    'not sent',
    'CPU system',
    'database',
    'sender',
    'RSS MiB',
  ]
  const table = phases.map((phase) => [
    phase.name,
    phase.offered.toFixed(0),
    inMs(phase.lateMs.p99),
    phase.accepted.toFixed(0),
    (phase.accepted / peak).toFixed(2),
    ...pair(phase.acceptedMs),
    phase.refused.toFixed(0),
    ...pair(phase.refusedMs),
    String(phase.other),
    String(phase.notSent),
    ...[phase.usage.system, phase.usage.database, phase.usage.sender].map((cores) => cores?.toFixed(2) ?? 'n/a'),
    phase.usage.rss?.toFixed(0) ?? 'n/a',
  ])
  console.log(`\n${padTable([head, ...table], (column) => column === 0).join('\n')}\n`)
  for (const { name, acceptedInSeconds, onKeptMs, onNewMs } of phases.slice(1)) {
    console.log(`${name}: accepted in each second ${acceptedInSeconds.join(' ')}`)
    console.log(
      `  p50 and p99 on kept connections ${pair(onKeptMs).join(', ')}; on new ones ${pair(onNewMs).join(', ')}`,
    )
  }
  const recovered = recoveryMs === undefined ? 'not reached' : `${recoveryMs} ms`
  console.log(`
After the spike, until no request is refused and p99 is within ${RECOVERED_FACTOR} times that of before it: ${recovered}.
${accepted} orders were accepted${faults.length > 0 ? '' : ', all of them are there, and the books balance'}; ${unpromised} more are there that no caller was told of.
${connections} connections were opened. Times in ms, from when a request was due (for the ${callers} callers: was sent) to its
answer; CPU in processors in use.`)
  for (const fault of faults) console.error(`Not right: ${fault}`)
}

function pair({ p50, p99 }: Percentiles): string[] {
  return [p50, p99].map((ms) => (Number.isNaN(ms) ? '–' : inMs(ms)))
}

function inMs(ms: number): string {
  return ms.toFixed(1)
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../scripts/program.ts'
import { HOW_TO_GET_A_SERVER, startDatabaseServer } from '../testing/database-server.ts'
import { createLatencies, type Percentiles } from '../testing/latencies.ts'
import { describeMachine, median, padTable, resultsFile, saveResults } from './report.ts'
import { type Case, FEED_CASES, LIST_CASES, type Target } from './scale/cases.ts'
import { type Fixture, openFixture, type Size } from './scale/fixture.ts'

const RESULTS = resultsFile('scale', {})
const NARROWED_RESULTS = resultsFile('scale', { narrowed: true })

const HELP = `Measures list pages, searches and the feed of events in a small and in a large database, in turns, over HTTP.

  npm run bench:scale -- [--quick | --feed]

  --quick   5·10^4 and 5·10^5 orders, 10^4 and 10^5 customers and events, about a minute;
            default: 5·10^4 and 5·10^6 orders, 10^4 and 10^6 customers and events, about ten minutes
  --feed    only the feed, of 10^4 and 10^6 events, about three minutes

It needs a MySQL or MariaDB server, as the tests do, and 11 GB of disk (--quick: 1 GB, --feed: 4 GB). Writes ${RESULTS},
or with an option ${NARROWED_RESULTS}.`

interface Plan {
  small: Size
  large: Size
  rounds: number
  /** Requests of one kind to each database in a round. */
  requests: number
  bufferPoolMib: number
  maxMs: number
  cases: readonly Case[]
}

const CASES = [...LIST_CASES, ...FEED_CASES]
const SMALL: Size = { orders: 50_000, customers: 10_000, events: 10_000 }
const FULL: Plan = {
  small: SMALL,
  large: { orders: 5_000_000, customers: 1_000_000, events: 1_000_000 },
  rounds: 5,
  requests: 96,
  bufferPoolMib: 4_096,
  maxMs: 12 * 60_000,
  cases: CASES,
}
const QUICK: Plan = {
  small: SMALL,
  large: { orders: 500_000, customers: 100_000, events: 100_000 },
  rounds: 3,
  requests: 20,
  bufferPoolMib: 1_024,
  maxMs: 85_000,
  cases: CASES,
}
const FEED: Plan = {
  small: { ...SMALL, orders: 10_000 },
  large: { ...SMALL, orders: 10_000, events: 1_000_000 },
  rounds: 5,
  requests: 96,
  bufferPoolMib: 2_048,
  maxMs: 5 * 60_000,
  cases: FEED_CASES,
}

interface Figures {
  p50: number
  p95: number
}

interface Row extends Pick<Case, 'name' | 'depth' | 'target'> {
  engine: string
  small: Figures
  large: Figures
  /** Of the p95s. */
  ratio: number
}

const { began, endInterrupted, fail, interruption, readOptions, tell } = createProgram(HELP)

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const values = readOptions({ quick: { type: 'boolean' }, feed: { type: 'boolean' } })
if (values.help) console.log(HELP)
else await main(values.feed ? FEED : values.quick ? QUICK : FULL, resultsFile('scale', values))

async function main(plan: Plan, results: string): Promise<void> {
  const server = await startDatabaseServer({ durable: true, bufferPoolMib: plan.bufferPoolMib })
  if (server === undefined) return fail(HOW_TO_GET_A_SERVER)
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-scale-'))
  const rows: Row[] = []
  try {
    const engines = [
      { name: server.version, where: server },
      { name: 'SQLite', where: 'sqlite' as const },
    ]
    for (const [i, { name, where }] of engines.entries()) {
      const fixtures: Fixture[] = []
      try {
        for (const size of [plan.small, plan.large]) {
          interruption.throwIfAborted()
          fixtures.push(await openFixture(size, where, folder, (line) => tell(`${name}: ${line} …`)))
        }
        // The remaining engines share the remaining time.
        const left = plan.maxMs - (performance.now() - began)
        const until = performance.now() + (i === engines.length - 1 ? left : left * 0.5)
        const [small, large] = fixtures
        if (small && large) rows.push(...(await measureCases(name, small, large, plan, until)))
      } finally {
        await Promise.all(fixtures.map((fixture) => fixture.stop()))
      }
    }
    print(rows)
    const { cases: _, ...settings } = plan
    saveResults(results, { machine: describeMachine(server.version), ...settings, rows })
  } catch (error) {
    endInterrupted(error)
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measureCases(engine: string, small: Fixture, large: Fixture, plan: Plan, until: number): Promise<Row[]> {
  const rows: Row[] = []
  const { cases } = plan
  for (const each of cases) {
    if (performance.now() > until) {
      tell(`${engine}: no time left for ${cases.length - rows.length} of ${cases.length} kinds of request`)
      break
    }
    const row = {
      engine,
      name: each.name,
      depth: each.depth,
      target: each.target,
      ...(await measure(each, small, large, plan)),
    }
    rows.push(row)
    tell(
      `${engine}: ${row.name}, ${row.depth}: p95 ${ms(row.small.p95)} → ${ms(row.large.p95)} ms, ${row.ratio.toFixed(2)}x`,
    )
  }
  return rows
}

async function measure(each: Case, small: Fixture, large: Fixture, { rounds, requests }: Plan) {
  const sides = await Promise.all(
    [small, large].map(async (fixture) => ({
      caller: fixture.call(each.service, each),
      paths: await each.pathsIn(fixture),
      taken: [] as Percentiles[],
    })),
  )
  // The first round is not measured: it warms the caches of both.
  for (let round = -1; round < rounds; round++) {
    const samples = sides.map(createLatencies)
    for (let i = 0; i < (round < 0 ? requests / 2 : requests); i++) {
      interruption.throwIfAborted()
      for (const [side, { caller, paths }] of sides.entries()) {
        const from = performance.now()
        await caller.get(paths[i % paths.length] ?? '')
        samples[side]?.record(performance.now() - from)
      }
    }
    if (round >= 0) for (const [side, latencies] of samples.entries()) sides[side]?.taken.push(latencies.percentiles())
  }
  for (const { caller } of sides) caller.close()
  const [ofSmall, ofLarge] = sides.map(({ taken }) => ({
    p50: median(taken.map(({ p50 }) => p50)),
    p95: median(taken.map(({ p95 }) => p95)),
  }))
  const none = { p50: Number.NaN, p95: Number.NaN }
  return { small: ofSmall ?? none, large: ofLarge ?? none, ratio: (ofLarge?.p95 ?? Number.NaN) / (ofSmall?.p95 ?? 1) }
}

function ms(value: number): string {
  return value.toFixed(2)
}

function print(rows: readonly Row[]): void {
  const head = ['engine', 'request', 'page', 'p50 small', 'large', 'p95 small', 'large', 'ratio', 'target', '']
  const table = rows.map(({ engine, name, depth, small, large, ratio, target }) => [
    engine.replace(/-.*$/, ''),
    name,
    depth,
    ...[small.p50, large.p50, small.p95, large.p95].map(ms),
    `${ratio.toFixed(2)}x`,
    'ms' in target ? `≤ ${target.ms} ms` : `≤ ${target.ratio}x`,
    isMet({ target, ratio, large }) ? 'met' : 'missed',
  ])
  console.log(padTable([head, ...table], (column) => column < 3 || column === 9).join('\n'))
  const met = rows.filter(isMet).length
  console.log(`${met} of ${rows.length} kinds of request meet their target. Times in ms.`)
}

/** A time counts for the p95 of the large database. */
function isMet({ target, ratio, large }: { target: Target; ratio: number; large: Figures }): boolean {
  return 'ms' in target ? large.p95 <= target.ms : ratio <= target.ratio
}

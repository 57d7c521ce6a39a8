import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { deflateRawSync } from 'node:zlib'
import { bundleFunction } from '../../scripts/bundling.ts'
import { giveCacheTo, RUNTIME_OPTIONS } from '../../scripts/compile-cache.ts'
import { createProgram } from '../../scripts/program.ts'
import { HOW_TO_GET_A_SERVER, startDatabaseServer } from '../../testing/database-server.ts'
import { median, padTable, resultsFile, saveResults } from '../report.ts'
import { type Events, type Surroundings, startSurroundings } from './services.ts'

const RESULTS = resultsFile('cold', {})
const NARROWED_RESULTS = resultsFile('cold', { narrowed: true })

const HELP = `The time from the start of a process to its first answered event, for each Lambda function, beside the stack that
this system replaces (Express, axios, mysql2, jsonwebtoken, zod), in turns, on this machine. Each function is started as it is
packed, with V8's compile cache, and also without that cache.

  npm run bench:cold -- [--quick] [--rounds 15]

  --quick   3 rounds
  --rounds  how often each function is started, 1 to 100; default: 15

It needs a MySQL or MariaDB server, as the tests do. Writes ${RESULTS}, or with an option
${NARROWED_RESULTS}.`

const COMPARED = ['customers', 'orders', 'orchestrator'] as const
const ALONE = ['sweep', 'events', 'docs'] as const
const QUICK_ROUNDS = 3
const MAX_RUN_MS = 30_000
const MAX_BENCH_MS = 10 * 60_000
// An interruption takes effect at the next start of a process, so that the servers are stopped.
const { fail, interruption, readOptions } = createProgram(HELP)
const NODE = fileURLToPath(new URL('../../node_modules/.bin/node', import.meta.url))
const DRIVER = fileURLToPath(new URL('driver.mjs', import.meta.url))

/** A bundle under test. */
interface Side {
  bundle: string
  variables: Record<string, string>
}

interface Contest {
  name: keyof Events
  ours: Side
  /** This system without V8's compile cache. */
  uncached: Side
  /** Undefined where the other stack has no such function. */
  baseline: Side | undefined
}

/** What the driver writes. */
interface DriverReport {
  /** Times of the monotonic clock, in ns: before the import, after it, and at the response. */
  times: [string, string, string]
  /** Processor time until then, in µs. */
  cpu: number
  response: { statusCode?: number } | undefined
}

/** Milliseconds. */
interface Sample {
  /** From the start of the process to the answered event. */
  total: number
  /** The part for importing the bundle. */
  import: number
  /** Processor time, which a busy machine disturbs least. */
  cpu: number
}

interface Summary {
  median: number
  min: number
  max: number
  importMedian: number
  cpuMedian: number
  samples: number[]
  rawBytes: number
  gzipBytes: number
  /** Of the packed folder, with its source map. */
  zipBytes: number
}

interface Row {
  name: string
  ours: Summary
  uncached: Summary
  baseline: Summary | undefined
  /** Ratios of the medians to those of the other stack. */
  ratio: number | undefined
  cpuRatio: number | undefined
}

process.chdir(fileURLToPath(new URL('../..', import.meta.url)))
const values = readOptions({
  quick: { type: 'boolean' },
  rounds: { type: 'string' },
})
if (values.help) console.log(HELP)
else await main(values.quick ? QUICK_ROUNDS : readRounds(values.rounds ?? '15'), resultsFile('cold', values))

function readRounds(text: string): number {
  return /^\d{1,3}$/.test(text) && Number(text) >= 1 && Number(text) <= 100 ? Number(text) : fail(`--rounds ${text}?`)
}

async function main(rounds: number, file: string): Promise<void> {
  const server = await startDatabaseServer()
  if (server === undefined) return fail(HOW_TO_GET_A_SERVER)
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-cold-'))
  try {
    console.error('Bundling …')
    const bundles = await bundle(folder)
    console.error(`Node ${nodeVersion()}, ${server.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`)
    const surroundings = await startSurroundings(server)
    try {
      const rows = await measure(contestsOf(bundles, surroundings), surroundings, rounds)
      const node = await measureNode(folder, rounds)
      report(rows, node)
      save(file, { rows, node, rounds, database: server.version })
    } finally {
      await surroundings.stop()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
    await server.stop()
  }
}

/**
 * This system's bundles as deployed; the other stack's with the same options, but without the trims of packages. Not in
 * `.build`, which another command may rebuild meanwhile.
 */
async function bundle(folder: string): Promise<{ ours: string; baseline: string }> {
  const ours = join(folder, 'ours')
  const baseline = join(folder, 'baseline')
  execFileSync(NODE, ['scripts/build-functions.ts', ours], { stdio: ['ignore', 'ignore', 'inherit'] })
  const user = process.getuid?.()
  if (user === undefined) return fail('It needs a system whose users have numbers, as Lambda has.')
  for (const name of [...COMPARED, ...ALONE]) giveCacheTo(user, join(ours, name, 'cache'))
  for (const name of COMPARED) {
    await bundleFunction(`bench/cold/baseline/${name}.ts`, `${baseline}/${name}/index.mjs`, [])
  }
  return { ours, baseline }
}

function contestsOf(bundles: { ours: string; baseline: string }, { variables }: Surroundings): Contest[] {
  // The options of the runtime are part of a stack.
  const [, options] = /^ *NODE_OPTIONS: (.+)$/m.exec(readFileSync('serverless.yml', 'utf8')) ?? []
  const deployed = { ...variables, ...(options !== undefined && { NODE_OPTIONS: options }) }
  const both = (name: keyof Events) => ({
    name,
    ours: { bundle: join(bundles.ours, name, 'index.mjs'), variables: deployed },
    uncached: { bundle: join(bundles.ours, name, 'app.mjs'), variables: deployed },
  })
  const compared = COMPARED.map((name) => ({
    ...both(name),
    baseline: { bundle: join(bundles.baseline, name, 'index.mjs'), variables },
  }))
  return [...compared, ...ALONE.map((name) => ({ ...both(name), baseline: undefined }))]
}

async function measure(contests: Contest[], surroundings: Surroundings, rounds: number): Promise<Row[]> {
  const until = Date.now() + MAX_BENCH_MS
  const rows: Row[] = []
  for (const { name, ours, uncached, baseline } of contests) {
    const samples: Record<'ours' | 'uncached' | 'baseline', Sample[]> = { ours: [], uncached: [], baseline: [] }
    // The first round fills the page cache, and does not count.
    for (let round = 0; round <= rounds && Date.now() < until; round++) {
      // Sides take turns, also at going first, so that other work on the machine affects all of them.
      const sides = [['ours', ours] as const, ['uncached', uncached] as const, ['baseline', baseline] as const]
      for (const [which, side] of round % 2 === 0 ? sides : sides.toReversed()) {
        if (side === undefined) continue
        const sample = await startOnce(side, surroundings.events[name]())
        if (round > 0) samples[which].push(sample)
      }
      showProgress(`${name}: round ${round} of ${rounds}`)
    }
    const row = {
      name,
      ours: summarise(samples.ours, ours),
      uncached: summarise(samples.uncached, uncached),
      baseline: baseline && summarise(samples.baseline, baseline),
    }
    rows.push({
      ...row,
      ratio: row.baseline && row.ours.median / row.baseline.median,
      cpuRatio: row.baseline && row.ours.cpuMedian / row.baseline.cpuMedian,
    })
    showProgress('')
    console.error(
      `${name}: ${describe(row.ours)}, without the cache ${describe(row.uncached)}${row.baseline ? `, the other stack ${describe(row.baseline)}` : ''}`,
    )
  }
  return rows
}

/** The share of Node itself: a bundle that imports nothing. */
async function measureNode(folder: string, rounds: number): Promise<{ median: number }> {
  const bundle = join(folder, 'nothing.mjs')
  writeFileSync(bundle, 'export const handler = async () => ({ statusCode: 200 })\n')
  const totals: number[] = []
  for (let round = 0; round < rounds; round++) totals.push((await startOnce({ bundle, variables: {} }, {})).total)
  return { median: median(totals) }
}

/** Runs one process from its start to the response. @throws Error when the response is not a success */
async function startOnce({ bundle, variables }: Side, event: object): Promise<Sample> {
  interruption.throwIfAborted()
  const started = process.hrtime.bigint()
  const child = spawn(NODE, [...RUNTIME_OPTIONS, DRIVER, bundle, JSON.stringify(event)], {
    env: { PATH: process.env.PATH, ...variables },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    timeout: MAX_RUN_MS,
  })
  const [said, complaint, code] = await Promise.all([
    read(child.stdio[3]),
    read(child.stderr),
    new Promise((resolve) => child.once('close', resolve)),
  ])
  if (code !== 0) throw new Error(`${bundle} ended with ${code}:\n${complaint}`)
  const { times, cpu, response }: DriverReport = JSON.parse(said)
  if ((response?.statusCode ?? 200) >= 400)
    throw new Error(`${bundle} answered ${JSON.stringify(response)}\n${complaint}`)
  const [began, imported, answered] = times
  return {
    total: msBetween(started, BigInt(answered)),
    import: msBetween(BigInt(began), BigInt(imported)),
    cpu: cpu / 1000,
  }
}

function msBetween(from: bigint, to: bigint): number {
  return Number(to - from) / 1e6
}

async function read(stream: unknown): Promise<string> {
  let text = ''
  if (isReadable(stream)) for await (const chunk of stream) text += chunk
  return text
}

function isReadable(stream: unknown): stream is AsyncIterable<Buffer> {
  return typeof stream === 'object' && stream !== null && Symbol.asyncIterator in stream
}

function summarise(samples: Sample[], { bundle }: Side): Summary {
  const totals = samples.map((sample) => sample.total)
  return {
    median: median(totals),
    min: Math.min(...totals),
    max: Math.max(...totals),
    importMedian: median(samples.map((sample) => sample.import)),
    cpuMedian: median(samples.map((sample) => sample.cpu)),
    samples: totals.map((ms) => Math.round(ms * 10) / 10),
    ...sizesOf(bundle),
  }
}

/** With a compile cache, `index.mjs` is only the entry, and `app.mjs` is the bundle. */
function sizesOf(bundle: string) {
  const folder = join(bundle, '..')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const main = join(folder, files.find((file) => file === 'app.mjs') ?? basename(bundle))
  const isPacked = (file: string) => statSync(join(folder, file)).isFile() && !leftOut(bundle).test(file)
  const packed = files.filter(isPacked).map((file) => compressedSize(join(folder, file)))
  return {
    rawBytes: statSync(main).size,
    gzipBytes: compressedSize(main),
    zipBytes: packed.reduce((sum, bytes) => sum + bytes, 0),
  }
}

/** Files that a bundle without the compile cache does not need. */
function leftOut(bundle: string): RegExp {
  return basename(bundle) === 'app.mjs' ? /^(cache|index\.mjs)/ : /^$/
}

/** Deflated, as in zip and gzip, without their headers. */
function compressedSize(file: string): number {
  return deflateRawSync(readFileSync(file), { level: 9 }).length
}

function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`)
}

function describe({ median, min, max }: Summary): string {
  return `${Math.round(median)} ms (${Math.round(min)}–${Math.round(max)})`
}

function report(rows: readonly Row[], node: { median: number }): void {
  const kib = (bytes: number) => `${Math.round(bytes / 1024)}`
  const cells = rows.flatMap(({ name, ours, uncached, baseline }) =>
    [
      { label: 'ours', summary: ours },
      { label: 'without cache', summary: uncached },
      { label: 'other stack', summary: baseline },
    ].flatMap(({ label, summary }) => {
      if (summary === undefined) return []
      const times = baseline === undefined || summary === baseline ? undefined : baseline
      return [
        [
          summary === ours ? name : '',
          label,
          summary.median.toFixed(0),
          `${summary.min.toFixed(0)}–${summary.max.toFixed(0)}`,
          summary.importMedian.toFixed(0),
          times ? (summary.median / times.median).toFixed(2) : '',
          summary.cpuMedian.toFixed(0),
          times ? (summary.cpuMedian / times.cpuMedian).toFixed(2) : '',
          kib(summary.rawBytes),
          kib(summary.gzipBytes),
          kib(summary.zipBytes),
        ],
      ]
    }),
  )
  const head = [
    'function',
    'stack',
    'first answer',
    'min–max',
    'import',
    'ratio',
    'processor',
    'ratio',
    'raw KiB',
    'gzip KiB',
    'zip KiB',
  ]
  const table = [head, ...cells]
  console.log(padTable(table, (column) => column < 2).join('\n'))
  console.log(`\nMedians in ms, of which Node itself, importing nothing, takes ${node.median.toFixed(0)}.`)
  console.log("The zip holds the bundle and what lies beside it: the cache, the source map, in docs' Swagger UI.")
}

interface Found {
  rows: readonly Row[]
  node: { median: number }
  rounds: number
  database: string
}

function save(file: string, { rows, node, rounds, database }: Found): void {
  const machine = { cpu: cpus()[0]?.model, cpus: cpus().length, platform: process.platform, node: nodeVersion() }
  saveResults(file, { rounds, machine, database, bareNodeMs: node.median, rows })
}

function nodeVersion(): string {
  return execFileSync(NODE, ['--version'], { encoding: 'utf8' }).trim()
}

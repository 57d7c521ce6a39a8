import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { Result } from './caller-loop.ts'
import type { CheckResult } from './checks.ts'

/** One system under one load, for a few seconds. */
export interface Sample extends Result {
  /** By process. */
  processes: Record<string, Usage>
  /** Processor time of the database, in ms; undefined where the machine does not say. */
  databaseCpu: number | undefined
}

/** Undefined where the machine does not say. */
interface Usage {
  /** Processor time in the measured period, in ms. */
  cpu: number | undefined
  /** Resident memory, in MiB. */
  rss: number | undefined
}

/** Medians of the rounds. CPU is processor time an operation, in ms; undefined where the machine does not say. */
export interface Figures {
  perSecond: number
  p50: number
  p99: number
  /** The longest of all rounds. */
  max: number
  errors: number
  /** Of all processes of the system. */
  cpu: number | undefined
  databaseCpu: number | undefined
  /** Of all processes of the system, in MiB. */
  rss: number | undefined
  /** The same by process. */
  processes: Record<string, Usage>
  /** The process that used most of a processor, and how much of one. */
  busiest: { name: string; cores: number } | undefined
  perSecondRounds: number[]
  /** Why the throughput counts as zero. */
  faults: string[]
  firstError: string | undefined
}

export interface Row extends Figures {
  workload: string
  connections: number
  system: string
  ours: boolean
}

/** The file of a run. */
export interface Results {
  at: string
  machine: { node: string; database: string; flushAtCommit: string; cpus: string }
  rounds: number
  /** Titles by name. */
  workloads: Record<string, string>
  checks: CheckResult[]
  rows: Row[]
}

/** The systems that the others are compared with. */
export const BASELINE = 'baseline'
export const LIMIT = 'bare, one transaction a step'

export function summarise(samples: readonly Sample[], faults: string[]): Figures {
  const rates = samples.map(({ done, seconds }) => done / seconds)
  return {
    perSecond: faults.length > 0 ? 0 : median(rates),
    p50: median(samples.map((sample) => sample.p50)),
    p99: median(samples.map((sample) => sample.p99)),
    max: Math.max(...samples.map((sample) => sample.max)),
    errors: samples.reduce((sum, sample) => sum + sample.errors, 0),
    cpu: medianKnown(samples.map((sample) => perOperation(sample, total(sample, 'cpu')))),
    databaseCpu: medianKnown(samples.map((sample) => perOperation(sample, sample.databaseCpu))),
    rss: medianKnown(samples.map((sample) => total(sample, 'rss'))),
    processes: processesOf(samples),
    busiest: busiestOf(samples),
    perSecondRounds: rates.map((rate) => Math.round(rate)),
    faults,
    firstError: samples.find((sample) => sample.firstError !== undefined)?.firstError,
  }
}

function total({ processes }: Sample, what: keyof Usage): number | undefined {
  return sum(Object.values(processes).map((usage) => usage[what]))
}

/** Undefined as soon as one is. */
function sum(numbers: readonly (number | undefined)[]): number | undefined {
  return numbers.includes(undefined) ? undefined : numbers.reduce<number>((all, number = 0) => all + number, 0)
}

function perOperation({ done }: Sample, ms: number | undefined): number | undefined {
  return ms === undefined || done === 0 ? undefined : ms / done
}

function namesOf(samples: readonly Sample[]): string[] {
  return Object.keys(samples[0]?.processes ?? {})
}

function processesOf(samples: readonly Sample[]): Figures['processes'] {
  const usageOf = (name: string) => ({
    cpu: medianKnown(samples.map((sample) => perOperation(sample, sample.processes[name]?.cpu))),
    rss: medianKnown(samples.map((sample) => sample.processes[name]?.rss)),
  })
  return Object.fromEntries(namesOf(samples).map((name) => [name, usageOf(name)]))
}

function busiestOf(samples: readonly Sample[]): Figures['busiest'] {
  const coresOf = (cpuOf: (sample: Sample) => number | undefined) =>
    medianKnown(samples.map((sample) => cores(sample, cpuOf(sample))))
  const each = [
    ...namesOf(samples).map((name) => ({ name, cores: coresOf(({ processes }) => processes[name]?.cpu) })),
    { name: 'database', cores: coresOf(({ databaseCpu }) => databaseCpu) },
  ]
  const known = each.flatMap(({ name, cores }) => (cores === undefined ? [] : [{ name, cores }]))
  return known.toSorted((a, b) => b.cores - a.cores)[0]
}

function cores({ seconds }: Sample, ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000 / seconds
}

function medianKnown(numbers: readonly (number | undefined)[]): number | undefined {
  const known = numbers.filter((number) => number !== undefined)
  return known.length === 0 ? undefined : median(known)
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2
}

const HEAD = [
  'workload',
  'conns',
  'system',
  'done/s',
  '×',
  '× bare',
  'p50 ms',
  '×',
  'p99 ms',
  '×',
  'errors',
  'CPU ms',
  'DB CPU ms',
  '×',
  'RSS MiB',
  '×',
  'busiest',
]
const TEXT_COLUMNS = new Set([0, 2, HEAD.length - 1])

export function printTable(rows: readonly Row[]): void {
  const table = [HEAD]
  for (const group of Map.groupBy(rows, ({ workload, connections }) => `${workload} ${connections}`).values()) {
    for (const [i, row] of group.entries()) table.push(cellsOf(row, i === 0, group))
  }
  for (const line of padTable(table, (column) => TEXT_COLUMNS.has(column))) console.log(line)
  console.log(`
×: to the baseline; × bare: to the bare loop with one transaction a step. More is better of what is done, less of all
else. CPU: processor time an operation, of all processes of the system, and of the database; its × is of both together.
SQLite works in the process itself. Busiest: the process that used most of a processor, and how much of one.`)
  for (const { workload, connections, system, faults } of rows) {
    for (const fault of faults)
      console.log(`${workload}, ${connections} connections, ${system} counts as zero: ${fault}`)
  }
}

/** Aligns the columns of a table: text to the left, figures to the right. */
export function padTable(table: readonly string[][], isText: (column: number) => boolean): string[] {
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)))
  return table.map((cells) => {
    const padded = cells.map((cell, column) => {
      const width = widths[column] ?? 0
      return isText(column) ? cell.padEnd(width) : cell.padStart(width)
    })
    return padded.join('  ').trimEnd()
  })
}

function cellsOf(row: Row, first: boolean, group: readonly Row[]): string[] {
  const { faults, busiest } = row
  const other = (name: string) => (row.system === name ? undefined : group.find(({ system }) => system === name))
  const baseline = other(BASELINE)
  return [
    first ? row.workload : '',
    first ? String(row.connections) : '',
    row.system,
    faults.length > 0 ? '0 (books)' : row.perSecond.toFixed(0),
    ratio(row.perSecond, baseline?.perSecond),
    ratio(row.perSecond, other(LIMIT)?.perSecond),
    row.p50.toFixed(1),
    ratio(row.p50, baseline?.p50),
    row.p99.toFixed(1),
    ratio(row.p99, baseline?.p99),
    String(row.errors),
    row.cpu?.toFixed(2) ?? 'n/a',
    row.databaseCpu?.toFixed(2) ?? 'n/a',
    ratio(wholeCpu(row), baseline && wholeCpu(baseline)),
    row.rss?.toFixed(0) ?? 'n/a',
    ratio(row.rss, baseline?.rss),
    busiest === undefined ? 'n/a' : `${busiest.name} ${busiest.cores.toFixed(2)}`,
  ]
}

function wholeCpu({ cpu, databaseCpu }: Row): number | undefined {
  return sum([cpu, databaseCpu])
}

function ratio(ours: number | undefined, theirs: number | undefined): string {
  return ours === undefined || theirs === undefined || theirs === 0 ? '' : (ours / theirs).toFixed(2)
}

/** The file for the figures: the committed one for a whole run, another one for a run with options. */
export function resultsFile(name: string, options: object): string {
  return `bench/results/${name}${Object.keys(options).length > 0 ? '-narrowed' : ''}.json`
}

export function describeMachine(databaseVersion: string): { node: string; database: string; cpus: string } {
  const model = cpus()[0]?.model ?? 'unknown'
  return { node: process.version, database: databaseVersion, cpus: `${cpus().length} × ${model}` }
}

export function saveResults(file: string, results: object): void {
  mkdirSync('bench/results', { recursive: true })
  writeFileSync(file, `${JSON.stringify({ at: new Date().toISOString(), ...results }, null, 2)}\n`)
  console.log(`Written to ${file}.`)
}

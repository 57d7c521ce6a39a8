import type { Result } from './generator.ts'

/** One system under one load for a few seconds. CPU is in ms of processor time while it was measured. */
export interface Sample extends Result {
  /** By process; undefined where the machine does not say. */
  cpu: Record<string, number | undefined>
  databaseCpu: number | undefined
  /** Of all processes of the system, in MiB. */
  rss: number | undefined
}

/** Medians of the rounds. CPU is in ms of processor time for each operation; undefined where the machine does not say. */
export interface Figures {
  perSecond: number
  p50: number
  p99: number
  /** The longest of all rounds. */
  max: number
  errors: number
  cpu: number | undefined
  databaseCpu: number | undefined
  rss: number | undefined
  /** The process that used most of a processor, and how much of one. */
  busiest: { name: string; cores: number } | undefined
  perSecondRounds: number[]
  /** Why the throughput is zero, if it is for another reason than that nothing was done. */
  faults: string[]
  firstError: string | undefined
}

export interface Row extends Figures {
  workload: string
  connections: number
  system: string
}

export function summarise(samples: readonly Sample[], faults: string[]): Figures {
  const rates = samples.map(({ done, seconds }) => done / seconds)
  return {
    perSecond: faults.length > 0 ? 0 : median(rates),
    p50: median(samples.map((sample) => sample.p50)),
    p99: median(samples.map((sample) => sample.p99)),
    max: Math.max(...samples.map((sample) => sample.max)),
    errors: samples.reduce((sum, sample) => sum + sample.errors, 0),
    cpu: medianKnown(samples.map((sample) => perOperation(sample, totalCpu(sample)))),
    databaseCpu: medianKnown(samples.map((sample) => perOperation(sample, sample.databaseCpu))),
    rss: medianKnown(samples.map((sample) => sample.rss)),
    busiest: busiestOf(samples),
    perSecondRounds: rates.map((rate) => Math.round(rate)),
    faults,
    firstError: samples.find((sample) => sample.firstError !== undefined)?.firstError,
  }
}

function totalCpu({ cpu }: Sample): number | undefined {
  const each = Object.values(cpu)
  return each.includes(undefined) ? undefined : each.reduce<number>((sum, ms = 0) => sum + ms, 0)
}

function perOperation({ done }: Sample, ms: number | undefined): number | undefined {
  return ms === undefined || done === 0 ? undefined : ms / done
}

function busiestOf(samples: readonly Sample[]): Figures['busiest'] {
  const names = Object.keys(samples[0]?.cpu ?? {})
  const each = [
    ...names.map((name) => ({ name, cores: medianKnown(samples.map((sample) => coresOf(sample, sample.cpu[name]))) })),
    { name: 'database', cores: medianKnown(samples.map((sample) => coresOf(sample, sample.databaseCpu))) },
  ]
  const known = each.flatMap(({ name, cores }) => (cores === undefined ? [] : [{ name, cores }]))
  return known.toSorted((a, b) => b.cores - a.cores)[0]
}

function coresOf({ seconds }: Sample, ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000 / seconds
}

function medianKnown(numbers: readonly (number | undefined)[]): number | undefined {
  const known = numbers.filter((number) => number !== undefined)
  return known.length === 0 ? undefined : median(known)
}

function median(numbers: readonly number[]): number {
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
  'p50 ms',
  'p99 ms',
  '×',
  'errors',
  'CPU ms',
  '×',
  'DB CPU ms',
  '×',
  'RSS MiB',
  'busiest',
]
const TEXT_COLUMNS = new Set([0, 2, 14])

export function printTable(rows: readonly Row[]): void {
  const groups = Map.groupBy(rows, ({ workload, connections }) => `${workload} ${connections}`)
  const table = [HEAD]
  for (const group of groups.values()) {
    const baseline = group.find(({ system }) => system === 'baseline')
    for (const [i, row] of group.entries()) table.push(cellsOf(row, i === 0, row === baseline ? undefined : baseline))
  }
  const widths = HEAD.map((_, column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)))
  for (const cells of table) {
    const padded = cells.map((cell, column) => {
      const width = widths[column] ?? 0
      return TEXT_COLUMNS.has(column) ? cell.padEnd(width) : cell.padStart(width)
    })
    console.log(padded.join('  ').trimEnd())
  }
  console.log(
    '\n×: to the baseline. More is better of what is done, less of all else. CPU: processor time an operation, of all',
  )
  console.log(
    'processes of the system, and of the database. Busiest: the process that used most of a processor, and how much.',
  )
  for (const { workload, connections, system, faults } of rows) {
    for (const fault of faults)
      console.log(`${workload}, ${connections} connections, ${system} counts as zero: ${fault}`)
  }
}

function cellsOf(row: Row, first: boolean, baseline: Row | undefined): string[] {
  const { faults, busiest } = row
  return [
    first ? row.workload : '',
    first ? String(row.connections) : '',
    row.system,
    faults.length > 0 ? '0 (books)' : row.perSecond.toFixed(0),
    ratio(row.perSecond, baseline?.perSecond),
    row.p50.toFixed(1),
    row.p99.toFixed(1),
    ratio(row.p99, baseline?.p99),
    String(row.errors),
    row.cpu?.toFixed(2) ?? 'n/a',
    ratio(row.cpu, baseline?.cpu),
    row.databaseCpu?.toFixed(2) ?? 'n/a',
    ratio(row.databaseCpu, baseline?.databaseCpu),
    row.rss?.toFixed(0) ?? 'n/a',
    busiest === undefined ? 'n/a' : `${busiest.name} ${busiest.cores.toFixed(2)}`,
  ]
}

function ratio(ours: number | undefined, theirs: number | undefined): string {
  return ours === undefined || theirs === undefined || theirs === 0 ? '' : (ours / theirs).toFixed(2)
}

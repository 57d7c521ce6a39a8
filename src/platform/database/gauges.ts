import { type CompiledQuery, sql } from 'kysely'
import { createSingleFlight } from '../core/single-flight.ts'
import { type DbTime, msOf } from '../core/time.ts'
import { untilAborted, withTimeLimit } from '../core/timeout.ts'
import type { Gauge, Metrics, Sample } from '../telemetry/metrics.ts'
import { dialectOf } from './dialect.ts'
import { pipeline } from './pipeline.ts'
import type { Database } from './types.ts'

/**
 * A gauge whose value is in the database. Its select is plain SQL for both engines. It must be cheap however many rows there
 * are, so it names its index.
 */
export interface DatabaseGauge {
  series: Gauge<readonly string[]>
  /**
   * What `value` of its rows is: a number, a time that is shown as an age, or a time that is shown as seconds since 1970. An
   * age without a row is 0, because nothing waits. Other gauges without a row are absent.
   */
  kind: 'number' | 'age' | 'time'
  /**
   * Selects `value`, and `label` where the series has one.
   * @param byIndex the text after a table's alias that makes the engine read it by this index and no other
   */
  select(byIndex: (name: string) => string): string
}

interface Row {
  value: number | string | null
  label?: string
}

type Read = ReadonlyMap<DatabaseGauge, Sample<readonly string[]>[]>

const MAX_AGE_MS = 10_000
const LIMIT_MS = 1_000
const NOTHING: Read = new Map()

/** Reads gauges at scrapes. While the database can't answer, they are absent. */
export function watchDatabase(db: Database, gauges: readonly DatabaseGauge[], metrics: Metrics): void {
  const read = createGaugeReader(db, gauges)
  for (const gauge of gauges) metrics.atScrape(gauge.series, async () => (await read()).get(gauge) ?? [])
}

/** @returns the values of all gauges: they are read in one round trip, at most every 10 s, and none when that fails */
export function createGaugeReader(db: Database, gauges: readonly DatabaseGauge[], now = () => performance.now()) {
  const share = createSingleFlight<'all', Read>(MAX_AGE_MS, now)
  let last = { at: Number.NEGATIVE_INFINITY, values: NOTHING }
  const readInTime = () =>
    withTimeLimit(LIMIT_MS, (signal) => untilAborted(signal, readGauges(db, gauges))).catch(() => NOTHING)

  return async (): Promise<Read> => {
    if (now() - last.at < MAX_AGE_MS) return last.values
    const at = now()
    const values = await share('all', readInTime).result
    if (at > last.at) last = { at, values }
    return values
  }
}

/** @throws what the database throws */
export async function readGauges(db: Database, gauges: readonly DatabaseGauge[]): Promise<Read> {
  const { limitTime } = dialectOf(db)
  const queries = [clockQuery(db), ...gauges.map((gauge) => gaugeQuery(db, gauge))]
  const limited = queries.map((query) => limitTime(query, LIMIT_MS))
  const [clock, ...results] = await pipeline(db, ...limited)
  const now = String(clock?.[0]?.value)
  return new Map(gauges.map((gauge, i) => [gauge, samplesOf(gauge, results[i] ?? [], now)]))
}

/** With a `from`, it counts as a read like the selects that it is sent with. */
function clockQuery(db: Database): CompiledQuery<Row> {
  return sql<Row>`select ${dialectOf(db).now} as value from (select 1 as one) as clock`.compile(db)
}

/** The select of a gauge for the engine of a database. */
export function gaugeQuery(db: Database, { select }: DatabaseGauge): CompiledQuery<Row> {
  const byIndex = (name: string) => sql`${dialectOf(db).forceIndex(name)}`.compile(db).sql
  return sql<Row>`${sql.raw(select(byIndex))}`.compile(db)
}

function samplesOf({ kind, series }: DatabaseGauge, rows: readonly Row[], now: DbTime): Sample<readonly string[]>[] {
  const known = rows.flatMap(({ value, label }) => (value === null ? [] : [{ value, labels: label ? [label] : [] }]))
  if (kind === 'age' && known.length === 0) return [{ labels: [], value: 0 }]
  return known.map(({ labels, value }) => ({
    labels: series.labels.length === 0 ? [] : labels,
    value: numberOf(kind, value, now),
  }))
}

function numberOf(kind: DatabaseGauge['kind'], value: string | number, now: DbTime): number {
  if (kind === 'number') return Number(value)
  const ms = msOf(String(value))
  return (kind === 'time' ? ms : Math.max(0, msOf(now) - ms)) / 1_000
}

// Series are plain data, and rooms see this interface alone. Only the exporter knows a library, and it is loaded only when
// metrics are on.

type LabelNames = readonly string[]

interface Series<L extends LabelNames> {
  readonly name: string
  /** What it says, for the reader of a scrape. */
  readonly help: string
  /** Their values are bounded: never an id, a principal, a SKU or a path as it was sent. */
  readonly labels: L
}

export interface Counter<L extends LabelNames> extends Series<L> {
  readonly kind: 'counter'
}

export interface Gauge<L extends LabelNames> extends Series<L> {
  readonly kind: 'gauge'
}

export interface Histogram<L extends LabelNames> extends Series<L> {
  readonly kind: 'histogram'
  /** The upper bounds of its buckets, ascending. */
  readonly buckets: readonly number[]
}

/** A value for each label, in the order of the names. */
export type LabelValues<L extends LabelNames> = { readonly [I in keyof L]: string }

export interface Sample<L extends LabelNames> {
  readonly labels: LabelValues<L>
  readonly value: number
}

/** Counts up, by 1 unless it is told by how much. */
export type Count = (by?: number) => void

/** Adds a value to a histogram. Times are in seconds. */
export type Observe = (value: number) => void

/** Where the platform and the domains say what they do. */
export interface Metrics {
  counter<const L extends LabelNames>(series: Counter<L>, ...labels: LabelValues<L>): Count
  histogram<const L extends LabelNames>(series: Histogram<L>, ...labels: LabelValues<L>): Observe
  /**
   * Calls `read` at each scrape. Samples of several readers with the same labels add up; without a sample the series is
   * absent. `read` must not throw.
   */
  atScrape<const L extends LabelNames>(
    series: Gauge<L> | Counter<L>,
    read: () => Samples<L> | Promise<Samples<L>>,
  ): void
}

export type Samples<L extends LabelNames> = readonly Sample<L>[]

const ignore = () => {}

/** For a process without metrics. */
export const NO_METRICS: Metrics = { counter: () => ignore, histogram: () => ignore, atScrape: ignore }

/** The time since a moment of `performance.now()`, as series have it. */
export function secondsSince(start: number): number {
  return (performance.now() - start) / 1_000
}

import library from 'prom-client'
import type { Count, Counter, Gauge, Histogram, Metrics, Observe, Samples } from './metrics.ts'

export type ExpositionFormat = 'text' | 'openmetrics'

export const CONTENT_TYPES: Record<ExpositionFormat, string> = {
  text: library.Registry.PROMETHEUS_CONTENT_TYPE,
  openmetrics: library.Registry.OPENMETRICS_CONTENT_TYPE,
}

export interface Exporter {
  metrics: Metrics
  /** All series, with their values of now. */
  expose(format: ExpositionFormat): Promise<string>
}

type Names = readonly string[]
type AnySeries = Counter<Names> | Gauge<Names> | Histogram<Names>
type Labels = Record<string, string>
type Reader = () => Samples<Names> | Promise<Samples<Names>>
type Register = <M extends library.Metric>(metric: M) => M

/** Keeps the values of all series of a process, with prom-client. */
export function createExporter(): Exporter {
  const text = new library.Registry()
  const openmetrics = new library.Registry<library.OpenMetricsContentType>()
  openmetrics.setContentType(library.Registry.OPENMETRICS_CONTENT_TYPE)

  const register: Register = (metric) => {
    text.registerMetric(metric)
    // The library renames counters when it writes OpenMetrics. It gets a view, so that the counter keeps its name.
    openmetrics.registerMetric(Object.create(metric))
    return metric
  }
  const counters = createChildren((series: Counter<Names>) => counterOf(series, register))
  const histograms = createChildren((series: Histogram<Names>) => histogramOf(series, register))
  const readers = new Map<string, Reader[]>()

  return {
    metrics: {
      counter: (series, ...labels) => counters(series, labels),
      histogram: (series, ...labels) => histograms(series, labels),
      atScrape(series, read) {
        const known = readers.get(series.name)
        if (known) return void known.push(read)
        const all = [read]
        readers.set(series.name, all)
        addReadMetric(series, all, register)
      },
    },
    expose: (format) => (format === 'text' ? text : openmetrics).metrics(),
  }
}

/** The children of a family, by the value of one label after the other: to join the values would take longer. */
interface Branch<C> {
  child: C | undefined
  branches: Map<string, Branch<C>>
}

/** Looks a child up by its labels, and makes it at first use. */
function createChildren<S extends AnySeries, C>(open: (series: S) => (labels: Labels) => C) {
  const families = new Map<S, { make: (labels: Labels) => C; root: Branch<C> }>()

  function openFamily(series: S) {
    const family = { make: open(series), root: newBranch<C>() }
    families.set(series, family)
    return family
  }

  return (series: S, values: readonly string[]): C => {
    const { make, root } = families.get(series) ?? openFamily(series)
    let branch = root
    for (const value of values) branch = branch.branches.get(value) ?? grow(branch, value)
    branch.child ??= make(labelsOf(series, values))
    return branch.child
  }
}

function grow<C>({ branches }: Branch<C>, value: string): Branch<C> {
  const branch = newBranch<C>()
  branches.set(value, branch)
  return branch
}

function newBranch<C>(): Branch<C> {
  return { child: undefined, branches: new Map() }
}

function labelsOf({ labels }: AnySeries, values: readonly string[]): Labels {
  return Object.fromEntries(labels.map((name, i) => [name, values[i] ?? '']))
}

function optionsOf({ name, help, labels }: AnySeries) {
  return { name, help, labelNames: [...labels], registers: [] }
}

/** A child is there from the start with 0: else its first increase would not be seen as one. */
function counterOf(series: Counter<Names>, register: Register): (labels: Labels) => Count {
  const counter = register(new library.Counter(optionsOf(series)))
  return (labels) => {
    const child = counter.labels(labels)
    child.inc(0)
    return child.inc
  }
}

function histogramOf(series: Histogram<Names>, register: Register): (labels: Labels) => Observe {
  const histogram = register(new library.Histogram({ ...optionsOf(series), buckets: [...series.buckets] }))
  return (labels) => {
    histogram.zero(labels)
    return histogram.labels(labels).observe
  }
}

function addReadMetric(series: Gauge<Names> | Counter<Names>, readers: readonly Reader[], register: Register): void {
  const metric: library.Gauge | library.Counter =
    series.kind === 'gauge'
      ? new library.Gauge({ ...optionsOf(series), collect })
      : new library.Counter({ ...optionsOf(series), collect })
  register(metric)

  async function collect(): Promise<void> {
    const samples = (await Promise.all(readers.map((read) => read()))).flat()
    metric.reset()
    // A reset leaves a series without labels at 0. One that nobody has a value for must be absent.
    if (series.labels.length === 0) metric.remove()
    for (const { labels, value } of samples) metric.inc(labelsOf(series, labels), value)
  }
}

import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Metrics } from './metrics.ts'

const CPU_SECONDS = {
  kind: 'counter',
  name: 'process_cpu_seconds_total',
  help: 'Processor time that the process has spent.',
  labels: [],
} as const

const RESIDENT_BYTES = {
  kind: 'gauge',
  name: 'process_resident_memory_bytes',
  help: 'Memory that the process holds.',
  labels: [],
} as const

const LOOP_DELAY = {
  kind: 'gauge',
  name: 'nodejs_eventloop_delay_seconds',
  help: 'The longest delay of the event loop in the last 10 seconds or somewhat more.',
  labels: [],
} as const

const BUILD = {
  kind: 'gauge',
  name: 'b2b_build_info',
  help: 'Always 1: the version that runs.',
  labels: ['version'],
} as const

/** What is told of the process itself. A runtime that can't tell something leaves it out. */
export function addProcessMetrics(metrics: Metrics, version: string): void {
  metrics.atScrape(CPU_SECONDS, () => {
    const { user, system } = process.cpuUsage()
    return [{ labels: [], value: (user + system) / 1e6 }]
  })
  metrics.atScrape(RESIDENT_BYTES, () => [{ labels: [], value: process.memoryUsage.rss() }])
  metrics.atScrape(BUILD, () => [{ labels: [version], value: 1 }])
  const longestDelay = watchEventLoop()
  if (longestDelay) metrics.atScrape(LOOP_DELAY, () => [{ labels: [], value: longestDelay() }])
}

const RESOLUTION_MS = 20
const WINDOW_MS = 10_000

/**
 * Watches the event loop from now on. Two windows overlap, so that several Prometheus servers that scrape at different
 * moments see each delay.
 * @returns the longest delay lately, in seconds; undefined where the runtime can't tell
 */
function watchEventLoop(): (() => number) | undefined {
  const histogram = openHistogram()
  if (histogram === undefined) return undefined
  let [before, began] = [0, performance.now()]
  return () => {
    // The histogram has the times between two looks. What exceeds the pause between them is the loop's delay.
    const longest = Math.max(0, histogram.max / 1e6 - RESOLUTION_MS) / 1_000
    const told = Math.max(before, longest)
    if (performance.now() - began >= WINDOW_MS) {
      ;[before, began] = [longest, performance.now()]
      histogram.reset()
    }
    return told
  }
}

function openHistogram(): ReturnType<typeof monitorEventLoopDelay> | undefined {
  try {
    const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
    histogram.enable()
    return histogram
  } catch {
    return undefined
  }
}

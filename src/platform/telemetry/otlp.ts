import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, type SpanExporter, type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import packageJson from '../../../package.json' with { type: 'json' }
import { type CountLost, createLossReport } from './export-losses.ts'
import type { Logger } from './logger.ts'
import { tracerOf } from './recorded-spans.ts'
import type { Tracing } from './spans.ts'
import type { TracesConfig } from './traces-config.ts'

// Loaded only where traces are recorded, see open-tracing.ts. Bundles have it in a file of its own.

/** Spans that wait to be sent. More are dropped: a collector that is away costs this much memory and no time. */
const MAX_WAITING = 2_048
/** Small, because a batch is written as JSON in one turn of the event loop. */
const MAX_SENT_AT_ONCE = 256
const SENT_EVERY_MS = 2_000
const MAX_SENDING_MS = 10_000
/** As many commands as a batch may hold: each has a link. */
const MAX_LINKS = 256

/** Records spans, and sends them to an OTLP collector in the background. It registers nothing globally. */
export function createTracing({ endpoint, headers, ratio }: TracesConfig, logger: Logger): Tracing {
  const { version } = packageJson
  const url = `${endpoint.replace(/\/+$/, '')}/v1/traces`
  const outlet = createOutlet(
    new OTLPTraceExporter({ url, headers, timeoutMillis: MAX_SENDING_MS }),
    createLossReport(logger),
  )
  return {
    tracerOf(service) {
      const attributes = { 'service.name': service, 'service.namespace': 'b2b-orders', 'service.version': version }
      const provider = new TracerProvider({
        resource: resourceFromAttributes(attributes),
        spanProcessors: [outlet.processor],
        spanLimits: { linkCountLimit: MAX_LINKS },
      })
      return tracerOf(provider.getTracer('b2b-orders', version), service, ratio)
    },
    flush: (maxMs) => outlet.flush(maxMs),
    async close(maxMs) {
      await atMost(maxMs, outlet.processor.shutdown())
      outlet.countUnsent()
    },
  }
}

/** The bounded queue before the collector, which counts what it drops. */
function createOutlet(exporter: SpanExporter, countLost: CountLost) {
  let [waiting, sending] = [0, 0]
  /** Whether the collector took too long the last time, or refused. Then nobody waits for it. */
  let isAway = false
  const counted: SpanExporter = {
    export(spans, done) {
      waiting -= spans.length
      sending += spans.length
      exporter.export(spans, (result) => {
        sending -= spans.length
        isAway = result.code !== SUCCESS
        if (isAway) countLost(spans.length, result.error)
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
  }
  const batches = new BatchSpanProcessor({
    exporter: counted,
    maxQueueSize: MAX_WAITING,
    maxExportBatchSize: MAX_SENT_AT_ONCE,
    scheduledDelayMillis: SENT_EVERY_MS,
  })
  const processor: SpanProcessor = {
    onStart() {},
    onEnd(span) {
      if (waiting >= MAX_WAITING) return countLost(1)
      waiting++
      batches.onEnd(span)
    },
    forceFlush: () => batches.forceFlush(),
    shutdown: () => batches.shutdown(),
  }
  return {
    processor,
    async flush(maxMs: number) {
      const flushing = batches.forceFlush().then(() => exporter.forceFlush?.())
      if (!(await atMost(isAway ? 0 : maxMs, flushing))) isAway = true
    },
    countUnsent() {
      if (waiting + sending > 0) countLost(waiting + sending)
    },
  }
}

/** `ExportResultCode.SUCCESS` of the SDK. */
const SUCCESS = 0

/** Waits for work, but no longer than this. What it fails with has been counted. @returns whether it ended in time */
async function atMost(ms: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false)
  })
  const ended = work.then(
    () => true,
    () => true,
  )
  const inTime = await Promise.race([ended, late])
  clearTimeout(timer)
  return inTime
}

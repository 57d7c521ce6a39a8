import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import packageJson from '../../../package.json' with { type: 'json' }
import { createLossReport } from './export-losses.ts'
import type { Logger } from './logger.ts'
import { tracerOf } from './recorded-spans.ts'
import { createSpanQueue } from './span-queue.ts'
import type { Tracing } from './spans.ts'
import type { TracesConfig } from './traces-config.ts'

// Loaded only where traces are recorded, see open-tracing.ts. Bundles have it in a file of its own.

const MAX_SENDING_MS = 10_000

/** Records spans, and sends them to an OTLP collector in the background. It registers nothing globally. */
export function createTracing({ endpoint, headers, ratio }: TracesConfig, logger: Logger): Tracing {
  const url = `${endpoint.replace(/\/+$/, '')}/v1/traces`
  const countLost = createLossReport(logger)
  const exporter = new OTLPTraceExporter({ url, headers, timeoutMillis: MAX_SENDING_MS })
  const queue = createSpanQueue(exporter, createResources(), countLost)
  return {
    tracerOf: (service) => tracerOf(service, ratio, queue.add),
    async flush(maxMs) {
      if (!(await atMost(queue.isAway() ? 0 : maxMs, queue.flush()))) queue.assumeAway()
    },
    async close(maxMs) {
      await atMost(maxMs, queue.flush())
      if (queue.size() > 0) countLost(queue.size())
    },
  }
}

/** What the spans of a service have in common. */
function createResources() {
  const resources = new Map<string, ReturnType<typeof resourceFromAttributes>>()
  return (service: string) => {
    const known = resources.get(service)
    if (known) return known
    const { version } = packageJson
    const attributes = { 'service.name': service, 'service.namespace': 'b2b-orders', 'service.version': version }
    const resource = resourceFromAttributes(attributes)
    resources.set(service, resource)
    return resource
  }
}

/** Waits for work, but no longer than this. @returns whether it ended in time */
async function atMost(ms: number, work: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false)
  })
  const inTime = await Promise.race([work.then(() => true), late])
  clearTimeout(timer)
  return inTime
}

import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { tracerOf } from '../src/platform/telemetry/recorded-spans.ts'

/** A tracer whose spans stay in memory. @param ratio the share of traces without a caller that are recorded */
export function recordedTracer(ratio = 1) {
  const exporter = new InMemorySpanExporter()
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] })
  return { tracer: tracerOf(provider.getTracer('tests'), 'tests', ratio), ended: () => exporter.getFinishedSpans() }
}

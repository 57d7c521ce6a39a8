import type { Logger } from './logger.ts'
import type { Tracing } from './spans.ts'
import type { TracesConfig } from './traces-config.ts'

/**
 * Starts to record traces, if a collector is configured. Otherwise nothing is loaded. A program whose packages or bundles
 * lack the exporter runs without traces: they are never a reason not to serve.
 */
export async function openTracing(config: TracesConfig | undefined, logger: Logger): Promise<Tracing | undefined> {
  if (config === undefined) return undefined
  try {
    const { createTracing } = await import('./otlp.ts')
    return createTracing(config, logger)
  } catch (err) {
    logger.warn({ event: 'traces_unavailable', err }, 'no traces are recorded: their exporter can not be loaded')
    return undefined
  }
}

import type { TracesConfig } from './traces-config.ts'
import type { Logger } from './logger.ts'
import type { Tracing } from './spans.ts'

/**
 * Starts to record traces, if a collector is configured. Otherwise nothing is loaded. A program whose packages or bundles
 * lack the exporter runs without traces: they are never a reason not to serve.
 */
export async function openTracing(
  config: TracesConfig | undefined,
  program: { version: string; logger: Logger },
): Promise<Tracing | undefined> {
  if (config === undefined) return undefined
  const { logger } = program
  try {
    const { createTracing } = await import('./otlp.ts')
    return createTracing(config, program)
  } catch (err) {
    logger.warn({ event: 'traces_unavailable', err }, 'no traces are recorded: their exporter can not be loaded')
    return undefined
  }
}

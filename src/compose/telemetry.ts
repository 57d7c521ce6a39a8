import packageJson from '../../package.json' with { type: 'json' }
import { createMetricsApp, type MetricsSource, withMetrics } from '../platform/http/metrics-page.ts'
import { createRefusalCount } from '../platform/http/refusal-log.ts'
import { type Serving, serve } from '../platform/http/server.ts'
import type { Logger } from '../platform/telemetry/logger.ts'
import { NO_TELEMETRY, type Telemetry } from '../platform/telemetry/telemetry.ts'
import type { Env } from './env.ts'

/** A process and what is seen of it. */
export interface Watched {
  telemetry: Telemetry
  source: MetricsSource | undefined
}

/**
 * Opens the telemetry of a process. Libraries are loaded only for what is on.
 * @param open whether metrics are on, and need no token, where the environment says nothing about them
 */
export async function openTelemetry({ metrics: { tokens, port } }: Env, { open = false } = {}): Promise<Watched> {
  if (tokens.length === 0 && port === undefined && !open) return { telemetry: NO_TELEMETRY, source: undefined }
  const { createExporter, CONTENT_TYPES } = await import('../platform/telemetry/prometheus.ts')
  const { addProcessMetrics } = await import('../platform/telemetry/process-metrics.ts')
  const { metrics, expose } = createExporter()
  addProcessMetrics(metrics, packageJson.version)
  return { telemetry: { metrics }, source: { tokens, expose, contentTypes: CONTENT_TYPES } }
}

type App = Parameters<typeof serve>[0]

/** Serves an app, and its metrics on the same port unless they have a port of their own. */
export function serveWatched(
  app: App,
  port: number,
  env: Env,
  logger: Logger,
  { telemetry, source }: Watched,
): Promise<Serving> {
  const isHere = source !== undefined && env.metrics.port === undefined
  const all = isHere ? withMetrics(app, source, createRefusalCount(telemetry, logger)) : app
  return serve(all, port, env.serving, logger, telemetry)
}

/** Serves the metrics of the process on the port of their own, where they have one. */
export async function serveMetrics(env: Env, logger: Logger, { telemetry, source }: Watched): Promise<Serving[]> {
  if (source === undefined || env.metrics.port === undefined) return []
  const app = createMetricsApp(source, createRefusalCount(telemetry, logger))
  return [await serve(app, env.metrics.port, env.serving, logger, telemetry)]
}

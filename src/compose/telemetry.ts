import packageJson from '../../package.json' with { type: 'json' }
import { createMetricsApp, type MetricsSource, withMetrics } from '../platform/http/metrics-page.ts'
import { createRefusalCount } from '../platform/http/refusal-log.ts'
import { type Serving, serve } from '../platform/http/server.ts'
import type { Logger } from '../platform/telemetry/logger.ts'
import { openTracing } from '../platform/telemetry/open-tracing.ts'
import type { Tracing } from '../platform/telemetry/spans.ts'
import { NO_TELEMETRY, type Telemetry } from '../platform/telemetry/telemetry.ts'
import type { Env } from './env.ts'
import { stopGracefully, urlOf } from './process.ts'
import type { ServiceName } from './signposts.ts'

/** A process and what is seen of it. */
export interface Watched {
  telemetry: Telemetry
  source: MetricsSource | undefined
  tracing: Tracing | undefined
}

/** How long a stop waits for the collector of traces. */
const MAX_LAST_SPANS_MS = 2_000

/**
 * Opens the telemetry of a process. Libraries are loaded only for what is on.
 * @param open whether metrics are on, and need no token, where the environment says nothing about them
 */
export async function openTelemetry(env: Env, logger: Logger, { open = false } = {}): Promise<Watched> {
  const tracing = await openTracing(env.traces, logger)
  return { ...(await openMetrics(env, open)), tracing }
}

async function openMetrics({ metrics: { tokens, port } }: Env, open: boolean): Promise<Omit<Watched, 'tracing'>> {
  if (tokens.length === 0 && port === undefined && !open) return { telemetry: NO_TELEMETRY, source: undefined }
  const { createExporter, CONTENT_TYPES } = await import('../platform/telemetry/prometheus.ts')
  const { addProcessMetrics } = await import('../platform/telemetry/process-metrics.ts')
  const { metrics, expose } = createExporter()
  addProcessMetrics(metrics, packageJson.version)
  return { telemetry: { metrics }, source: { tokens, expose, contentTypes: CONTENT_TYPES } }
}

/** The telemetry of one service of the process: its spans have its name. */
export function telemetryOf({ telemetry, tracing }: Watched, service: ServiceName): Telemetry {
  return tracing === undefined ? telemetry : { ...telemetry, tracer: tracing.tracerOf(service) }
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

/** What a program made on its way to serve. */
interface Program {
  env: Env
  logger: Logger
  lifecycle: { draining: boolean }
  watched: Watched
}

/**
 * Lets a signal stop a program: first what it serves, then the rest, and at last what watches it.
 * @returns the port of the metrics, where they have one of their own
 */
export async function stopOnSignal(
  { env, logger, lifecycle, watched }: Program,
  servings: readonly Serving[],
  closeRest: () => Promise<void>,
): Promise<number | undefined> {
  const metrics = await serveMetrics(env, logger, watched)
  const close = async () => {
    await closeRest()
    await watched.tracing?.close(MAX_LAST_SPANS_MS)
  }
  stopGracefully(lifecycle, metrics ? [...servings, metrics] : servings, close, logger)
  return metrics?.port
}

/** {@link stopOnSignal} for a program that is one service. It says where it listens. */
export async function runAlone(program: Program, serving: Serving, closeRest = async () => {}): Promise<void> {
  const metrics = await stopOnSignal(program, [serving], closeRest)
  const { env, logger } = program
  const { port } = serving
  const docs = `${urlOf(env, port)}/docs`
  logger.info({ event: 'listening', host: env.serving.host, port, docs, metrics }, 'listening')
}

/** Serves the metrics of the process on the port of their own, where they have one. */
async function serveMetrics(env: Env, logger: Logger, { telemetry, source }: Watched): Promise<Serving | undefined> {
  if (source === undefined || env.metrics.port === undefined) return undefined
  const app = createMetricsApp(source, createRefusalCount(telemetry, logger))
  return serve(app, env.metrics.port, env.serving, logger, telemetry)
}

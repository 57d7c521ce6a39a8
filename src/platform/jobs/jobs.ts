import type { Logger } from '../telemetry/logger.ts'
import { secondsSince } from '../telemetry/metrics.ts'
import { JOB_SECONDS } from '../telemetry/series.ts'
import { NO_TELEMETRY, type Telemetry } from '../telemetry/telemetry.ts'

/** Work that a process does again and again, beside its requests. */
export interface Job {
  name: string
  /** The pause between the end of a run and the next one. */
  everySeconds: number
  /** Calls `wake` whenever there is something to do: the next run then comes at once. @returns ends that */
  wakeUp?(wake: () => void): () => void
  /** Another process may run the same job at the same time. @throws an error that is logged; the next run goes on */
  run(context: JobContext): Promise<void>
}

export interface JobContext {
  logger: Logger
  /** Aborted when the process stops. Long work may then end early: the stop waits for it. */
  signal: AbortSignal
}

/**
 * Runs each job now, and then again and again. Runs of one job never overlap; different jobs do not wait for each other.
 * @returns stops all jobs, and resolves when the runs in flight have ended
 */
export function startJobs(
  jobs: readonly Job[],
  logger: Logger,
  telemetry: Telemetry = NO_TELEMETRY,
): () => Promise<void> {
  const controller = new AbortController()
  const context = { logger, signal: controller.signal }
  const running = jobs.map((job) => startJob(job, context, telemetry))
  return async () => {
    controller.abort()
    await Promise.all(running.map((ended) => ended()))
  }
}

/** The pause before a run that was woken: what comes meanwhile is done together. */
const WOKEN_PAUSE_MS = 200

/** @returns resolves when the run in flight has ended; after the signal is aborted, no other follows */
function startJob(job: Job, context: JobContext, { metrics }: Telemetry): () => Promise<void> {
  const { logger, signal } = context
  let timer: NodeJS.Timeout | undefined
  let inFlight = Promise.resolve()
  let state: 'running' | 'pausing' | 'woken' = 'running'
  let wokenInRun = false

  async function runOnce(): Promise<void> {
    state = 'running'
    wokenInRun = false
    const start = performance.now()
    try {
      await job.run(context)
      metrics.histogram(JOB_SECONDS, job.name, 'ok')(secondsSince(start))
    } catch (err) {
      metrics.histogram(JOB_SECONDS, job.name, 'failed')(secondsSince(start))
      logger.error({ err }, `the ${job.name} failed; the next one will go on`)
    }
    state = 'pausing'
    if (wokenInRun) wake()
    else schedule(job.everySeconds * 1_000)
  }

  function schedule(ms: number): void {
    clearTimeout(timer)
    if (!signal.aborted) timer = setTimeout(begin, ms)
  }

  function wake(): void {
    if (state === 'running') wokenInRun = true
    if (state !== 'pausing') return
    state = 'woken'
    schedule(WOKEN_PAUSE_MS)
  }

  function begin(): void {
    inFlight = runOnce()
  }

  const sleepOn = job.wakeUp?.(wake)
  signal.addEventListener('abort', () => {
    sleepOn?.()
    clearTimeout(timer)
  })
  begin()
  return () => inFlight
}

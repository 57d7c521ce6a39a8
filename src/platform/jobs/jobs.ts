import type { Logger } from '../telemetry/logger.ts'

/** Work that a process does again and again, beside its requests. */
export interface Job {
  name: string
  /** The pause between the end of a run and the next one. */
  everySeconds: number
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
export function startJobs(jobs: readonly Job[], logger: Logger): () => Promise<void> {
  const controller = new AbortController()
  const context = { logger, signal: controller.signal }
  const running = jobs.map((job) => startJob(job, context))
  return async () => {
    controller.abort()
    await Promise.all(running.map((ended) => ended()))
  }
}

/** @returns resolves when the run in flight has ended; after the signal is aborted, no other follows */
function startJob(job: Job, context: JobContext): () => Promise<void> {
  const { logger, signal } = context
  let timer: NodeJS.Timeout | undefined
  let inFlight = Promise.resolve()

  async function runOnce(): Promise<void> {
    try {
      await job.run(context)
    } catch (err) {
      logger.error({ err }, `the ${job.name} failed; the next one will go on`)
    }
    if (!signal.aborted) timer = setTimeout(begin, job.everySeconds * 1_000)
  }

  function begin(): void {
    inFlight = runOnce()
  }

  signal.addEventListener('abort', () => clearTimeout(timer))
  begin()
  return () => inFlight
}

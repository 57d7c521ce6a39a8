import { type Logger, pino } from 'pino'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { type Job, startJobs } from './jobs.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A job whose runs end when the test says so, and what was logged meanwhile. */
function fixture(name = 'sweep', everySeconds = 10) {
  const runs: PromiseWithResolvers<void>[] = []
  const signals: AbortSignal[] = []
  const logged: { msg: string }[] = []
  const job: Job = {
    name,
    everySeconds,
    run({ signal }) {
      const run = Promise.withResolvers<void>()
      runs.push(run)
      signals.push(signal)
      return run.promise
    },
  }
  const logger = pino({ base: {} }, { write: (line: string) => logged.push(JSON.parse(line)) })
  return { job, runs, signals, logged, logger }
}

it('when jobs are started, then each runs at once, and again a pause after its run has ended', async () => {
  const { job, runs, logger } = fixture()
  const other = fixture('count', 1)
  startJobs([job, other.job], logger)
  expect([runs.length, other.runs.length]).toEqual([1, 1])
  await vi.advanceTimersByTimeAsync(60_000)
  expect([runs.length, other.runs.length]).toEqual([1, 1])
  runs[0]?.resolve()
  await vi.advanceTimersByTimeAsync(9_999)
  expect(runs.length).toBe(1)
  await vi.advanceTimersByTimeAsync(1)
  expect([runs.length, other.runs.length]).toEqual([2, 1])
})

it('when a run fails, then the log says so and the next run follows', async () => {
  const { job, runs, logged, logger } = fixture()
  startJobs([job], logger)
  runs[0]?.reject(new Error('away'))
  await vi.advanceTimersByTimeAsync(10_000)
  expect(runs.length).toBe(2)
  expect(logged).toMatchObject([
    { level: 50, msg: 'the sweep failed; the next one will go on', err: { message: 'away' } },
  ])
})

it('when jobs are stopped between runs, then no run follows', async () => {
  const { job, runs, logger } = fixture()
  const stop = startJobs([job], logger)
  runs[0]?.resolve()
  await vi.advanceTimersByTimeAsync(5_000)
  await stop()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(runs.length).toBe(1)
})

it('when jobs are stopped during a run, then it is told, the stop waits for it, and no run follows', async () => {
  const { job, runs, signals, logger } = fixture()
  const stop = startJobs([job], logger)
  let stopped = false
  const stopping = stop().then(() => {
    stopped = true
  })
  await vi.advanceTimersByTimeAsync(60_000)
  expect([stopped, signals[0]?.aborted]).toEqual([false, true])
  runs[0]?.resolve()
  await stopping
  await vi.advanceTimersByTimeAsync(60_000)
  expect(runs.length).toBe(1)
})

/** Starts a job. @returns what wakes it */
function startWakeable(job: Job, logger: Logger): (() => void)[] {
  const wakers: (() => void)[] = []
  const wakeUp = (wake: () => void) => {
    wakers.push(wake)
    return () => {}
  }
  startJobs([{ ...job, wakeUp }], logger)
  return wakers
}

it('when a job is woken in its pause, then it runs soon, once for all that woke it', async () => {
  const { job, runs, logger } = fixture()
  const wakers = startWakeable(job, logger)
  runs[0]?.resolve()
  await vi.advanceTimersByTimeAsync(1_000)
  wakers[0]?.()
  await vi.advanceTimersByTimeAsync(120)
  wakers[0]?.()
  await vi.advanceTimersByTimeAsync(120)
  expect(runs.length).toBe(2)
})

it('when a job is woken while it runs, then another run follows it soon', async () => {
  const { job, runs, logger } = fixture()
  const wakers = startWakeable(job, logger)
  wakers[0]?.()
  runs[0]?.resolve()
  await vi.advanceTimersByTimeAsync(200)
  expect(runs.length).toBe(2)
  runs[1]?.resolve()
  await vi.advanceTimersByTimeAsync(9_999)
  expect(runs.length).toBe(2)
})

it('when jobs are stopped, then nothing wakes them', async () => {
  const { job, runs, logger } = fixture()
  const woken: string[] = []
  const stop = startJobs([{ ...job, wakeUp: () => () => void woken.push('no more') }], logger)
  runs[0]?.resolve()
  await stop()
  expect(woken).toEqual(['no more'])
})

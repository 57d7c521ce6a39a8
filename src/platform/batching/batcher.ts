import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { AppError, isRefusal, PLATFORM_ERRORS } from '../core/errors.ts'
import { RowsLocked } from '../database/errors.ts'
import { endFailed } from '../telemetry/failed-span.ts'
import { secondsSince } from '../telemetry/metrics.ts'
import {
  BATCH_QUEUE_LENGTH,
  BATCH_SECONDS,
  BATCH_SIZE,
  BATCH_SPLITS,
  BATCH_WAIT_SECONDS,
  REQUESTS_REJECTED,
} from '../telemetry/series.ts'
import type { Span } from '../telemetry/spans.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { Trace } from '../telemetry/trace.ts'
import { endingSpan, startBatch, startCommand } from './batch-spans.ts'
import { deliver, type Waiting } from './delivery.ts'
import { createFairQueue } from './fair-queue.ts'
import type { LockMemory } from './lock-memory.ts'

/** How a run treats rows that other transactions have locked. */
export interface RunMode {
  /** The run's own; undefined where it is not recorded. */
  span?: Span | undefined
  /** True: it waits for them for a short time. False: it sets the commands that need them aside at once. */
  waitsForLocks: boolean
}

/** The result of a command that was not done, because other transactions have locked these rows. */
export class SetAside {
  readonly rows: readonly string[]

  constructor(rows: readonly string[]) {
    this.rows = rows
  }
}

/**
 * Does many commands in one transaction and returns their results in the same order. An {@link AppError} refuses one
 * command and leaves the others alone. A run that throws must have undone everything.
 * @throws RowsLocked when a row was still locked after the wait, or a lock came up that the mode cannot foresee
 */
export type BatchRun<C, R> = (commands: readonly C[], mode: RunMode) => Promise<readonly (R | AppError | SetAside)[]>

export interface BatcherOptions<C> {
  /** Names the batcher among others. */
  name: string
  telemetry: Telemetry
  /** How many commands one run may take. */
  maxCommands: number
  /** How much the commands of one run may weigh together. */
  maxWeight: number
  weightOf(command: C): number
  /**
   * How many commands may wait, and half as many of one share. More are refused with `overloaded`: an unbounded queue only
   * hides the wait.
   */
  maxQueued: number
  /** Whom a command is for. Runs take the shares in turn, so that a flood makes only its own sender wait. */
  shareOf(command: C): string
  /** The names of all rows that a command needs; undefined when only its run can tell. */
  rowsOf(command: C): readonly string[] | undefined
  /** The locks that other transactions are known to hold. Batchers that need the same rows share one memory. */
  locks: LockMemory
  /** How long a command may wait for rows that others have locked, in ms. */
  lockWaitMs: number
}

interface Queued<C, R> extends Waiting<R> {
  command: C
  /** Undefined where the caller's trace is not recorded. */
  span: Span | undefined
  /** When it came, by `performance.now()`. */
  since: number
  /** How long it may wait for a lock, by `performance.now()`. */
  deadline: number
}

/**
 * Does the commands of many callers in one transaction. Commands that arrive during a run wait, and the next run takes them
 * all. There is no timer: a lone command starts at once. A run that fails as a whole is split and tried again, so that one
 * command's fault reaches only its own caller.
 *
 * A run that meets a lock which does not end in time is repeated without waiting. Commands that need the locked rows are then
 * set aside: they are tried again beside the other runs, and refused with {@link RowsLocked} when their time has passed. A
 * lock that is held for long delays only the commands that need it.
 */
export function createBatcher<C, R>(
  run: BatchRun<C, R>,
  options: BatcherOptions<C>,
): (command: C, trace?: Trace) => Promise<R> {
  const { maxCommands, maxWeight, weightOf, maxQueued, shareOf, rowsOf, locks, lockWaitMs } = options
  const { name, telemetry } = options
  const { tracer } = telemetry
  const meter = createMeter(options, () => queue.size + setAside.length)
  const queue = createFairQueue<Queued<C, R>>({
    maxItems: maxCommands,
    maxWeight,
    weightOf: ({ command }) => weightOf(command),
  })
  let running = false
  let setAside: Queued<C, R>[] = []
  let retrying = false

  async function drain(): Promise<void> {
    while (queue.size > 0) {
      // Give the event loop one turn, so that commands which have arrived join this run. SQLite's transactions never yield:
      // without this, each command would get a transaction of its own.
      await nextTurn()
      const batch = queue.take()
      // In the order of their arrival, so that the first has waited longest. One value for each command would cost more.
      if (batch[0]) meter.waited(secondsSince(batch[0].since))
      await meter.timed(batch.length, () => runBatch(batch, { waitsForLocks: !mayMeetKnownLock(batch) }))
    }
    running = false
  }

  async function runBatch(batch: readonly Queued<C, R>[], mode: RunMode): Promise<void> {
    const span = startBatch(tracer, name, batch)
    try {
      const commands = batch.map(({ command }) => command)
      const results = await run(commands, { ...mode, span })
      span?.end()
      for (const [i, queued] of batch.entries()) settle(queued, results[i])
    } catch (error) {
      if (span) endFailed(span, error)
      if (error instanceof RowsLocked && mode.waitsForLocks) await runBatch(batch, { waitsForLocks: false })
      else await split(batch, error, mode)
    }
  }

  /** An outage of the database is not split: it is no single command's fault, and each half would only wait again. */
  async function split(batch: readonly Queued<C, R>[], error: unknown, mode: RunMode): Promise<void> {
    const isOutage = isRefusal(error, PLATFORM_ERRORS.unavailable)
    if (isOutage || batch.length < 2) {
      for (const { reject } of batch) reject(error)
      return
    }
    meter.split()
    const half = Math.ceil(batch.length / 2)
    await runBatch(batch.slice(0, half), mode)
    await runBatch(batch.slice(half), mode)
  }

  function settle(queued: Queued<C, R>, result: R | AppError | SetAside | undefined): void {
    if (result instanceof SetAside) {
      locks.remember(result.rows)
      putAside(queued)
      return
    }
    locks.forget(rowsOf(queued.command) ?? [])
    deliver(queued, result)
  }

  /** Commands whose rows are not known yet may need locked ones: while locks are known, a run of them does not wait. */
  function mayMeetKnownLock(batch: readonly Queued<C, R>[]): boolean {
    return locks.isAnyKnown() && batch.some(({ command }) => rowsOf(command) === undefined)
  }

  function putAside(queued: Queued<C, R>): void {
    setAside.push(queued)
    if (retrying) return
    retrying = true
    retrySetAside()
  }

  async function retrySetAside(): Promise<void> {
    while (setAside.length > 0) {
      await sleep(RETRY_MS * (1 + Math.random()))
      const now = performance.now()
      const [late, inTime] = partition(setAside, ({ deadline }) => deadline <= now)
      for (const { reject } of late) reject(new RowsLocked())
      setAside = inTime.slice(maxCommands)
      const batch = inTime.slice(0, maxCommands)
      if (batch.length > 0) await meter.timed(batch.length, () => runBatch(batch, { waitsForLocks: false }))
    }
    retrying = false
  }

  return (command, trace) =>
    new Promise<R>((resolve, reject) => {
      const share = shareOf(command)
      const waiting = queue.size + setAside.length
      if (waiting >= maxQueued || queue.sizeOf(share) >= Math.ceil(maxQueued / 2)) {
        meter.rejected()
        reject(overloaded())
        return
      }
      const since = performance.now()
      const span = startCommand(tracer, name, trace)
      const queued = { command, span, since, deadline: since + lockWaitMs, ...endingSpan({ resolve, reject }, span) }
      if (locks.isAnyKnown() && rowsOf(command)?.some((row) => locks.isKnown(row))) return putAside(queued)
      queue.add(share, queued)
      if (running) return
      running = true
      drain()
    })
}

/** What is told of a batcher's runs. A run that is split, or repeated without waiting for locks, is one run. */
function createMeter(
  { name, telemetry: { metrics } }: Pick<BatcherOptions<never>, 'name' | 'telemetry'>,
  size: () => number,
) {
  const [sizes, seconds] = [metrics.histogram(BATCH_SIZE, name), metrics.histogram(BATCH_SECONDS, name)]
  metrics.atScrape(BATCH_QUEUE_LENGTH, () => [{ labels: [name], value: size() }])
  return {
    waited: metrics.histogram(BATCH_WAIT_SECONDS, name),
    split: metrics.counter(BATCH_SPLITS, name),
    rejected: metrics.counter(REQUESTS_REJECTED, 'queue'),
    async timed(commands: number, run: () => Promise<void>): Promise<void> {
      const start = performance.now()
      sizes(commands)
      await run()
      seconds(secondsSince(start))
    },
  }
}

/** The pause before a command that was set aside is tried again: between once and twice this long. */
const RETRY_MS = 20

function partition<T>(items: readonly T[], matches: (item: T) => boolean): [T[], T[]] {
  return [items.filter(matches), items.filter((item) => !matches(item))]
}

function overloaded(): AppError {
  const detail = 'Too many requests are waiting. Try again soon.'
  return new AppError(PLATFORM_ERRORS.overloaded, detail, { retry_after: 1 })
}

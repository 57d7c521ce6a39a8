import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../core/errors.ts'
import { RowsLocked } from '../database/errors.ts'
import { createFairQueue } from './fair-queue.ts'

/** How a run treats rows that other transactions have locked. */
export interface RunMode {
  /** True: it waits for them for a short time. False: it sets aside the commands that need them, at once. */
  waitsForLocks: boolean
}

/** The result of a command that was not done because other transactions have locked these rows. */
export class SetAside {
  readonly rows: readonly string[]

  constructor(rows: readonly string[]) {
    this.rows = rows
  }
}

/**
 * Does many commands in one transaction and gives each its result, in their order; an {@link AppError} is the refusal
 * of that command alone. It must undo everything when it throws.
 * @throws RowsLocked when it waited for a lock in vain, or when a lock came between that no mode foresees
 */
export type BatchRun<C, R> = (commands: readonly C[], mode: RunMode) => Promise<readonly (R | AppError | SetAside)[]>

export interface BatcherOptions<C> {
  /** Commands that one run may take. */
  maxCommands: number
  /** What the commands of one run may weigh together. */
  maxWeight: number
  weightOf(command: C): number
  /**
   * Commands that may wait, half of them for one share. One more is refused with `overloaded`: a queue without a bound
   * only hides the wait.
   */
  maxQueued: number
  /** For whom a command is. Runs take the shares in turn, so that a flood makes its own sender wait. */
  shareOf(command: C): string
  /** The names of all rows that a command needs; undefined when they are known only once it has begun. */
  rowsOf(command: C): readonly string[] | undefined
  /** What is known of locks that others hold. Batchers that need the same rows share one. */
  locks: LockMemory
  /** How long a command may wait for rows that others have locked, in ms. */
  lockWaitMs: number
}

interface Queued<C, R> {
  command: C
  /** When it is too late to wait for a lock any longer, in ms of `performance.now()`. */
  deadline: number
  resolve: (result: R) => void
  reject: (error: unknown) => void
}

/**
 * Many callers, one transaction. While a run is under way, arriving commands wait; the next run takes them all. There is
 * no timer, so a lone caller waits for nobody. When a run fails as a whole, it is split and tried again, so that one
 * command's fault reaches only its own caller.
 *
 * A run that waits for a lock in vain is repeated without waiting, and what needs the locked rows is set aside: it is
 * tried again beside the other runs until its time has passed, and refused with {@link RowsLocked} then. So a lock that
 * somebody keeps holds up nobody but the commands that need it.
 */
export function createBatcher<C, R>(run: BatchRun<C, R>, options: BatcherOptions<C>): (command: C) => Promise<R> {
  const { maxCommands, maxWeight, weightOf, maxQueued, shareOf, rowsOf, locks, lockWaitMs } = options
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
      // One turn of the event loop, so that what has arrived already comes along. It matters most on SQLite, whose
      // transactions never give the loop a turn: without it every command would have a transaction of its own.
      await nextTurn()
      const batch = queue.take()
      await runBatch(batch, { waitsForLocks: !mayMeetKnownLock(batch) })
    }
    running = false
  }

  async function runBatch(batch: readonly Queued<C, R>[], mode: RunMode): Promise<void> {
    try {
      const results = await run(
        batch.map(({ command }) => command),
        mode,
      )
      for (const [i, queued] of batch.entries()) settle(queued, results[i])
    } catch (error) {
      if (error instanceof RowsLocked && mode.waitsForLocks) await runBatch(batch, { waitsForLocks: false })
      else await split(batch, error, mode)
    }
  }

  /** The database being away is nobody's own fault, and asking again for each half would only take longer. */
  async function split(batch: readonly Queued<C, R>[], error: unknown, mode: RunMode): Promise<void> {
    const isEveryones = error instanceof AppError && error.code === 'unavailable'
    if (isEveryones || batch.length < 2) {
      for (const { reject } of batch) reject(error)
      return
    }
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

  /** Rows that are known only later may be locked ones: a run of such commands does not wait while locks are known. */
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
      if (batch.length > 0) await runBatch(batch, { waitsForLocks: false })
    }
    retrying = false
  }

  return (command) =>
    new Promise<R>((resolve, reject) => {
      const share = shareOf(command)
      const waiting = queue.size + setAside.length
      if (waiting >= maxQueued || queue.sizeOf(share) >= Math.ceil(maxQueued / 2)) {
        reject(new AppError('overloaded', 'Too many requests are waiting. Try again soon.', { retry_after: 1 }))
        return
      }
      const queued = { command, deadline: performance.now() + lockWaitMs, resolve, reject }
      if (locks.isAnyKnown() && rowsOf(command)?.some((row) => locks.isKnown(row))) return putAside(queued)
      queue.add(share, queued)
      if (running) return
      running = true
      drain()
    })
}

/** How long a command that was set aside pauses before it is tried again, at least; at most twice as long. */
const RETRY_MS = 20

function partition<T>(items: readonly T[], matches: (item: T) => boolean): [T[], T[]] {
  return [items.filter(matches), items.filter((item) => !matches(item))]
}

/** The rows that other transactions were found to hold, for as long as that is likely still so. */
export interface LockMemory {
  remember(rows: readonly string[]): void
  /** They were free after all. */
  forget(rows: readonly string[]): void
  isKnown(row: string): boolean
  isAnyKnown(): boolean
}

const REMEMBERED_MS = 5_000

export function createLockMemory(now = () => performance.now()): LockMemory {
  const knownUntil = new Map<string, number>()
  const isKnown = (row: string) => {
    const until = knownUntil.get(row)
    if (until !== undefined && until <= now()) knownUntil.delete(row)
    return knownUntil.has(row)
  }
  return {
    remember(rows) {
      for (const row of rows) knownUntil.set(row, now() + REMEMBERED_MS)
    },
    forget(rows) {
      if (knownUntil.size > 0) for (const row of rows) knownUntil.delete(row)
    },
    isKnown,
    isAnyKnown: () => knownUntil.size > 0 && [...knownUntil.keys()].some(isKnown),
  }
}

interface Waiting<C, R> {
  command: C
  resolve: (result: R) => void
  reject: (error: unknown) => void
}

/**
 * Calls of one turn of the event loop, done as one. Unlike a batcher it keeps nobody waiting for a run that is under way:
 * for reads, and for calls to others, whose time is not ours. `run` answers each command in its place.
 */
export function createLoader<C, R>(
  run: (commands: readonly C[]) => Promise<readonly (R | AppError)[]>,
  most: number,
): (command: C) => Promise<R> {
  let gathered: Waiting<C, R>[] = []

  function runAll(): void {
    const all = gathered
    gathered = []
    for (let i = 0; i < all.length; i += most) runSome(all.slice(i, i + most))
  }

  async function runSome(some: Waiting<C, R>[]): Promise<void> {
    try {
      const results = await run(some.map(({ command }) => command))
      for (const [i, waiting] of some.entries()) deliver(waiting, results[i])
    } catch (error) {
      for (const { reject } of some) reject(error)
    }
  }

  return (command) =>
    new Promise<R>((resolve, reject) => {
      gathered.push({ command, resolve, reject })
      if (gathered.length === 1) setImmediate(runAll)
    })
}

function deliver<R>(
  { resolve, reject }: Pick<Waiting<unknown, R>, 'resolve' | 'reject'>,
  result: R | AppError | undefined,
): void {
  if (result === undefined) reject(new Error('a run left a command without a result'))
  else if (result instanceof AppError) reject(result)
  else resolve(result)
}

import { setImmediate as nextTurn } from 'node:timers/promises'
import { AppError } from './errors.ts'

export interface BatcherOptions {
  /** Commands one run may take. */
  most: number
  /** Commands that may wait. One more is refused with `overloaded`: a queue without a bound only hides the wait. */
  queue: number
}

interface Waiting<C, R> {
  command: C
  resolve: (result: R) => void
  reject: (error: unknown) => void
}

/**
 * Many callers, one transaction. While a run is under way, arriving commands wait; the next run takes them all. There is
 * no timer, so a lone caller waits for nobody. `run` answers each command in its place, an {@link AppError} being that
 * command's own refusal. When a run fails as a whole, it is split and tried again, so that one command's fault
 * reaches only its own caller; `run` must therefore undo everything when it throws.
 */
export function createBatcher<C, R>(
  run: (commands: readonly C[]) => Promise<readonly (R | AppError)[]>,
  options: BatcherOptions,
): (command: C) => Promise<R> {
  const queue: Waiting<C, R>[] = []
  let running = false

  async function runAll(batch: Waiting<C, R>[]): Promise<void> {
    try {
      settle(batch, await run(batch.map(({ command }) => command)))
    } catch (error) {
      const [only, second] = batch
      // The database being away is nobody's own fault, and asking again for each half would only take longer.
      const everyones = error instanceof AppError && error.code === 'unavailable'
      if (everyones || second === undefined) {
        for (const { reject } of only ? batch : []) reject(error)
        return
      }
      const half = Math.ceil(batch.length / 2)
      await runAll(batch.slice(0, half))
      await runAll(batch.slice(half))
    }
  }

  async function drain(): Promise<void> {
    while (queue.length > 0) {
      // One turn of the event loop, so that what has arrived already comes along. It matters most on SQLite, whose
      // transactions never give the loop a turn: without it every command would have a transaction of its own.
      await nextTurn()
      await runAll(queue.splice(0, options.most))
    }
    running = false
  }

  return (command) =>
    new Promise<R>((resolve, reject) => {
      if (queue.length >= options.queue) {
        reject(new AppError('overloaded', 'Too much work is waiting already. Try again shortly.', { retry_after: 1 }))
        return
      }
      queue.push({ command, resolve, reject })
      if (running) return
      running = true
      drain()
    })
}

/**
 * Calls of one turn of the event loop, done as one. Unlike a batcher it keeps nobody waiting for a run that is under way:
 * for reads, and for calls to others, whose time is not ours. `run` answers each command in its place.
 */
export function createGatherer<C, R>(
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
      settle(some, await run(some.map(({ command }) => command)))
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

function settle<C, R>(waiting: readonly Waiting<C, R>[], results: readonly (R | AppError)[]): void {
  waiting.forEach(({ resolve, reject }, i) => {
    const result = results[i]
    if (result === undefined) reject(new Error('a run left a command without a result'))
    else if (result instanceof AppError) reject(result)
    else resolve(result)
  })
}

import type { AppError } from '../core/errors.ts'
import { deliver, type Waiting } from './delivery.ts'

interface WaitingCommand<C, R> extends Waiting<R> {
  command: C
}

/**
 * Does all calls of one turn of the event loop as one. Unlike a batcher it lets several runs overlap, so no call waits for
 * another run: for reads, and for calls to other services, whose time we do not control.
 * @param run gives the results in the order of the commands
 * @param maxCommands how many commands one run may take
 */
export function createLoader<C, R>(
  run: (commands: readonly C[]) => Promise<readonly (R | AppError)[]>,
  maxCommands: number,
): (command: C) => Promise<R> {
  let gathered: WaitingCommand<C, R>[] = []

  function runAll(): void {
    const all = gathered
    gathered = []
    for (let i = 0; i < all.length; i += maxCommands) runSome(all.slice(i, i + maxCommands))
  }

  async function runSome(some: WaitingCommand<C, R>[]): Promise<void> {
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

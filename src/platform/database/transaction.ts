import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../core/errors.ts'
import { TRANSACTION_RETRIES } from '../telemetry/series.ts'
import { tellCommitted } from './commits.ts'
import {
  DatabaseUnavailable,
  isConflict,
  isConnectionLost,
  isDiskFull,
  isKeyTaken,
  isLockWaitEnded,
  isTimeout,
  isUnavailable,
  leadsToReader,
  RowsLocked,
} from './errors.ts'
import type { Slots } from './slots.ts'
import { type RetryReason, telemetryOf } from './telemetry.ts'
import type { Database } from './types.ts'
import { noteCommitted, noteDiskFull } from './write-probe.ts'

const MAX_ATTEMPTS = 8

/**
 * Runs work in one transaction. Starts again, after a short random wait, when the database undid it (deadlock, lost
 * connection) or another transaction wrote one of its idempotency keys first. Gives up when the database took too long
 * or another transaction kept a lock.
 *
 * Work must not reach outside the database. It may run again after it was committed, when the response of the commit was
 * lost: it must recognise what it did by its key or by the state that it finds.
 * @throws RowsLocked when another transaction kept a lock
 * @throws AppError `unavailable` when the database can't be reached, or when nobody can know whether it committed
 */
export async function transact<T>(db: Database, work: (trx: Database) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let cause: unknown
    try {
      const result = await db.transaction().execute(async (trx) => {
        try {
          return await work(trx)
        } catch (error) {
          cause = error
          throw error
        }
      })
      noteCommitted(db)
      tellCommitted(db)
      return result
    } catch (error) {
      // A rollback on a dead connection fails too. The error of the work says more.
      const failure = cause ?? error
      if (failure instanceof AppError) throw failure
      if (isLockWaitEnded(failure)) throw new RowsLocked({ cause: failure })
      const lost = isConnectionLost(failure)
      const late = isTimeout(failure)
      const refused = isConflict(failure) || leadsToReader(failure)
      const again = refused || lost || failure instanceof RestartTransaction || isKeyTaken(failure)
      if (again && !late && attempt < MAX_ATTEMPTS) {
        telemetryOf(db).metrics.counter(TRANSACTION_RETRIES, retryReasonOf(failure))()
        await sleep(Math.random() * 10 * 2 ** attempt)
      } else if (again || isUnavailable(failure)) {
        if (isDiskFull(failure)) noteDiskFull(db, failure)
        throw new DatabaseUnavailable('The database could not do this now. Try again.', { cause: failure })
      } else throw failure
    }
  }
}

function retryReasonOf(failure: unknown): RetryReason {
  if (leadsToReader(failure)) return 'read_only'
  if (isConflict(failure)) return 'conflict'
  if (isConnectionLost(failure)) return 'connection_lost'
  return isKeyTaken(failure) ? 'key_taken' : 'restart'
}

/** Thrown inside {@link transact} when another transaction won a race that only a fresh start can see. */
export class RestartTransaction extends Error {}

interface SingleCommandLimit {
  slots: Slots
  /** How long a command waits for a slot. */
  waitMs: number
}

const SINGLE_COMMAND_LIMITS = new WeakMap<Database, SingleCommandLimit>()

/** Bounds how many transactions of one command run at once: each may wait for a lock, and batches need connections too. */
export function limitSingleCommands(db: Database, limit: SingleCommandLimit): void {
  SINGLE_COMMAND_LIMITS.set(db, limit)
}

/**
 * Like {@link transact}, for the work of one command. Half of the pool is left to batches: without that bound, many
 * commands that wait for one locked row would keep all others from the database.
 */
export async function transactAlone<T>(db: Database, work: (trx: Database) => Promise<T>): Promise<T> {
  const limit = SINGLE_COMMAND_LIMITS.get(db)
  if (limit === undefined) return transact(db, work)
  const giveBack = await limit.slots.take(performance.now() + limit.waitMs).catch((cause) => {
    throw new DatabaseUnavailable('Too many single writes are waiting. Try again soon.', { cause })
  })
  return transact(db, work).finally(giveBack)
}

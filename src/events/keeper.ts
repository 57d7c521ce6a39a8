import { setImmediate as nextTurn } from 'node:timers/promises'
import { onCommit } from '../platform/database/commits.ts'
import type { Database } from '../platform/database/types.ts'
import { numberEvents } from '../platform/events/positions.ts'
import { deleteEvents } from '../platform/events/retention.ts'
import type { Job } from '../platform/jobs/jobs.ts'
import type { EventConfig } from './config.ts'

const EVERY_SECONDS = 5

/** Gives all events their positions. Any number of machines may do it. @param signal ends the work early */
export async function numberAll(db: Database, signal?: AbortSignal): Promise<void> {
  // SQLite's transactions never yield: without a turn between them, no order would get in until all are numbered.
  while (!signal?.aborted && !(await numberEvents(db))) await nextTurn()
}

/** {@link numberAll} as a job: woken by what this process commits, and every few seconds for what others do. */
export function feedJob(db: Database): Job {
  return {
    name: 'feed',
    everySeconds: EVERY_SECONDS,
    wakeUp: (wake) => onCommit(db, wake),
    run: ({ signal }) => numberAll(db, signal),
  }
}

/** Deletes the events that are older than is kept. @returns their number, where events are not kept for ever */
export async function sweepFeed(
  db: Database,
  { retentionDays }: EventConfig,
  signal?: AbortSignal,
): Promise<{ events?: number }> {
  return retentionDays === undefined ? {} : { events: await deleteEvents(db, retentionDays, signal) }
}

import { sql } from 'kysely'
import { addDays } from '../core/time.ts'
import { readClock } from '../database/clock.ts'
import { dialectOf } from '../database/dialect.ts'
import type { Database } from '../database/types.ts'

/** Few rows for each statement, so that its locks are short. */
const PAGE_SIZE = 500

/**
 * Deletes the events that are older than so many days, up to the first position that is not: the feed begins later, but it
 * gets no gap. Events without a position stay.
 * @returns their number
 */
export async function deleteEvents(db: Database, days: number, signal?: AbortSignal): Promise<number> {
  const before = addDays(await readClock(db), -days)
  let deleted = 0
  for (let isFull = true; isFull && !signal?.aborted; ) {
    const oldest = await findOldest(db)
    const kept = oldest.findIndex(({ occurred_at }) => occurred_at >= before)
    const old = kept === -1 ? oldest : oldest.slice(0, kept)
    if (old.length > 0) await deleteAll(db, old)
    deleted += old.length
    isFull = old.length === PAGE_SIZE
  }
  return deleted
}

interface OldEvent {
  id: number
  occurred_at: string
}

function findOldest(db: Database): Promise<OldEvent[]> {
  return db
    .selectFrom(sql<OldEvent>`events`.as<'e'>(sql`e ${dialectOf(db).forceIndex('events_position')}`))
    .select(['id', 'occurred_at'])
    .where(sql<boolean>`position is not null`)
    .orderBy(sql`position`)
    .limit(PAGE_SIZE)
    .execute()
}

async function deleteAll(db: Database, events: readonly OldEvent[]): Promise<void> {
  const ids = events.map(({ id }) => id)
  await db.deleteFrom('events').where('id', 'in', ids).execute()
}

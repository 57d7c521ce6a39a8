import { sql } from 'kysely'
import { addDays, type DbTime, laterOf } from '../core/time.ts'
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
    const oldest = await findOldest(db, PAGE_SIZE)
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
  position: number
  occurred_at: DbTime
}

function findOldest(db: Database, limit: number): Promise<OldEvent[]> {
  return db
    .selectFrom(sql<OldEvent>`events`.as<'e'>(sql`e ${dialectOf(db).forceIndex('events_position')}`))
    .select(['id', 'position', 'occurred_at'])
    .where(sql<boolean>`position is not null`)
    .orderBy(sql`position`)
    .limit(limit)
    .execute()
}

async function deleteAll(db: Database, events: readonly OldEvent[]): Promise<void> {
  const ids = events.map(({ id }) => id)
  await db.deleteFrom('events').where('id', 'in', ids).execute()
}

/** The time from which on the feed tells of every change, but for those that an older version made. */
export async function completeSince(db: Database): Promise<DbTime> {
  const { position, started_at } = await db
    .selectFrom('event_feed')
    .select(['position', 'started_at'])
    .where('id', '=', 1)
    .executeTakeFirstOrThrow()
  const [first] = await findOldest(db, 1)
  if (first === undefined) return position === 0 ? started_at : readClock(db)
  return first.position === 1 ? started_at : laterOf(started_at, first.occurred_at)
}

import { type Selectable, sql } from 'kysely'
import { addDays, addMinutes, type DbTime, laterOf } from '../core/time.ts'
import { readClock } from '../database/clock.ts'
import { dialectOf } from '../database/dialect.ts'
import type { Tables } from '../database/tables.ts'
import type { Database } from '../database/types.ts'

/** Few rows for each statement, so that its locks are short. */
const PAGE_SIZE = 500
/** Old events are deleted by their positions, which are not quite in the order of their times. */
const SPAN_MARGIN_MINUTES = 60

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
    .where(sql<boolean>`position > 0`)
    .orderBy(sql`position`)
    .limit(limit)
    .execute()
}

async function deleteAll(db: Database, events: readonly OldEvent[]): Promise<void> {
  const ids = events.map(({ id }) => id)
  await db.deleteFrom('events').where('id', 'in', ids).execute()
}

/** The times from which on the feed has the event of every change. */
export interface FeedSpan {
  /** Of what a backfill adds where an older version wrote no events. */
  since: DbTime
  /** Of all else. */
  sinceBackfill: DbTime
}

export async function readFeedSpan(db: Database): Promise<FeedSpan> {
  const feed = await db.selectFrom('event_feed').selectAll().where('id', '=', 1).executeTakeFirstOrThrow()
  const [first] = await findOldest(db, 1)
  const since = await completeSince(db, feed, first)
  return { since, sinceBackfill: laterOf(since, feed.backfilled_at ?? since) }
}

async function completeSince(
  db: Database,
  { position, started_at }: Selectable<Tables['event_feed']>,
  first: OldEvent | undefined,
): Promise<DbTime> {
  // Without any event nobody knows what was deleted.
  if (first === undefined) return position === 0 ? started_at : readClock(db)
  return first.position === 1 ? started_at : laterOf(started_at, addMinutes(first.occurred_at, SPAN_MARGIN_MINUTES))
}

/** Notes that a backfill is complete for what was done before a time. */
export async function noteBackfill(db: Database, at: DbTime): Promise<void> {
  await db.updateTable('event_feed').set({ backfilled_at: at }).where('id', '=', 1).execute()
}

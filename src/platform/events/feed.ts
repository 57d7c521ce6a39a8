import { type Selectable, sql } from 'kysely'
import { dialectOf } from '../database/dialect.ts'
import type { Tables } from '../database/tables.ts'
import type { Database } from '../database/types.ts'

export type EventRow = Selectable<Tables['events']>

/** An event that has its place in the feed. */
export type NumberedEvent = EventRow & { position: number }

/** Which events a reader wants. Absent: any. */
export interface EventFilter {
  types?: readonly string[] | undefined
  resource?: { type: string; id: number } | undefined
  /** Of the customers' own events, those of this customer alone. */
  boundTo?: number | undefined
  /** With `boundTo`: the types of resources whose events concern no customer, and that the reader may see. */
  shared?: readonly string[]
  /** With `boundTo`: the types of resources whose events the customer may see. */
  owned?: readonly string[]
}

/** How many positions one page looks at: a page stays cheap however few events of it match. */
const MAX_SCANNED = 5_000

export interface FeedPage {
  events: NumberedEvent[]
  /** The position up to which the feed was read: the next page begins after it. */
  end: number
  /** The last position that was given when the page was read. */
  last: number
}

/** A page of the feed, ascending. It may be short, or empty, although more events follow: then `end` is below `last`. */
export async function readFeed(
  db: Database,
  { after, limit, ...filter }: EventFilter & { after: number; limit: number },
): Promise<FeedPage> {
  const last = await lastPosition(db)
  const scanned = filter.resource ? last : Math.min(last, after + MAX_SCANNED)
  const events = await findEvents(db, { ...filter, after, upTo: scanned, limit })
  const isFull = events.length === limit
  return { events, end: isFull ? (events.at(-1)?.position ?? after) : Math.max(after, scanned), last }
}

/** The last position that was given; 0 when none was. All events up to it can be read. */
export async function lastPosition(db: Database): Promise<number> {
  const feed = await db.selectFrom('event_feed').select('position').where('id', '=', 1).executeTakeFirst()
  return feed?.position ?? 0
}

/** The position of the oldest event that is kept; undefined when there is none. */
export async function firstPosition(db: Database): Promise<number | undefined> {
  const { first } = await db
    .selectFrom('events')
    .select((eb) => eb.fn.min<number | null>('position').as('first'))
    .executeTakeFirstOrThrow()
  return first ?? undefined
}

function findEvents(
  db: Database,
  { types, resource, boundTo, shared = [], owned = [], after, upTo, limit }: EventFilter & Range,
): Promise<NumberedEvent[]> {
  const index = resource ? 'events_resource' : 'events_position'
  let query = db
    .selectFrom(sql<NumberedEvent>`events`.as<'e'>(sql`e ${dialectOf(db).forceIndex(index)}`))
    .selectAll()
    .where('position', '>', after)
    .where('position', '<=', upTo)
  if (types) query = query.where('type', 'in', types)
  if (resource) query = query.where('resource_type', '=', resource.type).where('resource_id', '=', resource.id)
  if (boundTo !== undefined) {
    query = query.where((eb) =>
      eb.or([
        eb('resource_type', 'in', shared),
        eb.and([eb('customer_id', '=', boundTo), eb('resource_type', 'in', owned)]),
      ]),
    )
  }
  return query.orderBy('position').limit(limit).execute()
}

interface Range {
  after: number
  upTo: number
  limit: number
}

import { type CompiledQuery, type Selectable, sql } from 'kysely'
import { dialectOf } from '../database/dialect.ts'
import { pipeline } from '../database/pipeline.ts'
import type { Tables } from '../database/tables.ts'
import type { Database } from '../database/types.ts'

export type EventRow = Selectable<Tables['events']>

export interface ResourceName {
  type: string
  id: number
}

/** Which events a reader wants. Absent: any. */
export interface EventFilter {
  types?: readonly string[] | undefined
  resource?: ResourceName | undefined
  /** Of the customers' own events, those of this customer alone. */
  boundTo?: number | undefined
  /** With `boundTo`: the types of resources whose events concern no customer, and that the reader may see. */
  shared?: readonly string[]
  /** With `boundTo`: the types of resources whose events the customer may see. */
  owned?: readonly string[]
}

/** How many positions one page looks at: a page stays cheap however few events of it match. */
const MAX_SCANNED = 5_000

/** The events of a resource with more than this are read as those of any filter, by their positions. */
const MAX_READ_BY_RESOURCE = 1_000

export interface FeedPage {
  events: EventRow[]
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
  const { resource } = filter
  const [[feed], [crowd]] = await pipeline(db, lastPositionQuery(db), resource && crowdQuery(db, resource))
  const last = feed?.position ?? 0
  const byResource = resource !== undefined && crowd === undefined
  const upTo = byResource ? last : Math.min(last, after + MAX_SCANNED)
  const events = await selectEvents(db, byResource ? BY_RESOURCE : BY_POSITION, filter)
    .where('position', '>', after)
    .where('position', '<=', upTo)
    .orderBy('position')
    .limit(limit)
    .execute()
  const isFull = events.length === limit
  return { events, end: isFull ? (events.at(-1)?.position ?? after) : Math.max(after, upTo), last }
}

/** The last event of a page of a history. */
export interface HistoryPlace {
  version: number
  type: string
}

/**
 * A page of the events of one resource, in the order of its versions. That is the order of positions too, but for events
 * that were added later, because the version that served before wrote none.
 */
export function readHistory(
  db: Database,
  { after, limit, ...filter }: EventFilter & { resource: ResourceName; after: HistoryPlace | undefined; limit: number },
): Promise<EventRow[]> {
  const { keysetAfter } = dialectOf(db)
  return selectEvents(db, BY_RESOURCE, filter)
    .where('position', '>', 0)
    .$if(after !== undefined, (query) =>
      query.where(keysetAfter(['resource_version', 'type'], '>', [after?.version ?? 0, after?.type ?? ''])),
    )
    .orderBy('resource_version')
    .orderBy('type')
    .limit(limit)
    .execute()
}

/** An event that a resource has. */
export type Recorded = Pick<EventRow, 'resource_id' | 'resource_version' | 'type'>

/** Which events some resources have, with a position or without. */
export function findRecorded(db: Database, type: string, ids: readonly number[]): Promise<Recorded[]> {
  if (ids.length === 0) return Promise.resolve([])
  return eventsByIndex(db, BY_RESOURCE)
    .select(['resource_id', 'resource_version', 'type'])
    .where('resource_type', '=', type)
    .where('resource_id', 'in', ids)
    .execute()
}

/** The last position that was given; 0 when none was. All events up to it can be read. */
export async function lastPosition(db: Database): Promise<number> {
  const [[feed]] = await pipeline(db, lastPositionQuery(db))
  return feed?.position ?? 0
}

function lastPositionQuery(db: Database): CompiledQuery<{ position: number }> {
  return db.selectFrom('event_feed').select('position').where('id', '=', 1).compile()
}

/** The position of the oldest event that is kept; undefined when there is none. */
export async function firstPosition(db: Database): Promise<number | undefined> {
  const { first } = await db
    .selectFrom('events')
    .select((eb) => eb.fn.min<number | null>('position').as('first'))
    .where('position', '>', 0)
    .executeTakeFirstOrThrow()
  return first ?? undefined
}

const BY_POSITION = 'events_position'
const BY_RESOURCE = 'events_resource'

function eventsByIndex(db: Database, index: string) {
  return db.selectFrom(sql<EventRow>`events`.as<'e'>(sql`e ${dialectOf(db).forceIndex(index)}`))
}

/** Finds a row if the resource has more events than are read by its index. */
function crowdQuery(db: Database, { type, id }: ResourceName): CompiledQuery<{ id: number }> {
  return eventsByIndex(db, BY_RESOURCE)
    .select('id')
    .where('resource_type', '=', type)
    .where('resource_id', '=', id)
    .limit(1)
    .offset(MAX_READ_BY_RESOURCE)
    .compile()
}

function selectEvents(db: Database, index: string, { types, resource, boundTo, shared = [], owned = [] }: EventFilter) {
  let query = eventsByIndex(db, index).selectAll()
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
  return query
}

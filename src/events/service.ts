import type { z } from 'zod'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { RowsLocked } from '../platform/database/errors.ts'
import type { Database } from '../platform/database/types.ts'
import {
  type FeedPage,
  firstPosition,
  lastPosition,
  type ResourceName,
  readFeed,
  readHistory,
} from '../platform/events/feed.ts'
import { hasUnnumbered, numberEvents } from '../platform/events/positions.ts'
import type { Caller } from '../platform/http/app.ts'
import { cutPage, encodeCursor, type Page, type PageRequest, readCursor } from '../platform/http/pagination.ts'
import { EventCursor, type EventPage, type EventQuery, HistoryCursor } from './contract.ts'
import { EVENT_ERRORS } from './errors.ts'
import { type DataReaders, type Event, presentEvents, visibleTo } from './event-response.ts'
import { typesOf } from './types.ts'

export type EventsService = ReturnType<typeof createEventsService>

/** Rounds of numbering before a page is read. Each numbers more events than a page has. */
const MAX_ROUNDS = 4

/** The verbs of the feed. Domains write their events themselves, in their own transactions. */
export function createEventsService(db: Database, readers: DataReaders) {
  return {
    /** @throws AppError `validation_failed`, `cursor_expired` */
    async listEvents({ principal }: Caller, query: z.output<typeof EventQuery>): Promise<z.output<typeof EventPage>> {
      const filter = { ...visibleTo(principal), types: typesIn(query.types), resource: resourceIn(query.resource) }
      const given = query.after === 'latest' ? undefined : positionIn(query.after)
      const allNumbered = await numberFirst(db)
      const after = given ?? (await (query.after === 'latest' ? lastPosition(db) : startOf(db)))
      const page = await readFeed(db, { ...filter, after, limit: query.limit })
      if (given !== undefined) await requireKept(db, given, page)
      const isRead = page.end >= page.last && (allNumbered || !(await hasUnnumbered(db)))
      return {
        data: await presentEvents(db, page.events, principal, readers),
        next_cursor: cursorOf(page),
        has_more: !isRead,
      }
    },

    /** The events of a resource that the caller may see, by its versions. @throws AppError `validation_failed` */
    async listHistory(
      { principal }: Caller,
      resource: ResourceName,
      { cursor, limit }: PageRequest,
    ): Promise<Page<Event>> {
      const [version, type] = readCursor('history', cursor, HistoryCursor) ?? []
      const after = version !== undefined && type !== undefined ? { version, type } : undefined
      await numberFirst(db)
      const events = await readHistory(db, { ...visibleTo(principal), resource, after, limit: limit + 1 })
      const page = cutPage('history', events, limit, ({ resource_version, type }) => [resource_version, type])
      return { ...page, data: await presentEvents(db, page.data, principal, readers) }
    },
  }
}

/**
 * So that an order whose 201 the caller holds is in the feed. When another process keeps the feed locked, the caller gets
 * what has its position, and reads on.
 * @returns whether all events have a position
 */
async function numberFirst(db: Database): Promise<boolean> {
  try {
    for (let round = 0; round < MAX_ROUNDS; round++) if (await numberEvents(db)) return true
  } catch (error) {
    if (!(error instanceof RowsLocked)) throw error
  }
  return false
}

/** The position before the oldest event that is kept. */
async function startOf(db: Database): Promise<number> {
  const first = await firstPosition(db)
  return first === undefined ? lastPosition(db) : first - 1
}

/** The position in a cursor of the feed. @throws AppError `validation_failed` */
function positionIn(cursor: string | undefined): number | undefined {
  const [position] = readCursor('events', cursor, EventCursor, 'after') ?? []
  return position
}

/**
 * Called after the page is read: else events that are deleted meanwhile would be missed without a word. A position that the
 * feed has not reached comes from another database, or from before this one was restored.
 * @throws AppError `validation_failed`, `cursor_expired`
 */
async function requireKept(db: Database, position: number, { last }: FeedPage): Promise<void> {
  if (position > last) throw badQuery('after', `The feed ends before this cursor, at position ${last}`)
  const start = await startOf(db)
  if (position >= start) return
  const detail =
    'Events after this cursor are deleted. Read on from oldest_cursor, or compare with the lists of orders.'
  throw new AppError(EVENT_ERRORS.cursor_expired, detail, { oldest_cursor: encodeCursor(['events', start]) })
}

function cursorOf({ end }: FeedPage): string {
  return encodeCursor(['events', end])
}

function typesIn(text: string | undefined): string[] | undefined {
  return text === undefined ? undefined : typesOf(text.split(',').map((pattern) => pattern.trim()))
}

function resourceIn(text: string | undefined): ResourceName | undefined {
  if (text === undefined) return undefined
  const [type = '', id] = text.split(':')
  return { type, id: Number(id) }
}

function badQuery(path: string, message: string): AppError {
  return new AppError(PLATFORM_ERRORS.validation_failed, 'The query has an error.', { errors: [{ path, message }] })
}

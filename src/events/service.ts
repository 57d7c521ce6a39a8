import type { z } from 'zod'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import type { Database } from '../platform/database/types.ts'
import { type FeedPage, firstPosition, lastPosition, readFeed } from '../platform/events/feed.ts'
import { hasUnnumbered, numberEvents } from '../platform/events/positions.ts'
import type { Caller } from '../platform/http/app.ts'
import { cutPage, encodeCursor, type Page, type PageRequest, readCursor } from '../platform/http/pagination.ts'
import { EventCursor, type EventPage, type EventQuery, HistoryCursor } from './contract.ts'
import { EVENT_ERRORS } from './errors.ts'
import { type DataReaders, type Event, presentEvents, visibleTo } from './event-response.ts'
import { EVENT_PATTERNS, typesOf } from './types.ts'

export type EventsService = ReturnType<typeof createEventsService>

/** Rounds of numbering before a page is read. Each numbers more events than a page has. */
const MAX_ROUNDS = 4

/** The verbs of the feed. Domains write their events themselves, in their own transactions. */
export function createEventsService(db: Database, readers: DataReaders) {
  return {
    /** @throws AppError `validation_failed`, `cursor_expired` */
    async listEvents({ principal }: Caller, query: z.output<typeof EventQuery>): Promise<z.output<typeof EventPage>> {
      const filter = { ...visibleTo(principal), types: typesIn(query.types), resource: resourceIn(query.resource) }
      const allNumbered = await numberFirst(db)
      const after = await startOf(db, query.after)
      const page = await readFeed(db, { ...filter, after, limit: query.limit })
      const isRead = page.end >= page.last && (allNumbered || !(await hasUnnumbered(db)))
      return {
        data: await presentEvents(db, page.events, principal, readers),
        next_cursor: cursorOf(page),
        has_more: !isRead,
      }
    },

    /** The events of a resource that the caller may see, oldest first. @throws AppError `validation_failed` */
    async listHistory(
      { principal }: Caller,
      resource: { type: string; id: number },
      { cursor, limit }: PageRequest,
    ): Promise<Page<Event>> {
      const [after = 0] = readCursor('history', cursor, HistoryCursor) ?? []
      await numberFirst(db)
      const { events } = await readFeed(db, { ...visibleTo(principal), resource, after, limit: limit + 1 })
      const page = cutPage('history', events, limit, ({ position }) => [position])
      return { ...page, data: await presentEvents(db, page.data, principal, readers) }
    },
  }
}

/** So that an order whose 201 the caller holds is in the feed. @returns whether all events have a position */
async function numberFirst(db: Database): Promise<boolean> {
  for (let round = 0; round < MAX_ROUNDS; round++) if (await numberEvents(db)) return true
  return false
}

/** The position after which a page begins. @throws AppError `validation_failed`, `cursor_expired` */
async function startOf(db: Database, after: string | undefined): Promise<number> {
  if (after === 'latest') return lastPosition(db)
  const first = await firstPosition(db)
  const oldest = first === undefined ? await lastPosition(db) : first - 1
  if (after === undefined) return oldest
  const [position = 0] = readCursor('events', after, EventCursor, 'after') ?? []
  if (position >= oldest) return position
  const detail =
    'Events after this cursor are deleted. Read on from oldest_cursor, or compare with the lists of orders.'
  throw new AppError(EVENT_ERRORS.cursor_expired, detail, { oldest_cursor: encodeCursor(['events', oldest]) })
}

function cursorOf({ end }: FeedPage): string {
  return encodeCursor(['events', end])
}

/** @throws AppError `validation_failed` for a type that no event has: a misspelled filter must not wait for ever */
function typesIn(text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined
  const patterns = text.split(',').map((pattern) => pattern.trim())
  const unknown = patterns.filter((pattern) => !EVENT_PATTERNS.includes(pattern))
  if (unknown.length === 0) return typesOf(patterns)
  const errors = [{ path: 'types', message: `Unknown: ${unknown.join(', ')}. Known are ${EVENT_PATTERNS.join(', ')}` }]
  throw new AppError(PLATFORM_ERRORS.validation_failed, 'The query has an error.', { errors })
}

function resourceIn(text: string | undefined): { type: string; id: number } | undefined {
  if (text === undefined) return undefined
  const [type = '', id] = text.split(':')
  return { type, id: Number(id) }
}

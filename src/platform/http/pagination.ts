import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { tokenize } from '../database/tokenize.ts'
import type { Found, SearchCursor } from '../database/word-index.ts'
import { emptyIsAbsent, Id, text } from './contract.ts'
import { z } from './schema.ts'

export const PageQuery = z.strictObject({
  limit: z
    .string()
    .regex(/^(100|[1-9]\d?)$/, 'Must be an integer from 1 to 100')
    .transform(Number)
    .default(20)
    .openapi({ type: 'integer', format: 'int32', minimum: 1, maximum: 100, default: 20 }),
  cursor: emptyIsAbsent(z.string().max(500)).openapi({
    description: '`next_cursor` of the page before. Empty: the first page.',
    example: '',
  }),
})

export const SearchQuery = PageQuery.extend({
  search: emptyIsAbsent(text(200)).openapi({
    description:
      'Beginnings of words, such as `acm`, in any order. Case and accents do not matter, and `o` finds ø. Empty: all ' +
      'rows. A page searches a limited number of rows, so it may have fewer than `limit`, or none, and still a ' +
      '`next_cursor`.',
  }),
})

const NextCursor = z.string().nullable().meta({
  description:
    'The cursor of the next page; null on the last page. Only this tells whether more rows follow, not their number.',
})

export function pageOf<T extends z.ZodType>(row: T) {
  return z.object({ data: z.array(row), next_cursor: NextCursor })
}

export const NextLink = {
  Link: {
    description: 'The next page, if there is one: `rel="next"` (RFC 8288)',
    schema: { type: 'string' as const },
  },
}

export interface PageRequest {
  search?: string | undefined
  cursor?: string | undefined
  limit: number
}

export interface Page<T> {
  data: T[]
  next_cursor: string | null
}

/**
 * One page of a keyset list. The caller reads one row more than the limit: that row shows whether a next page exists.
 * @param list the list's name, so that a cursor of another list is refused
 * @param keyOf the row's position in the list's order
 * @param end the last position that was searched, when rows may follow although the page is not full
 */
export function cutPage<T>(
  list: string,
  rows: T[],
  limit: number,
  keyOf: (row: T) => (string | number)[],
  end?: (string | number)[],
): Page<T> {
  const data = rows.slice(0, limit)
  const last = data.at(-1)
  const place = rows.length > limit && last !== undefined ? keyOf(last) : end
  return { data, next_cursor: place ? encodeCursor([list, ...place]) : null }
}

/** The opaque form of a position in a list. `values` begins with the list's name. */
export function encodeCursor(values: (string | number)[]): string {
  const bytes = new TextEncoder().encode(JSON.stringify(values))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

/**
 * The position in a cursor, as its list's key; undefined without a cursor.
 * @param parameter the query parameter that has the cursor
 * @throws AppError `validation_failed` for a cursor that this list did not make
 */
export function readCursor<T extends z.ZodTuple>(
  list: string,
  cursor: string | undefined,
  key: T,
  parameter = 'cursor',
): z.output<T> | undefined {
  if (cursor === undefined) return undefined
  try {
    const text = atob(cursor.replaceAll('-', '+').replaceAll('_', '/'))
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0))
    const [name, ...values] = z
      .array(z.unknown())
      .parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
    if (name !== list) throw new Error('a cursor of another list')
    return key.parse(values)
  } catch (cause) {
    const errors = [{ path: parameter, message: 'Not a cursor of this list' }]
    throw new AppError(PLATFORM_ERRORS.validation_failed, 'The query has an error.', { errors }, { cause })
  }
}

/** The `Link` header (RFC 8288). It is relative to the request, so that it is right behind a gateway's prefix. */
export function nextLink(requestUrl: string, page: Page<unknown>): Record<string, string> {
  if (page.next_cursor === null) return {}
  const query = new URL(requestUrl).searchParams
  query.set('cursor', page.next_cursor)
  return { link: `<?${query}>; rel="next"` }
}

/** Each word of a search is one condition of the query. Words past this limit are ignored. */
const MAX_WORDS = 60

const ById = z.tuple([Id])
const ByWord = z.tuple([z.string().max(64), Id])

/**
 * A page of a list in the order of ids, or, with a search, of the matched words. Each order has its own cursors.
 * @throws AppError `validation_failed` for a cursor that this list did not make
 */
export async function searchablePage<Row extends { id: number }>(
  list: string,
  { search, cursor, limit }: PageRequest,
  byId: (after: number | undefined, limit: number) => Promise<Row[]>,
  byWord: (words: string[], after: SearchCursor | undefined, limit: number) => Promise<Found<Row>>,
): Promise<Page<Row>> {
  if (!search?.trim()) {
    const [after] = readCursor(list, cursor, ById) ?? []
    return cutPage(list, await byId(after, limit + 1), limit, (row) => [row.id])
  }
  const place = readCursor(`${list}.search`, cursor, ByWord)
  const after = place && { word: place[0], id: place[1] }
  const { rows, end } = await byWord(tokenize(search).slice(0, MAX_WORDS), after, limit + 1)
  return cutPage(`${list}.search`, rows, limit, (row) => [row.matched_word, row.id], end && [end.word, end.id])
}

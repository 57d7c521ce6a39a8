import { type RawBuilder, sql } from 'kysely'
import { dialectOf } from './dialect.ts'
import type { Database } from './types.ts'

/**
 * Each searchable table, the table of its words, and the index there that has the words of one row in order; see
 * `words.ts` for what a word is.
 */
const WORD_TABLES = {
  customers: { words: 'customer_words', owner: 'customer_id', byOwner: 'customer_words_customer' },
  products: { words: 'product_words', owner: 'product_id', byOwner: 'product_words_product' },
} as const

export type Searchable = keyof typeof WORD_TABLES

/** A place in the order of search results: the word that matched, then the id. */
export interface SearchCursor {
  word: string
  id: number
}

export interface WordSearch {
  /** Beginnings of words, as `tokenize` gives them. */
  beginnings: string[]
  after?: SearchCursor | undefined
  limit: number
  /** The one row that may be found. */
  only?: number | undefined
}

const AFTER_EVERY_CHARACTER = '\u{10FFFF}'

/** Called in the transaction that writes the row itself. */
export async function insertWords(db: Database, table: Searchable, id: number, words: string[]): Promise<void> {
  if (words.length === 0) return
  const names = WORD_TABLES[table]
  const values = sql.join(words.map((word) => sql`(${word}, ${id})`))
  await sql`insert into ${sql.table(names.words)} (word, ${sql.ref(names.owner)}) values ${values}`.execute(db)
}

export interface Found<Row> {
  rows: (Row & { matched_word: string })[]
  /** The last place that was looked at, unless no row can follow. Fewer rows than the limit don't mean the end. */
  end: SearchCursor | undefined
}

/** Index seeks of a page at most. Each row that a page looks at costs one seek for each beginning. */
const MAX_SEEKS = 4_000
/** Most rows are hits, so the first look takes in few more than the page holds. Each further look takes in far more. */
const FIRST_LOOK = 1.1
const GROWTH = 8

/**
 * Rows that have, for each of the given beginnings, a word that begins so. They come in the order of the words that one
 * of the beginnings matches, which is the order of the index: nothing is sorted but the page, and a page costs the same
 * at any depth. A row with several matching words appears once, at the first of them. A page looks at a bounded number
 * of index rows: common words that never meet would have it read the whole index.
 */
export async function searchWords<Row>(db: Database, table: Searchable, search: WordSearch): Promise<Found<Row>> {
  const beginnings = longestFirst(search.beginnings)
  const leading = await leadingOf(db, table, beginnings, search)
  if (leading === undefined) return { rows: [], end: undefined }
  const { limit, only } = search
  const rows: Found<Row>['rows'] = []
  let end = search.after
  let rest = Math.ceil(MAX_SEEKS / beginnings.length)
  for (let size = Math.ceil(FIRST_LOOK * limit); ; size *= GROWTH) {
    const window = { beginning: leading, after: end, only, size: Math.min(size, rest) }
    const found = await lookAt<Row>(db, table, beginnings, window, limit - rows.length)
    rows.push(...found.rows)
    end = found.end
    rest -= window.size
    if (rows.length === limit || end === undefined || rest === 0) return { rows, end }
  }
}

/** The next `size` index rows after a place whose words begin alike. */
interface Window {
  beginning: string
  after?: SearchCursor | undefined
  only?: number | undefined
  size: number
}

/** The rows of a window that have all beginnings, and the window's last place if the window is full. */
async function lookAt<Row>(
  db: Database,
  table: Searchable,
  beginnings: readonly string[],
  window: Window,
  limit: number,
): Promise<Found<Row>> {
  const { rowsOf, lastOf, alsoHas, isFirst } = sqlOf(db, table)
  const conditions = [...alsoHas(beginnings, window.beginning), isFirst(window.beginning)]
  const { rows } = await sql<Row & { id: number; matched_word: string; hit: number }>`
    select t.*, page.word as matched_word, page.hit
    from (
      select * from (
        select looked.word, looked.id, 1 as hit
        from (${rowsOf(window)}) looked
        where ${sql.join(conditions, sql` and `)}
        order by looked.word, looked.id
        limit ${sql.lit(limit)}
      ) found
      union all
      select looked.word, looked.id, 0 as hit from (${lastOf(window)}) looked
    ) page
    join ${sql.table(table)} t on t.id = page.id
    order by page.word, page.id`.execute(db)
  const last = rows.find(({ hit }) => hit === 0)
  return { rows: rows.filter(({ hit }) => hit === 1), end: last && { word: last.matched_word, id: last.id } }
}

/** Without those that are the beginning of another: a word that begins like the other one begins like them too. */
function longestFirst(beginnings: readonly string[]): string[] {
  return beginnings
    .filter((one) => !beginnings.some((other) => other !== one && other.startsWith(one)))
    .sort((a, b) => b.length - a.length)
}

const TRIED = 5
const SAMPLE = 20

/**
 * The beginning whose words are gone through: of the longest ones that whose first words belong most often to rows that
 * have the others too, so that few are looked at in vain. Later pages keep to it: no word begins with two of them.
 */
async function leadingOf(
  db: Database,
  table: Searchable,
  beginnings: readonly string[],
  { after, only }: WordSearch,
): Promise<string | undefined> {
  const [longest] = beginnings
  if (beginnings.length < 2 || only !== undefined) return longest
  if (after) return beginnings.find((beginning) => after.word.startsWith(beginning)) ?? longest
  const { rowsOf, alsoHas } = sqlOf(db, table)
  const tried = beginnings.slice(0, TRIED)
  const samples = tried.map(
    (beginning, place) => sql`
      select ${sql.lit(place)} as place, count(*) as looked,
        count(case when ${sql.join(alsoHas(tried, beginning), sql` and `)} then 1 end) as hits
      from (${rowsOf({ beginning, size: SAMPLE })}) looked`,
  )
  const { rows } = await sql<{ place: number; looked: number; hits: number }>`
    ${sql.join(samples, sql` union all `)}`.execute(db)
  // One with fewer words than the sample can't be bettered but by one with fewer yet.
  const worth = ({ looked, hits }: { looked: number; hits: number }) => (looked < SAMPLE ? 2 * SAMPLE - looked : hits)
  const [best] = rows.sort((a, b) => worth(b) - worth(a) || a.place - b.place)
  return beginnings[best?.place ?? 0]
}

/** The parts of SQL that speak of one table of words. */
function sqlOf(db: Database, table: Searchable) {
  const names = WORD_TABLES[table]
  const dialect = dialectOf(db)
  const words = sql.table(names.words)
  const owner = sql.ref(`w.${names.owner}`)
  const byOwner = dialect.forceIndex(names.byOwner)

  function rowsIn({ beginning, after, only }: Window): RawBuilder<unknown> {
    // Of two lower bounds SQLite seeks by the first and steps up to the second: only the higher one is told.
    const goesOn = after?.word.startsWith(beginning) ?? false
    const bounds = [
      ...(goesOn ? [] : [sql`w.word >= ${beginning}`]),
      sql`w.word < ${beginning + AFTER_EVERY_CHARACTER}`,
      ...(after ? [dialect.keysetAfter(['w.word', `w.${names.owner}`], '>', [after.word, after.id])] : []),
      ...(only === undefined ? [] : [sql`${owner} = ${only}`]),
    ]
    return sql`
      select w.word, ${owner} as id
      from ${words} w ${only === undefined ? dialect.byPrimaryKey : byOwner}
      where ${sql.join(bounds, sql` and `)}
      order by w.word, ${owner}`
  }

  const firstWordFrom = (beginning: string) => sql`(
    select o.word from ${words} o ${byOwner}
    where ${sql.ref(`o.${names.owner}`)} = looked.id and o.word >= ${beginning} order by o.word limit 1
  )`
  return {
    rowsOf: (window: Window) => sql`${rowsIn(window)} limit ${sql.lit(window.size)}`,
    lastOf: (window: Window) => sql`${rowsIn(window)} limit 1 offset ${sql.lit(window.size - 1)}`,
    isFirst: (beginning: string) => sql`looked.word = ${firstWordFrom(beginning)}`,
    // Not `exists`: of dozens of those MySQL makes one join, and looks for its best order for minutes.
    alsoHas: (beginnings: readonly string[], but: string) =>
      beginnings
        .filter((beginning) => beginning !== but)
        .map((one) => sql`${firstWordFrom(one)} < ${one + AFTER_EVERY_CHARACTER}`),
  }
}

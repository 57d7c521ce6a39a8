import { type RawBuilder, sql } from 'kysely'
import { dialectOf } from './dialect.ts'
import type { Tables } from './tables.ts'
import type { Database } from './types.ts'

/** A searchable table and the table of its words; see `tokenize.ts` for what a word is. */
export interface WordIndex {
  table: keyof Tables
  words: keyof Tables
  /** The column of `words` that names the row. */
  owner: string
  /** The index of `words` that has the words of one row in order. */
  byOwner: string
}

/** A position in the order of search results: the word that matched, then the id. */
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
export async function insertWords(db: Database, index: WordIndex, id: number, words: string[]): Promise<void> {
  if (words.length === 0) return
  const values = sql.join(words.map((word) => sql`(${word}, ${id})`))
  await sql`insert into ${sql.table(index.words)} (word, ${sql.ref(index.owner)}) values ${values}`.execute(db)
}

/** Called in the transaction that rewrites or deletes the row itself. */
export async function deleteWords(db: Database, index: WordIndex, id: number): Promise<void> {
  await sql`delete from ${sql.table(index.words)} where ${sql.ref(index.owner)} = ${id}`.execute(db)
}

export interface Found<Row> {
  rows: (Row & { matched_word: string })[]
  /** The last position that was looked at, unless no row can follow. Fewer rows than the limit don't mean the end. */
  end: SearchCursor | undefined
}

/** Bounds the index seeks of a page. Each row that a page looks at costs one seek for each beginning. */
const MAX_SEEKS = 4_000
/** Most rows are hits, so the first window is a little larger than the page. Each further window is far larger. */
const FIRST_WINDOW = 1.1
const GROWTH = 8

/**
 * Rows that have a matching word for each of the given beginnings, in the index order of the words that one of them
 * matches: only the page is sorted, and a page costs the same at any depth. A row with several matching words appears
 * once, at the first of them. A page looks at a bounded number of index rows: common words that never meet in one row
 * would make it read the whole index.
 */
export async function searchWords<Row>(db: Database, index: WordIndex, search: WordSearch): Promise<Found<Row>> {
  const beginnings = longestFirst(search.beginnings)
  const leading = await leadingOf(db, index, beginnings, search)
  if (leading === undefined) return { rows: [], end: undefined }
  const { limit, only } = search
  const rows: Found<Row>['rows'] = []
  let end = search.after
  let rest = Math.ceil(MAX_SEEKS / beginnings.length)
  for (let size = Math.ceil(FIRST_WINDOW * limit); ; size *= GROWTH) {
    const window = { beginning: leading, after: end, only, size: Math.min(size, rest) }
    const found = await lookAt<Row>(db, index, beginnings, window, limit - rows.length)
    rows.push(...found.rows)
    end = found.end
    rest -= window.size
    if (rows.length === limit || end === undefined || rest === 0) return { rows, end }
  }
}

/** The next `size` index rows whose words begin with `beginning`. */
interface Window {
  beginning: string
  after?: SearchCursor | undefined
  only?: number | undefined
  size: number
}

/** The rows of a window that match all beginnings, and the window's last position if the window is full. */
async function lookAt<Row>(
  db: Database,
  index: WordIndex,
  beginnings: readonly string[],
  window: Window,
  limit: number,
): Promise<Found<Row>> {
  const { rowsOf, lastOf, alsoHas, isFirst } = sqlOf(db, index)
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
    join ${sql.table(index.table)} t on t.id = page.id
    order by page.word, page.id`.execute(db)
  const last = rows.find(({ hit }) => hit === 0)
  return { rows: rows.filter(({ hit }) => hit === 1), end: last && { word: last.matched_word, id: last.id } }
}

/** Without those that another one begins with: a word that matches the longer one matches the shorter one too. */
function longestFirst(beginnings: readonly string[]): string[] {
  return beginnings
    .filter((one) => !beginnings.some((other) => other !== one && other.startsWith(one)))
    .sort((a, b) => b.length - a.length)
}

const MAX_TRIED = 5
const SAMPLE_SIZE = 20

/**
 * Chooses the beginning whose words are read: of the longest ones, the one with most hits in a sample of its first words, so
 * that few rows are read for nothing. Later pages keep to it: no word begins with two of them.
 */
async function leadingOf(
  db: Database,
  index: WordIndex,
  beginnings: readonly string[],
  { after, only }: WordSearch,
): Promise<string | undefined> {
  const [longest] = beginnings
  if (beginnings.length < 2 || only !== undefined) return longest
  if (after) return beginnings.find((beginning) => after.word.startsWith(beginning)) ?? longest
  const { rowsOf, alsoHas } = sqlOf(db, index)
  const tried = beginnings.slice(0, MAX_TRIED)
  const samples = tried.map(
    (beginning, slot) => sql`
      select ${sql.lit(slot)} as slot, count(*) as looked,
        count(case when ${sql.join(alsoHas(tried, beginning), sql` and `)} then 1 end) as hits
      from (${rowsOf({ beginning, size: SAMPLE_SIZE })}) looked`,
  )
  const { rows } = await sql<{ slot: number; looked: number; hits: number }>`
    ${sql.join(samples, sql` union all `)}`.execute(db)
  // Fewer words than the sample is best of all: then that many rows at most are read.
  const worth = ({ looked, hits }: { looked: number; hits: number }) =>
    looked < SAMPLE_SIZE ? 2 * SAMPLE_SIZE - looked : hits
  const [best] = rows.sort((a, b) => worth(b) - worth(a) || a.slot - b.slot)
  return beginnings[best?.slot ?? 0]
}

/** The parts of SQL that differ between tables of words. */
function sqlOf(db: Database, index: WordIndex) {
  const dialect = dialectOf(db)
  const words = sql.table(index.words)
  const owner = sql.ref(`w.${index.owner}`)
  const byOwner = dialect.forceIndex(index.byOwner)

  function rowsIn({ beginning, after, only }: Window): RawBuilder<unknown> {
    // Give SQLite only the tighter lower bound: with two it seeks by the first and scans to the second.
    const continues = after?.word.startsWith(beginning) ?? false
    const bounds = [
      ...(continues ? [] : [sql`w.word >= ${beginning}`]),
      sql`w.word < ${beginning + AFTER_EVERY_CHARACTER}`,
      ...(after ? [dialect.keysetAfter(['w.word', `w.${index.owner}`], '>', [after.word, after.id])] : []),
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
    where ${sql.ref(`o.${index.owner}`)} = looked.id and o.word >= ${beginning} order by o.word limit 1
  )`
  return {
    rowsOf: (window: Window) => sql`${rowsIn(window)} limit ${sql.lit(window.size)}`,
    lastOf: (window: Window) => sql`${rowsIn(window)} limit 1 offset ${sql.lit(window.size - 1)}`,
    isFirst: (beginning: string) => sql`looked.word = ${firstWordFrom(beginning)}`,
    // Not `exists`: MySQL turns dozens of them into one join, and searches for its best order for minutes.
    alsoHas: (beginnings: readonly string[], but: string) =>
      beginnings
        .filter((beginning) => beginning !== but)
        .map((one) => sql`${firstWordFrom(one)} < ${one + AFTER_EVERY_CHARACTER}`),
  }
}

import { type RawBuilder, sql } from 'kysely'
import type { Database } from './database.ts'
import { dialectOf } from './dialect.ts'

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
export interface SearchPlace {
  word: string
  id: number
}

export interface WordSearch {
  /** Beginnings of words, as `wordsOf` gives them. */
  beginnings: string[]
  after?: SearchPlace | undefined
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

/**
 * Rows that have, for each of the given beginnings, a word that begins so. They come in the order of the words that one
 * of the beginnings matches, which is the order of the index: nothing is sorted but the page, and a page costs the same
 * at any depth. A row with several matching words appears once, at the first of them.
 */
export async function searchWords<Row>(
  db: Database,
  table: Searchable,
  search: WordSearch,
): Promise<(Row & { matched_word: string })[]> {
  const beginnings = longestFirst(search.beginnings)
  const leading = await leadingOf(db, table, beginnings, search)
  if (leading === undefined) return []
  const { after, limit, only } = search
  const { words, owner, byOwner, byWord, past, alsoHas, isFirst } = sqlOf(db, table)
  // Of two lower bounds SQLite seeks by the first and steps up to the second: only the higher one is told.
  const goesOn = after?.word.startsWith(leading) ?? false
  const conditions = [
    ...(goesOn ? [] : [startOf(leading)]),
    endOf(leading),
    ...(after ? [past(after)] : []),
    ...(only === undefined ? [] : [sql`${owner} = ${only}`]),
    ...alsoHas(beginnings, leading),
    isFirst(leading),
  ]
  const { rows } = await sql<Row & { matched_word: string }>`
    select t.*, page.word as matched_word
    from (
      select w.word, ${owner} as id
      from ${words} w ${only === undefined ? byWord : byOwner}
      where ${sql.join(conditions, sql` and `)}
      order by w.word, ${owner}
      limit ${sql.lit(limit)}
    ) page
    join ${sql.table(table)} t on t.id = page.id
    order by page.word, page.id`.execute(db)
  return rows
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
  const { words, owner, byWord, alsoHas } = sqlOf(db, table)
  const tried = beginnings.slice(0, TRIED)
  const samples = tried.map(
    (beginning, place) => sql`
      select ${sql.lit(place)} as place, count(*) as looked, count(hit) as hits
      from (
        select case when ${sql.join(alsoHas(tried, beginning), sql` and `)} then 1 end as hit
        from ${words} w ${byWord}
        where ${startOf(beginning)} and ${endOf(beginning)}
        order by w.word, ${owner}
        limit ${sql.lit(SAMPLE)}
      ) page`,
  )
  const { rows } = await sql<{ place: number; looked: number; hits: number }>`
    ${sql.join(samples, sql` union all `)}`.execute(db)
  // One with fewer words than the sample can't be bettered but by one with fewer yet.
  const worth = ({ looked, hits }: { looked: number; hits: number }) => (looked < SAMPLE ? 2 * SAMPLE - looked : hits)
  const [best] = rows.sort((a, b) => worth(b) - worth(a) || a.place - b.place)
  return beginnings[best?.place ?? 0]
}

function startOf(beginning: string): RawBuilder<unknown> {
  return sql`w.word >= ${beginning}`
}

function endOf(beginning: string): RawBuilder<unknown> {
  return sql`w.word < ${beginning + AFTER_EVERY_CHARACTER}`
}

/** The parts of SQL that speak of a row `w` of one table of words. */
function sqlOf(db: Database, table: Searchable) {
  const names = WORD_TABLES[table]
  const dialect = dialectOf(db)
  const words = sql.table(names.words)
  const owner = sql.ref(`w.${names.owner}`)
  const byOwner = dialect.byIndex(names.byOwner)
  const firstWordFrom = (beginning: string) => sql`(
    select o.word from ${words} o ${byOwner}
    where ${sql.ref(`o.${names.owner}`)} = ${owner} and o.word >= ${beginning} order by o.word limit 1
  )`
  return {
    words,
    owner,
    byOwner,
    byWord: dialect.byPrimaryKey,
    past: ({ word, id }: SearchPlace) => dialect.past(['w.word', `w.${names.owner}`], '>', [word, id]),
    isFirst: (beginning: string) => sql`w.word = ${firstWordFrom(beginning)}`,
    // Not `exists`: of dozens of those MySQL makes one join, and looks for its best order for minutes.
    alsoHas: (beginnings: readonly string[], but: string) =>
      beginnings
        .filter((beginning) => beginning !== but)
        .map((one) => sql`${firstWordFrom(one)} < ${one + AFTER_EVERY_CHARACTER}`),
  }
}

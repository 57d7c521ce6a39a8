import { sql } from 'kysely'
import type { Database } from './database.ts'

/** Each searchable table and the table of its words; see `words.ts` for what a word is. */
const WORD_TABLES = {
  customers: { words: 'customer_words', owner: 'customer_id' },
  products: { words: 'product_words', owner: 'product_id' },
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
 * Rows that have, for each of the given beginnings, a word that begins so. They come in the order of the word that the
 * longest beginning matched, which is the order of the index: nothing is sorted, and a page costs the same at any depth.
 * A row with several matching words appears once, at the first of them.
 */
export async function searchWords<Row>(
  db: Database,
  table: Searchable,
  { beginnings, after, limit, only }: WordSearch,
): Promise<(Row & { matched_word: string })[]> {
  const [longest, ...others] = beginnings.toSorted((a, b) => b.length - a.length)
  if (longest === undefined) return []
  const names = WORD_TABLES[table]
  const words = sql.table(names.words)
  const owner = sql.ref(names.owner)
  const within = (alias: string, beginning: string) => {
    const word = sql.ref(`${alias}.word`)
    return sql`${word} >= ${beginning} and ${word} < ${beginning + AFTER_EVERY_CHARACTER}`
  }
  const from = after ? sql`and w.word >= ${after.word} and (w.word > ${after.word} or w.${owner} > ${after.id})` : sql``
  const among = only === undefined ? sql`` : sql`and w.${owner} = ${only}`
  // Not `exists`: of dozens of those MySQL makes one join, and looks for its best order for minutes.
  const alsoHas = others.map(
    (beginning) =>
      sql`and 1 = (select 1 from ${words} o where o.${owner} = w.${owner} and ${within('o', beginning)} limit 1)`,
  )
  const { rows } = await sql<Row & { matched_word: string }>`
    select t.*, w.word as matched_word
    from ${words} w join ${sql.table(table)} t on t.id = w.${owner}
    where ${within('w', longest)} ${from} ${among}
      and not exists (
        select 1 from ${words} e where e.${owner} = w.${owner} and e.word >= ${longest} and e.word < w.word
      )
      ${sql.join(alsoHas, sql` `)}
    order by w.word, w.${owner}
    limit ${sql.lit(limit)}`.execute(db)
  return rows
}

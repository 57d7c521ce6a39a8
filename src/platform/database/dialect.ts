import { CompiledQuery, type RawBuilder, type SqlBool, SqliteAdapter, sql } from 'kysely'
import type { DbTime } from '../core/time.ts'
import type { Database } from './types.ts'

export type Engine = 'mysql' | 'sqlite'

/** The differences between the two engines. Stores get them from {@link dialectOf} and are otherwise written once. */
export interface SqlDialect {
  engine: Engine
  /** The database's clock, UTC with milliseconds. */
  now: RawBuilder<DbTime>
  /** How far apart the ids are that the server generates; clusters set it to more than 1. */
  idStep: RawBuilder<number>
  /**
   * Written after a table's alias: read it by this index and no other. With a limit, planners of the MySQL family may choose
   * another index in the hope of early matches, and read every row that is newer than the page.
   */
  forceIndex(name: string): RawBuilder<unknown>
  /** Like {@link forceIndex}, for the primary key. */
  byPrimaryKey: RawBuilder<unknown>
  /**
   * Rows after a cursor in the order of two columns of an index: `>` reads forwards, `<` backwards. In the other engine's
   * form, each engine would scan to the cursor instead of seeking to it.
   */
  keysetAfter(
    columns: readonly [string, string],
    direction: '<' | '>',
    cursor: readonly [string | number, string | number],
  ): RawBuilder<SqlBool>
  /** The text of a string, or the number, at a path of a column that has JSON. Null where there is nothing, or no JSON. */
  jsonText(column: RawBuilder<unknown>, path: string): RawBuilder<string>
  /** Appended to a select that must lock its rows. On SQLite the transaction holds the write lock of the whole file. */
  forUpdate: RawBuilder<unknown>
  /** Like `forUpdate`, and fails at once where another transaction has locked a row. */
  forUpdateNoWait: RawBuilder<unknown>
  /**
   * The same select with a time limit on the server, which includes waiting for locks. SQLite's selects never wait for a
   * lock.
   */
  limitTime<R>(select: CompiledQuery<R>, ms: number): CompiledQuery<R>
  /** How many rows one insert may carry: SQLite takes 32,766 values a statement, MySQL a packet of 16 MiB or more. */
  rowsPerInsert(columns: number): number
  /** The ids of `count` rows that one insert made, in their order. */
  insertedIds(insertId: bigint | undefined, count: number, step: number): number[]
}

const mysql: SqlDialect = {
  engine: 'mysql',
  now: sql<DbTime>`utc_timestamp(3)`,
  idStep: sql<number>`@@session.auto_increment_increment`,
  forceIndex: (name) => sql`force index (${sql.ref(name)})`,
  byPrimaryKey: sql`force index (primary)`,
  keysetAfter: (columns, direction, [first, second]) => {
    const [a, b] = [sql.ref(columns[0]), sql.ref(columns[1])]
    const beyond = sql.raw(direction)
    return sql`(${a} ${beyond} ${first} or (${a} = ${first} and ${b} ${beyond} ${second}))`
  },
  jsonText: (column, path) =>
    sql`case when json_valid(${column}) then json_unquote(json_extract(${column}, ${sql.lit(path)})) end`,
  forUpdate: sql`for update`,
  forUpdateNoWait: sql`for update nowait`,
  limitTime: limitSelectTime,
  rowsPerInsert: () => 5_000,
  // MySQL reports the first id; the ids of one insert of known size are consecutive in every lock mode.
  insertedIds: (insertId, count, step) => Array.from({ length: count }, (_, i) => Number(insertId) + i * step),
}

const sqlite: SqlDialect = {
  engine: 'sqlite',
  now: sql<DbTime>`strftime('%Y-%m-%d %H:%M:%f', 'now')`,
  idStep: sql<number>`1`,
  forceIndex: (name) => sql`indexed by ${sql.ref(name)}`,
  // SQLite has no name for the primary key, and chooses it where no other index fits.
  byPrimaryKey: sql``,
  keysetAfter: (columns, direction, cursor) => {
    const [a, b] = [sql.ref(columns[0]), sql.ref(columns[1])]
    return sql`(${a}, ${b}) ${sql.raw(direction)} (${sql.join(cursor)})`
  },
  jsonText: (column, path) => sql`case when json_valid(${column}) then json_extract(${column}, ${sql.lit(path)}) end`,
  forUpdate: sql``,
  forUpdateNoWait: sql``,
  limitTime: (select) => select,
  rowsPerInsert: (columns) => Math.floor(32_000 / columns),
  // SQLite reports the last id; a write transaction is alone, so the ids are consecutive.
  insertedIds: (insertId, count) => Array.from({ length: count }, (_, i) => Number(insertId) - count + 1 + i),
}

/** MariaDB executes the first comment; MySQL and TiDB execute the second one. */
export function limitSelectTime<R>(select: CompiledQuery<R>, ms: number): CompiledQuery<R> {
  const head = `/*M!100100 set statement max_statement_time=${ms / 1_000} for */ select /*+ MAX_EXECUTION_TIME(${ms}) */`
  return CompiledQuery.raw(select.sql.replace(/^\s*select\b/i, head), [...select.parameters])
}

export function dialectOf(db: Database): SqlDialect {
  return db.getExecutor().adapter instanceof SqliteAdapter ? sqlite : mysql
}

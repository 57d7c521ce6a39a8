import { type Kysely, type RawBuilder, SqliteAdapter, sql } from 'kysely'
import type { Tables } from './tables.ts'
import type { DbTime } from './time.ts'
import { trusted } from './trusted.ts'

export type Engine = 'mysql' | 'sqlite'

/** All that differs between the two engines. Stores ask for it with {@link dialectOf} and are otherwise written once. */
export interface SqlDialect {
  engine: Engine
  /** The database's clock, UTC with milliseconds. */
  now: RawBuilder<DbTime>
  /** How far apart the ids are that the server generates; clusters set it to more than 1. */
  idStep: RawBuilder<number>
  /** Appended to a select that must lock its rows. SQLite's transactions hold the whole file's write lock already. */
  forUpdate: RawBuilder<unknown>
  /** How many rows one insert may carry: SQLite takes 32,766 values a statement, MySQL a packet of 16 MiB or more. */
  rowsPerInsert(columns: number): number
  /** The ids of `count` rows that one insert made, in their order. */
  insertedIds(insertId: bigint | undefined, count: number, step: number): number[]
}

const mysql: SqlDialect = {
  engine: 'mysql',
  now: sql<DbTime>`utc_timestamp(3)`,
  idStep: sql<number>`@@session.auto_increment_increment`,
  forUpdate: sql`for update`,
  rowsPerInsert: () => 5_000,
  // MySQL reports the first id; the ids of one insert of known size are consecutive in every lock mode.
  insertedIds: (insertId, count, step) => Array.from({ length: count }, (_, i) => Number(insertId) + i * step),
}

const sqlite: SqlDialect = {
  engine: 'sqlite',
  now: sql<DbTime>`strftime('%Y-%m-%d %H:%M:%f', 'now')`,
  idStep: sql<number>`1`,
  forUpdate: sql``,
  rowsPerInsert: (columns) => Math.floor(32_000 / columns),
  // SQLite reports the last id; a write transaction is alone, so the ids are consecutive.
  insertedIds: (insertId, count) => Array.from({ length: count }, (_, i) => Number(insertId) - count + 1 + i),
}

export function dialectOf(db: Kysely<Tables>): SqlDialect {
  return db.getExecutor().adapter instanceof SqliteAdapter ? sqlite : mysql
}

const LOST_CONNECTION = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_SEQUENCE_TIMEOUT',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ER_SERVER_SHUTDOWN',
  'ER_NORMAL_SHUTDOWN',
  'ER_CONNECTION_KILLED',
  'ER_CON_COUNT_ERROR',
  'ER_TOO_MANY_USER_CONNECTIONS',
])

/** 1205 lock wait timeout, 1213 deadlock, 1020 record changed (MariaDB snapshot), 8022, 8028 and 9007 TiDB's write conflicts. */
const ROLLED_BACK = new Set([1205, 1213, 1020, 8022, 8028, 9007])

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_CONSTRAINT_UNIQUE = 2067
const SQLITE_CONSTRAINT_PRIMARYKEY = 1555

interface DriverError {
  code?: string
  errno?: number
  errcode?: number
  fatal?: boolean
  message?: string
}

function driverError(error: unknown): DriverError {
  return error instanceof Error ? trusted<DriverError>(error) : {}
}

/** The database undid the transaction because another one was in its way; the same work may be tried again at once. */
export function isConflict(error: unknown): boolean {
  const { errno, errcode } = driverError(error)
  return (errno !== undefined && ROLLED_BACK.has(errno)) || errcode === SQLITE_BUSY || errcode === SQLITE_LOCKED
}

/** The connection is gone, or none could be made. If a commit was under way, nobody knows whether it happened. */
export function isConnectionLost(error: unknown): boolean {
  const { code, fatal } = driverError(error)
  return (code !== undefined && LOST_CONNECTION.has(code)) || (fatal === true && code === undefined)
}

/** A unique index refused a row. `of` is the index's (MySQL) and the column's (SQLite) name, or the table's for its primary key. */
export function isDuplicate(error: unknown, of: { index: string; column: string }): boolean {
  const { errno, errcode, message = '' } = driverError(error)
  if (errno === 1062) return message.includes(`${of.index}'`)
  const unique = errcode === SQLITE_CONSTRAINT_UNIQUE || errcode === SQLITE_CONSTRAINT_PRIMARYKEY
  return unique && message.includes(of.column)
}

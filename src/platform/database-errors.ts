import { AppError } from './errors.ts'
import { trusted } from './trusted.ts'

// What the drivers of both engines throw, in the terms of what can be done about it.

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

/** 1213 deadlock, 1020 record changed (MariaDB snapshot), 8022, 8028 and 9007 TiDB's write conflicts. */
const ROLLED_BACK = new Set([1213, 1020, 8022, 8028, 9007])

/** 1205 lock wait timeout (in MariaDB also NOWAIT), 3572 NOWAIT, 3024 and 1969 the time limit of a locking read. */
const LOCK_WAIT_ENDED = new Set([1205, 3572, 3024, 1969])

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
const SQLITE_CONSTRAINT_UNIQUE = 2067
const SQLITE_CONSTRAINT_PRIMARYKEY = 1555

/** A statement, a connection, or a free place in the pool did not come in time. */
const TOO_LATE = new Set(['PROTOCOL_SEQUENCE_TIMEOUT', 'ETIMEDOUT'])

/** No connection of the pool became free in time. */
export class PoolExhausted extends Error {
  readonly code = 'ETIMEDOUT'
}

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

/** Another transaction holds a lock for too long. Unlike a conflict, to try again at once would be to wait as long again. */
export function isLockWaitEnded(error: unknown): boolean {
  const { errno } = driverError(error)
  return errno !== undefined && LOCK_WAIT_ENDED.has(errno)
}

/** The refusal of work that waited for a lock in vain. */
export class RowsLocked extends AppError {
  constructor(options?: ErrorOptions) {
    super('unavailable', 'Another transaction holds what this needs. Try again shortly.', { retry_after: 1 }, options)
  }
}

/** The connection is gone, or none could be made. If a commit was under way, nobody knows whether it happened. */
export function isConnectionLost(error: unknown): boolean {
  const { code, fatal } = driverError(error)
  return (code !== undefined && LOST_CONNECTION.has(code)) || (fatal === true && code === undefined)
}

/** Like {@link isConnectionLost}, and the caller has waited long enough: to begin anew would be to wait as long again. */
export function isTooLate(error: unknown): boolean {
  const { code } = driverError(error)
  return code !== undefined && TOO_LATE.has(code)
}

/** A unique index refused a row. `of` is the index's (MySQL) and the column's (SQLite) name, or the table's for its primary key. */
export function isDuplicate(error: unknown, of: { index: string; column: string }): boolean {
  const { errno, errcode, message = '' } = driverError(error)
  if (errno === 1062) return message.includes(`${of.index}'`)
  const unique = errcode === SQLITE_CONSTRAINT_UNIQUE || errcode === SQLITE_CONSTRAINT_PRIMARYKEY
  return unique && message.includes(of.column)
}

/** Another transaction wrote one of these idempotency keys first. No other primary key comes from outside. */
export function isKeyTaken(error: unknown): boolean {
  return isDuplicate(error, { index: 'PRIMARY', column: 'idempotency_keys.key' })
}

/** 1060 a column, 1061 an index of this name. */
const THERE_ALREADY = new Set([1060, 1061])

/** A statement was to add a column or an index that is there. */
export function isThereAlready(error: unknown): boolean {
  const { errno, message = '' } = driverError(error)
  return (
    (errno !== undefined && THERE_ALREADY.has(errno)) ||
    /^duplicate column name|^index \S+ already exists/.test(message)
  )
}

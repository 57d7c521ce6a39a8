import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'

// The errors of both engines' drivers, sorted by what can be done about them.

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
  'ER_USER_LIMIT_REACHED',
  'ER_SHUTDOWN_COMPLETE',
  'ER_CLIENT_INTERACTION_TIMEOUT',
  'ER_SESSION_WAS_KILLED',
  'HANDSHAKE_SSL_ERROR',
  'HANDSHAKE_NO_SSL_SUPPORT',
  'ER_ACCESS_DENIED_ERROR',
  'ER_HOST_IS_BLOCKED',
  'ER_HOST_NOT_PRIVILEGED',
])

/** 1927 MariaDB ended the connection; 9001 to 9005: ProxySQL has no server to give, TiDB can't reach its storage. */
const LOST_BY_NUMBER = new Set([1927, 9001, 9002, 9003, 9005])

/**
 * 1290 and 1836 the server is read-only, 1792 the session is, 1047 a node without its cluster, 3100 a group without its
 * majority.
 */
const READ_ONLY = new Set([1290, 1792, 1836, 1047, 3100])

/** 1021 and 1114: the disk is full. 1030 is any error of the storage engine, and 28 is the kernel's number for this one. */
const DISK_FULL = new Set([1021, 1114])
const STORAGE_FULL = /\berror 28\b/

/**
 * 1213 deadlock, 1020 record changed (MariaDB snapshot), 3101 another member of the group was first, 1180 the same during
 * the commit, 8022, 8028 and 9007 TiDB's write conflicts.
 */
const ROLLED_BACK = new Set([1213, 1020, 3101, 1180, 8022, 8028, 9007])

/** 1205 lock wait timeout (in MariaDB also NOWAIT), 3572 NOWAIT, 3024 and 1969 the time limit of a locking read. */
const LOCK_WAIT_ENDED = new Set([1205, 3572, 3024, 1969])

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6
/** Access denied, read-only, I/O error, corrupt, full, can't be opened, not a database: the file is of no use now. */
const SQLITE_UNUSABLE = new Set([3, 8, 10, 11, 13, 14, 26])
const SQLITE_CONSTRAINT_UNIQUE = 2067
const SQLITE_CONSTRAINT_PRIMARYKEY = 1555

/** A statement, a connection, or a free slot of the pool did not come in time. */
const TIMEOUTS = new Set(['PROTOCOL_SEQUENCE_TIMEOUT', 'ETIMEDOUT'])

/** No connection of the pool became free in time. */
export class PoolExhausted extends Error {
  readonly code = 'ETIMEDOUT'
}

/** A read outside a transaction took longer than reads may. */
export class ReadTimedOut extends Error {
  readonly code = 'ETIMEDOUT'
}

/** No server of several can be written. */
export class NoWriter extends Error {
  readonly code = 'ECONNREFUSED'
}

/** 1227: a statement needs a right that the user does not have. */
export function isPrivilegeMissing(error: unknown): boolean {
  return driverError(error).errno === 1227
}

/** 1146 the table, 1049 its database is not there yet. */
export function isMissingTable(error: unknown): boolean {
  const { errno } = driverError(error)
  return errno === 1146 || errno === 1049
}

interface DriverError {
  code?: string
  errno?: number
  errcode?: number
  fatal?: boolean
  message?: string
}

function driverError(error: unknown): DriverError {
  return error instanceof Error ? unsafeCast<DriverError>(error) : {}
}

/** The server ended the transaction without an error. */
export class RolledBack extends Error {
  readonly code = 'rolled_back'
}

/** The database undid the transaction because of another one. The same work may be tried again at once. */
export function isConflict(error: unknown): boolean {
  const { errno } = driverError(error)
  return error instanceof RolledBack || (errno !== undefined && ROLLED_BACK.has(errno)) || isFileBusy(error)
}

/** Another program holds the lock of the SQLite file. */
export function isFileBusy(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === SQLITE_BUSY || code === SQLITE_LOCKED
}

/** SQLite's primary result code. Higher bits of the number only refine it. */
export function sqliteCode(error: unknown): number | undefined {
  const { errcode } = driverError(error)
  return errcode === undefined ? undefined : errcode & 0xff
}

/** Another transaction held a lock for too long. Unlike after a conflict, a new try would wait as long again. */
export function isLockWaitEnded(error: unknown): boolean {
  const { errno } = driverError(error)
  return errno !== undefined && LOCK_WAIT_ENDED.has(errno)
}

/** The refusal of work that the database could not do. Its cause is the driver's error. */
export class DatabaseUnavailable extends AppError {
  constructor(detail: string, options?: ErrorOptions) {
    super(PLATFORM_ERRORS.unavailable, detail, { retry_after: 1 }, options)
  }
}

/** The refusal of work that waited for a lock and did not get it. */
export class RowsLocked extends DatabaseUnavailable {
  constructor(options?: ErrorOptions) {
    super('Another transaction locks rows that this needs. Try again soon.', options)
  }
}

/** The connection is lost, or none could be made. If a commit was in flight, nobody knows whether it happened. */
export function isConnectionLost(error: unknown): boolean {
  const { code, errno, fatal } = driverError(error)
  if (errno !== undefined && LOST_BY_NUMBER.has(errno)) return true
  return (code !== undefined && LOST_CONNECTION.has(code)) || (fatal === true && code === undefined)
}

/**
 * The connection leads to a server that cannot write: after a failover, the former writer. Nothing was committed, and the
 * same work may succeed on a new connection.
 */
export function leadsToReader(error: unknown): boolean {
  const { errno } = driverError(error)
  return errno !== undefined && READ_ONLY.has(errno)
}

/** The database can't do its work at the moment: unreachable, read-only, out of disk, or its file is damaged. */
export function isUnavailable(error: unknown): boolean {
  const ofFile = sqliteCode(error) ?? 0
  return isConnectionLost(error) || leadsToReader(error) || isDiskFull(error) || SQLITE_UNUSABLE.has(ofFile)
}

/** Why the database can't do its work, in a stable word: for `/ready` and the log. */
export type DatabaseFault = 'unreachable' | 'too_slow' | 'full' | 'read_only' | 'denied' | 'locked' | 'failed'

const DENIED = new Set([
  'ER_ACCESS_DENIED_ERROR',
  'ER_DBACCESS_DENIED_ERROR',
  'ER_TABLEACCESS_DENIED_ERROR',
  'ER_COLUMNACCESS_DENIED_ERROR',
  'ER_HOST_IS_BLOCKED',
  'ER_HOST_NOT_PRIVILEGED',
])
const SQLITE_DENIED = new Set([3, 23])
const SQLITE_READ_ONLY = 8
const SQLITE_FULL = 13

export function databaseFaultOf(error: unknown): DatabaseFault {
  const { code = '' } = driverError(error)
  const ofFile = sqliteCode(error) ?? 0
  if (DENIED.has(code) || SQLITE_DENIED.has(ofFile)) return 'denied'
  if (isDiskFull(error)) return 'full'
  if (leadsToReader(error) || ofFile === SQLITE_READ_ONLY) return 'read_only'
  if (isLockWaitEnded(error) || isFileBusy(error) || error instanceof RowsLocked) return 'locked'
  if (isTimeout(error)) return 'too_slow'
  if (isConnectionLost(error)) return 'unreachable'
  return 'failed'
}

export function isDiskFull(error: unknown): boolean {
  const { errno = 0, message = '' } = driverError(error)
  return DISK_FULL.has(errno) || (errno === 1030 && STORAGE_FULL.test(message)) || sqliteCode(error) === SQLITE_FULL
}

/** Like {@link isConnectionLost}, after a time limit: a new try would wait as long again. */
export function isTimeout(error: unknown): boolean {
  const { code } = driverError(error)
  return code !== undefined && TIMEOUTS.has(code)
}

/** MySQL or MariaDB ended a statement at its own time limit. */
export function isTimeLimitReached(error: unknown): boolean {
  const { errno } = driverError(error)
  return errno === 3024 || errno === 1969
}

/** In every language of the server, the last thing in quotes is the index. The refused value, before it, may have quotes. */
const LAST_IN_QUOTES = /'([^']*)'[^']*$/

/** A unique index refused a row. `of` names the index (MySQL) and the column (SQLite), or the table for its primary key. */
export function isDuplicate(error: unknown, of: { index: string; column: string }): boolean {
  const { errno, errcode, message = '' } = driverError(error)
  if (errno === 1062) return LAST_IN_QUOTES.exec(message)?.[1]?.endsWith(of.index) ?? false
  const unique = errcode === SQLITE_CONSTRAINT_UNIQUE || errcode === SQLITE_CONSTRAINT_PRIMARYKEY
  return unique && message.includes(of.column)
}

/** Any unique index or primary key refused a row. */
export function isAnyDuplicate(error: unknown): boolean {
  return isDuplicate(error, { index: '', column: '' })
}

/** Another transaction wrote one of these idempotency keys first. Callers choose no other primary key. */
export function isKeyTaken(error: unknown): boolean {
  return isDuplicate(error, { index: 'PRIMARY', column: 'idempotency_keys.key' })
}

/** 1060 a column, 1061 an index of this name. */
const ALREADY_THERE = new Set([1060, 1061])

/** A statement tried to add a column or an index that exists. */
export function isAlreadyThere(error: unknown): boolean {
  const { errno, message = '' } = driverError(error)
  return (
    (errno !== undefined && ALREADY_THERE.has(errno)) ||
    /^duplicate column name|^index \S+ already exists/.test(message)
  )
}

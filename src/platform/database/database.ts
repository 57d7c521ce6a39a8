import { chmodSync, closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Kysely, sql } from 'kysely'
import { createPool } from 'mysql2'
import { type ConnectionOptions, createConnection } from 'mysql2/promise'
import { AppError } from '../core/errors.ts'
import type { Logger } from '../telemetry/logger.ts'
import {
  DatabaseUnavailable,
  isConflict,
  isConnectionLost,
  isDiskFull,
  isKeyTaken,
  isLockWaitEnded,
  isTimeout,
  isUnavailable,
  leadsToReader,
  RowsLocked,
  sqliteCode,
} from './errors.ts'
import { mysqlDialect } from './mysql.ts'
import { connectionOf, dial, hostsOf, type ServerAddress, textOf } from './mysql-connection.ts'
import { createWriters, hasSeveralServers } from './mysql-writers.ts'
import { createSlots, type Slots } from './slots.ts'
import { sqliteDialect } from './sqlite.ts'
import type { Tables } from './tables.ts'

/** A connection or a transaction: Kysely's `Transaction` is a `Kysely`, so a store cannot tell and need not. */
export type Database = Kysely<Tables>

/** Where the data is. Without `host` it is the embedded SQLite file. */
export interface DatabaseConfig {
  /** One server, several with commas between (`a,b:3307`), or the path of a Unix socket. */
  host?: string | undefined
  /** Of the hosts that name none. */
  port: number
  /** Of several servers, whether one is written at a time, or every node of a cluster. */
  writers: 'one' | 'all'
  user: string
  password: string
  name: string
  /** Connections a process may hold at once. */
  pool: number
  /** How long work may wait for rows that another transaction has locked. */
  lockWaitMs: number
  connectTimeoutMs: number
  /** A statement that takes longer is given up, and its connection with it: a network can swallow an answer without a sign. */
  queryTimeoutMs: number
  /** Like `queryTimeoutMs`, for a read outside a transaction, with its wait for a connection. 0 is no such limit. */
  readTimeoutMs: number
  /** `on`: the server's certificate must be one that Node trusts (NODE_EXTRA_CA_CERTS adds to them). */
  tls: 'off' | 'on' | 'amazon-rds'
  file: string
}

/**
 * @param options.readOnly for programs that only read: an embedded file is neither made nor changed, and need not be writable
 * @param options.logger told which of several servers are written
 */
export function openDatabase(
  config: DatabaseConfig,
  { readOnly = false, logger }: { readOnly?: boolean; logger?: Logger } = {},
): Promise<Database> {
  if (config.host !== undefined) return openMysql(config, logger)
  return readOnly ? openSqliteToRead(config) : openSqlite(config)
}

async function openSqlite({ file, readTimeoutMs }: DatabaseConfig): Promise<Database> {
  const { DatabaseSync } = await import('node:sqlite')
  if (file !== ':memory:') keepPrivate(file)
  const database = new DatabaseSync(file)
  // Switching to WAL needs a lock that another starting process may hold. Nobody waits for this event loop yet.
  database.exec('pragma busy_timeout = 10000')
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on')
  // Pages that many orders change are copied into the file once in 16 MiB of log, instead of once in 4 MiB.
  database.exec('pragma wal_autocheckpoint = 4000')
  database.exec('pragma busy_timeout = 0')
  return new Kysely<Tables>({ dialect: sqliteDialect(database, readTimeoutMs) })
}

async function openSqliteToRead({ file, readTimeoutMs }: DatabaseConfig): Promise<Database> {
  const { DatabaseSync } = await import('node:sqlite')
  const open = (location: string | URL) => {
    const database = new DatabaseSync(location, { readOnly: true })
    database.prepare('select count(*) from sqlite_schema').get()
    return database
  }
  try {
    return new Kysely<Tables>({ dialect: sqliteDialect(open(file), readTimeoutMs) })
  } catch (error) {
    // A file in WAL mode wants a -shm beside it. Where none can be made and no -wal is left, nobody writes the file.
    if (!NO_SHM.has(sqliteCode(error) ?? 0) || existsSync(`${file}-wal`)) throw error
    const immutable = new URL(`${pathToFileURL(file).href}?immutable=1`)
    return new Kysely<Tables>({ dialect: sqliteDialect(open(immutable), readTimeoutMs) })
  }
}

/** SQLITE_READONLY and SQLITE_CANTOPEN: what SQLite says where it can't make its -shm. */
const NO_SHM: ReadonlySet<number> = new Set([8, 14])
const OWNER_ONLY = 0o600

/** The file holds customers and hashes of secrets. SQLite gives its -wal and -shm the mode that the file has. */
function keepPrivate(file: string): void {
  mkdirSync(dirname(file), { recursive: true })
  if (!existsSync(file)) closeSync(openSync(file, 'a', OWNER_ONLY))
  for (const path of [file, `${file}-wal`, `${file}-shm`]) restrict(path)
}

function restrict(path: string): void {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) chmodSync(path, OWNER_ONLY)
  } catch {
    // It belongs to somebody else, or lies on a read-only disk: whether it can be used is seen when it is opened.
  }
}

async function openMysql(config: DatabaseConfig, logger: Logger | undefined): Promise<Database> {
  const writers = (await hasSeveralServers(config)) ? createWriters(config, tellWriters(logger)) : undefined
  const pool = createPool({
    database: config.name,
    connectionLimit: config.pool,
    // `end` of a connection then ends it, and tells the server.
    gracefulEnd: true,
    ...(await connectionOf(config, firstOf(config))),
    ...(writers && { stream: () => dial(writers.next()) }),
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    // Values never become part of a statement's text, so that nobody can add one.
    multipleStatements: true,
  })
  // Without a listener, a server that goes away would end the process.
  pool.on('connection', (connection) => connection.on('error', () => {}))
  const options = {
    connections: config.pool,
    writers,
    session: sessionSettings(config),
    sessionTimeoutMs: config.connectTimeoutMs,
    maxIdleMs: (MAX_IDLE_SECONDS - IDLE_MARGIN_SECONDS) * 1_000,
  }
  const db = new Kysely<Tables>({ dialect: mysqlDialect(pool, options, config) })
  LONE_TRANSACTIONS.set(db, {
    slots: createSlots(Math.ceil(config.pool / 2)),
    waitMs: config.queryTimeoutMs || Number.POSITIVE_INFINITY,
  })
  return db
}

function firstOf(config: DatabaseConfig): ServerAddress {
  const [first] = hostsOf(config)
  if (first === undefined) throw new Error('DB_HOST names no server')
  return first
}

function tellWriters(logger: Logger | undefined) {
  return (addresses: readonly ServerAddress[], isFirst: boolean) => {
    logger?.[isFirst ? 'info' : 'warn']({ writers: addresses.map(textOf) }, 'database writers')
  }
}

/** How many transactions of one command may run at once: each may wait for a lock, and batches need connections too. */
const LONE_TRANSACTIONS = new WeakMap<Database, { slots: Slots; waitMs: number }>()

/** How long the server keeps a connection that says nothing, and with it the locks of a transaction whose host is gone. */
const MAX_IDLE_SECONDS = 30
/** So much earlier a connection is not used again, so that no statement meets its end. */
const IDLE_MARGIN_SECONDS = 5
/** The same for a connection that is in a transaction, where the server tells the two apart (MariaDB). */
const MAX_IDLE_TRANSACTION_SECONDS = 10

/** InnoDB counts whole seconds. What must end sooner has a time limit of its own. */
const sessionSettings = ({ lockWaitMs }: DatabaseConfig) => [
  // The server may be set up for, or run for new connections, a character set in which our escaping is no escaping.
  'set names utf8mb4',
  'set session transaction isolation level read committed',
  `set session innodb_lock_wait_timeout = ${Math.max(1, Math.floor(lockWaitMs / 1_000))}, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'`,
  `set session wait_timeout = ${MAX_IDLE_SECONDS} /*M!100300 , idle_transaction_timeout = ${MAX_IDLE_TRANSACTION_SECONDS} */`,
]

const ER_BAD_DB_ERROR = 1049

/** Makes the database itself where the server has none of that name. Only then is the right to do so needed. */
export async function ensureDatabase(config: DatabaseConfig): Promise<void> {
  if (config.host === undefined) return
  const server = await connectionOf(config, await findWriter(config))
  const { name } = config
  const error = await tryConnection({ ...server, database: name })
  if (error === undefined) return
  if (error.errno !== ER_BAD_DB_ERROR) throw error
  const connection = await createConnection(server)
  try {
    await connection.query('create database if not exists ?? character set utf8mb4 collate utf8mb4_bin', [name])
  } finally {
    await connection.end()
  }
}

async function findWriter(config: DatabaseConfig): Promise<ServerAddress> {
  if (!(await hasSeveralServers(config))) return firstOf(config)
  const writers = createWriters(config, () => {})
  try {
    await writers.ready()
    return writers.next()
  } finally {
    writers.close()
  }
}

async function tryConnection(options: ConnectionOptions): Promise<NodeJS.ErrnoException | undefined> {
  try {
    const connection = await createConnection(options)
    await connection.end()
    return undefined
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
}

const MAX_ATTEMPTS = 8

/** Writes that found the disk full. A probe's own write needs no room, so it can't find out. */
const FULL_DISKS = new WeakMap<Database, { error: unknown; until: number }>()
/** For so long nobody is sent here; then a write may find that there is room again. */
const FULL_FOR_MS = 10_000

/**
 * Runs work in one transaction, again from its start when the database undid it (deadlock, lost connection) or when
 * another transaction wrote one of its idempotency keys first, after a short random wait; not when the database took
 * too long, or another transaction kept a lock. Work must not reach outside the database, and must recognise what it did, by
 * its key or by the state that it finds: it may run again after it was committed, when the answer of the commit was lost.
 * @throws RowsLocked when another transaction kept a lock
 * @throws AppError `unavailable` when the database can't be reached, or when nobody can know whether it committed
 */
export async function transact<T>(db: Database, work: (trx: Database) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let cause: unknown
    try {
      const result = await db.transaction().execute(async (trx) => {
        try {
          return await work(trx)
        } catch (error) {
          cause = error
          throw error
        }
      })
      FULL_DISKS.delete(db)
      return result
    } catch (error) {
      // A rollback on a dead connection fails too; what made the work fail says more.
      const failure = cause ?? error
      if (failure instanceof AppError) throw failure
      if (isLockWaitEnded(failure)) throw new RowsLocked({ cause: failure })
      const lost = isConnectionLost(failure)
      const late = isTimeout(failure)
      const refused = isConflict(failure) || leadsToReader(failure)
      const again = refused || lost || failure instanceof RestartTransaction || isKeyTaken(failure)
      if (again && !late && attempt < MAX_ATTEMPTS) await sleep(Math.random() * 10 * 2 ** attempt)
      else if (again || isUnavailable(failure)) {
        if (isDiskFull(failure)) FULL_DISKS.set(db, { error: failure, until: performance.now() + FULL_FOR_MS })
        throw new DatabaseUnavailable('The database could not do this now. Try again.', { cause: failure })
      } else throw failure
    }
  }
}

/**
 * Like {@link transact}, for the work of one command. Half of the pool is left to batches: many commands that wait for
 * one locked row would else keep everybody from the database.
 */
export async function transactAlone<T>(db: Database, work: (trx: Database) => Promise<T>): Promise<T> {
  const limit = LONE_TRANSACTIONS.get(db)
  if (limit === undefined) return transact(db, work)
  const giveBack = await limit.slots.take(performance.now() + limit.waitMs).catch((cause) => {
    throw new DatabaseUnavailable('Too many single writes are waiting. Try again soon.', { cause })
  })
  return transact(db, work).finally(giveBack)
}

/** Thrown inside {@link transact} when another transaction won a race that only a fresh start can see. */
export class RestartTransaction extends Error {}

/** A write that changes nothing: where the database can't be written it is refused like any other. */
export async function writeNothing(db: Database): Promise<void> {
  await sql`delete from idempotency_keys where 1 = 0`.execute(db)
}

/** Resolves when the database can be written. */
export async function probeWrites(db: Database): Promise<void> {
  const full = FULL_DISKS.get(db)
  if (full !== undefined && performance.now() < full.until) throw full.error
  await writeNothing(db)
}

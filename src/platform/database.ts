import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, sql } from 'kysely'
import { createPool } from 'mysql2'
import { type ConnectionOptions, createConnection } from 'mysql2/promise'
import { isConflict, isConnectionLost, isKeyTaken, isLockWaitEnded, isTooLate, RowsLocked } from './database-errors.ts'
import { AppError } from './errors.ts'
import { mysqlDialect } from './mysql.ts'
import { sqliteDialect } from './sqlite.ts'
import type { Tables } from './tables.ts'

/** A connection or a transaction: Kysely's `Transaction` is a `Kysely`, so a store cannot tell and need not. */
export type Database = Kysely<Tables>

/** Where the data is. Without `host` it is the embedded SQLite file. */
export interface DatabaseConfig {
  host?: string | undefined
  port: number
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
  /** `on`: the server's certificate must be one that Node trusts (NODE_EXTRA_CA_CERTS adds to them). */
  tls: 'off' | 'on' | 'amazon-rds'
  file: string
}

export function openDatabase(config: DatabaseConfig): Promise<Database> {
  return config.host === undefined ? openSqlite(config.file) : Promise.resolve(openMysql(config))
}

async function openSqlite(file: string): Promise<Database> {
  const { DatabaseSync } = await import('node:sqlite')
  if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true })
  const database = new DatabaseSync(file)
  // The timeout comes first: switching to WAL needs a lock that another starting process may hold.
  database.exec('pragma busy_timeout = 10000')
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on')
  return new Kysely<Tables>({ dialect: sqliteDialect(database) })
}

function openMysql(config: DatabaseConfig): Database {
  const pool = createPool({
    database: config.name,
    connectionLimit: config.pool,
    queueLimit: config.pool * 100,
    ...connectionOf(config),
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    // Values never become part of a statement's text, so that nobody can add one.
    multipleStatements: true,
  })
  pool.on('connection', (connection) => {
    // Sent before anything else on the new connection: mysql2 keeps the order of a connection's commands.
    for (const statement of sessionSettings(config))
      connection.query(statement, (error) => error && connection.destroy())
    // Without a listener, a server that goes away would end the process.
    connection.on('error', () => {})
  })
  return new Kysely<Tables>({ dialect: mysqlDialect(pool, config.queryTimeoutMs) })
}

function connectionOf({ host = 'localhost', port, user, password, connectTimeoutMs, tls }: DatabaseConfig) {
  const ssl = tls === 'on' ? { minVersion: 'TLSv1.2' } : 'Amazon RDS'
  return { host, port, user, password, connectTimeout: connectTimeoutMs, ...(tls !== 'off' && { ssl }) }
}

/** InnoDB counts whole seconds. What must end sooner has a time limit of its own. */
const sessionSettings = ({ lockWaitMs }: DatabaseConfig) => [
  'set session transaction isolation level read committed',
  `set session innodb_lock_wait_timeout = ${Math.max(1, Math.floor(lockWaitMs / 1_000))}, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'`,
]

const ER_BAD_DB_ERROR = 1049

/** Makes the database itself where the server has none of that name. Only then is the right to do so needed. */
export async function ensureDatabase(config: DatabaseConfig): Promise<void> {
  if (config.host === undefined) return
  const server = connectionOf(config)
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

const MOST_ATTEMPTS = 8

export interface TransactOptions {
  /**
   * True when running the work again after it may have been committed changes nothing more: it is keyed, or ends in
   * a state that it recognises. Only then is it retried after a connection that was lost during the commit.
   */
  repeatable: boolean
}

/**
 * Runs work in one transaction, again from its start when the database undid it (deadlock, lost connection) or when
 * another transaction wrote one of its idempotency keys first, after a short random wait; not when the database took
 * too long, or another transaction kept a lock. Work must not reach outside the database: it may run more than once.
 * @throws RowsLocked when another transaction kept a lock
 * @throws AppError `unavailable` when the database can't be reached, or when nobody can know whether it committed
 */
export async function transact<T>(
  db: Database,
  options: TransactOptions,
  work: (trx: Database) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let finished = false
    let cause: unknown
    try {
      return await db.transaction().execute(async (trx) => {
        try {
          const result = await work(trx)
          finished = true
          return result
        } catch (error) {
          cause = error
          throw error
        }
      })
    } catch (error) {
      // A rollback on a dead connection fails too; what made the work fail says more.
      const failure = cause ?? error
      if (failure instanceof AppError) throw failure
      if (isLockWaitEnded(failure)) throw new RowsLocked({ cause: failure })
      const lost = isConnectionLost(failure)
      const late = isTooLate(failure)
      const undone = isConflict(failure) || failure instanceof RunAgain || (lost && !finished)
      const again = undone || (options.repeatable && (lost || isKeyTaken(failure)))
      if (again && !late && attempt < MOST_ATTEMPTS) await sleep(Math.random() * 10 * 2 ** attempt)
      else if (again || lost)
        throw new AppError('unavailable', 'The database could not do this now. Try again.', {}, { cause: failure })
      else throw failure
    }
  }
}

/** Thrown inside {@link transact} when another transaction won a race that only a fresh start can see. */
export class RunAgain extends Error {}

/** Resolves when the database answers. */
export async function ping(db: Database): Promise<void> {
  await sql`select 1`.execute(db)
}

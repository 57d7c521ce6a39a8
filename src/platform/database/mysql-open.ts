import { Kysely } from 'kysely'
import { createPool } from 'mysql2'
import { type ConnectionOptions, createConnection } from 'mysql2/promise'
import type { Logger } from '../telemetry/logger.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { DatabaseConfig } from './config.ts'
import { mysqlDialect } from './mysql.ts'
import { connectionOf, dial, hostsOf, type ServerAddress, textOf } from './mysql-connection.ts'
import { createWriters, hasSeveralServers } from './mysql-writers.ts'
import { createSlots } from './slots.ts'
import type { Tables } from './tables.ts'
import { limitSingleCommands } from './transaction.ts'
import type { Database } from './types.ts'

export async function openMysql(
  config: DatabaseConfig,
  logger: Logger | undefined,
  telemetry: Telemetry,
): Promise<Database> {
  const writers = (await hasSeveralServers(config)) ? createWriters(config, tellWriters(logger)) : undefined
  const pool = createPool({
    database: config.name,
    connectionLimit: config.pool,
    // Without it, `end` of a connection would not tell the server.
    gracefulEnd: true,
    ...(await connectionOf(config, firstOf(config))),
    ...(writers && { stream: () => dial(writers.next()) }),
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    // Safe, because values never become part of a statement's text.
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
    telemetry,
  }
  const db = new Kysely<Tables>({ dialect: mysqlDialect(pool, options, config) })
  limitSingleCommands(db, {
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

/** How long the server keeps a silent connection, and with it the locks of a transaction whose host is gone. */
const MAX_IDLE_SECONDS = 30
/** A connection is given up this much earlier than the server ends it, so that no statement meets that end. */
const IDLE_MARGIN_SECONDS = 5
/** The same for a connection that is in a transaction, where the server tells the two apart (MariaDB). */
const MAX_IDLE_TRANSACTION_SECONDS = 10

/** InnoDB counts whole seconds. A lock wait that must end sooner has a time limit of its own. */
const sessionSettings = ({ lockWaitMs }: DatabaseConfig) => [
  // Escaping is only safe in a known character set, and the server's default may be another one.
  'set names utf8mb4',
  'set session transaction isolation level read committed',
  `set session innodb_lock_wait_timeout = ${Math.max(1, Math.floor(lockWaitMs / 1_000))}, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'`,
  `set session wait_timeout = ${MAX_IDLE_SECONDS} /*M!100300 , idle_transaction_timeout = ${MAX_IDLE_TRANSACTION_SECONDS} */`,
]

const ER_BAD_DB_ERROR = 1049

/** See `ensureDatabase`. */
export async function ensureMysqlDatabase(config: DatabaseConfig): Promise<void> {
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

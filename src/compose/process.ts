import { existsSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import type { DatabaseConfig } from '../platform/database/config.ts'
import { PoolExhausted, sqliteCode } from '../platform/database/errors.ts'
import { hostsOf, textOf } from '../platform/database/mysql-connection.ts'
import { ensureDatabase, openDatabase } from '../platform/database/open.ts'
import type { Database } from '../platform/database/types.ts'
import { writeNothing } from '../platform/database/write-probe.ts'
import type { Serving } from '../platform/http/server.ts'
import type { Logger } from '../platform/telemetry/logger.ts'
import type { Telemetry } from '../platform/telemetry/telemetry.ts'
import { seed } from './demo-data.ts'
import { type Env, EnvError, type ParseOptions, parseEnv } from './env.ts'
import { migrate, pendingMigrations } from './schema.ts'
import { readEnvFile, reasonOf, StartError, tellFailure } from './start-failure.ts'

const MAX_DRAIN_MS = 9_000
const PARENT_CHECK_MS = 250
const LAST_LINES_MS = 200

/**
 * Runs a program. A known reason for a failure is reported in one message, without a stack trace.
 * @param options.failure the exit code of a failure
 * @param options.fail reports the failure, and ends the process
 */
export async function run(
  program: (env: Env) => Promise<void>,
  { failure = 1, fail = tellFailure, ...options }: RunOptions = {},
): Promise<void> {
  try {
    await program(parseEnv(process.env, { ...options, file: readEnvFile() }))
  } catch (error) {
    await fail(explain(error), failure)
  }
}

interface RunOptions extends Omit<ParseOptions, 'file'> {
  failure?: number
  fail?: Fail
}

type Fail = (message: string, code: number) => Promise<never>

function explain(error: unknown): string {
  if (error instanceof EnvError || error instanceof StartError) return error.message
  if (!(error instanceof Error)) return String(error)
  if ('code' in error && error.code === 'EADDRINUSE' && 'port' in error) {
    return `Port ${error.port} is in use. Stop what listens there, or choose another port (PORT, CUSTOMERS_PORT, ORDERS_PORT, ORCHESTRATOR_PORT, METRICS_PORT).`
  }
  if ('code' in error && error.code === 'EACCES' && 'port' in error)
    return `Port ${error.port} may not be used by this user.`
  if ('code' in error && ['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN'].includes(String(error.code))) {
    return `The address ${whereOf(error)} is none of this machine. Check HOST.`
  }
  return isSystemError(error) ? error.message : (error.stack ?? error.message)
}

/**
 * Whether the operating system or the network refused something. The message says what and where, so a stack trace
 * would add nothing.
 */
export function isSystemError(error: Error): boolean {
  return 'syscall' in error && 'code' in error
}

/** The address that can't be listened on, or the host name that has no address. */
function whereOf(error: Error): string {
  return 'address' in error ? String(error.address) : 'hostname' in error ? String(error.hostname) : ''
}

const EVERYWHERE = ['0.0.0.0', '::']

/** The URL of a service, for callers on this machine. */
export function urlOf({ serving: { host } }: Env, port: number): string {
  if (host === undefined || host === '127.0.0.1' || EVERYWHERE.includes(host)) return `http://localhost:${port}`
  return `http://${isIPv6(host) ? `[${host}]` : host}:${port}`
}

/** The addresses at which the services can be reached, in words. */
export function audienceOf({ serving: { host } }: Env): string {
  if (host === undefined || EVERYWHERE.includes(host)) return 'all addresses of this machine'
  return `${host} alone (HOST chooses another address)`
}

/**
 * Opens the database for services: outside production it is created and migrated, in production it must be migrated.
 * @throws StartError naming the database that can't be used
 */
export function openPreparedDatabase(env: Env, logger: Logger, telemetry: Telemetry): Promise<Database> {
  return withDatabaseErrors(env, async () => {
    if (!env.production) await ensureDatabase(env.database)
    const db = await openDatabase(env.database, { logger, telemetry })
    await prepare(env, db, logger)
    // A server that can't be written now may fail over, so it is not tested. A file that can't be written stays so.
    if (env.database.host === undefined) await writeNothing(db)
    return db
  })
}

/** Runs work with the configured database. @throws StartError naming the database, with the reason of its failure */
export async function withDatabaseErrors<T>(env: Env, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof StartError) throw error
    throw new StartError(
      `The database ${describeDatabase(env.database)} can't be used: ${reasonOf(error)}${hintFor(error, env.database)}`,
    )
  }
}

/** The variables to check, by error code. */
const REMEDIES: Record<string, string> = {
  ECONNREFUSED: 'Does it run there? Check DB_HOST and DB_PORT.',
  ENOTFOUND: 'Check DB_HOST.',
  ENOENT: 'Check DB_SOCKET.',
  EAI_AGAIN: 'Check DB_HOST.',
  ETIMEDOUT: 'Does it run there? Check DB_HOST and DB_PORT.',
  ER_ACCESS_DENIED_ERROR: 'Check DB_USER and DB_PASS.',
  ER_DBACCESS_DENIED_ERROR: 'Check DB_NAME, and the rights of DB_USER.',
  ER_BAD_DB_ERROR: 'Check DB_NAME, or make it with: npm run migrate',
  HANDSHAKE_NO_SSL_SUPPORT: 'The server offers no TLS: set it up there, or check DB_TLS.',
  HANDSHAKE_SSL_ERROR:
    'DB_HOST must be a name that the certificate is for, and NODE_EXTRA_CA_CERTS must name its authority.',
}

/** What to do about the embedded file, by SQLite's primary result code. */
const FILE_REMEDIES: Record<number, string> = {
  8: 'This user must be able to write DB_FILE, and the folder that it is in.',
  11: 'DB_FILE is damaged: restore it from a backup, see docs/operations.md.',
  13: 'The disk that DB_FILE is on is full.',
}

function hintFor(error: unknown, { host }: DatabaseConfig): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const remedy = host === undefined ? fileRemedyFor(error) : REMEDIES[code]
  return remedy === undefined ? '' : `\n${remedy}`
}

function fileRemedyFor(error: unknown): string {
  if (error instanceof PoolExhausted) return 'End the program that holds DB_FILE, or choose another file.'
  if (error instanceof Error && 'code' in error && error.code === 'ERR_UNKNOWN_BUILTIN_MODULE') {
    return `The embedded database needs Node 22.16 or later, and this is ${process.version}. On an older one, set DB_HOST.`
  }
  return FILE_REMEDIES[sqliteCode(error) ?? 0] ?? 'Check DB_FILE.'
}

/**
 * Opens the database without migrating it; `readOnly` is for commands that only read.
 * @throws StartError when the database is not migrated
 */
export async function openMigratedDatabase(env: Env, { readOnly = false } = {}): Promise<Database> {
  const { host, file } = env.database
  if (readOnly && host === undefined && !existsSync(file)) {
    throw new StartError(`There is no database ${file}. Make it with: npm run migrate`)
  }
  const db = await openDatabase(env.database, { readOnly })
  await refusePending(env, db)
  return db
}

async function refusePending(env: Env, db: Database): Promise<void> {
  const pending = await pendingMigrations(db)
  if (pending.length === 0) return
  throw new StartError(
    `The database ${describeDatabase(env.database)} lacks ${pending.join(', ')}. Run: npm run migrate`,
  )
}

/**
 * Outside production, migrates the database and puts the demo data into a new one. Production refuses pending
 * migrations.
 */
async function prepare(env: Env, db: Database, logger: Logger): Promise<void> {
  if (env.production) return refusePending(env, db)
  const done = await migrate(db)
  if (done.length > 0) logger.info({ migrations: done }, 'migrated')
  if (done.includes('0001_initial')) await seed(db)
}

export function describeDatabase({ host, port, name, file }: DatabaseConfig): string {
  if (host === undefined) return file
  return `${name} at ${hostsOf({ host, port }).map(textOf).join(', ')}`
}

/**
 * Drains and exits with 0 on SIGTERM, on Ctrl-C, and when the npm that started the process ends. The exit code is 1 if
 * the drain takes longer than a platform waits (`MAX_DRAIN_MS`), and after an uncaught error. A second uncaught error
 * ends the process at once.
 */
export function stopGracefully(
  lifecycle: { draining: boolean },
  servings: readonly Serving[],
  closeRest: () => Promise<void>,
  logger: Logger,
): void {
  const stop = async (signal: string) => {
    if (lifecycle.draining) return
    lifecycle.draining = true
    logger.info({ signal }, 'stopping')
    setTimeout(() => {
      logger.error('requests are still running; leaving them')
      end(1)
    }, MAX_DRAIN_MS).unref()
    await Promise.all(servings.map((serving) => serving.close()))
    await closeRest().catch(fail)
    logger.info('stopped')
    end(0)
  }
  const fail = (err: unknown) => {
    logger.fatal({ err }, 'uncaught error')
    if (process.exitCode === 1) process.exit()
    process.exitCode = 1
    void stop('uncaught error')
  }
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  onParentExit(() => stop('npm is gone'))
}

/** Only the log may still hold the process open. It gets `LAST_LINES_MS` to write its last lines. */
function end(code: number): void {
  process.exitCode ||= code
  setTimeout(() => process.exit(), LAST_LINES_MS).unref()
}

/**
 * npm starts its scripts through a shell. A signal to npm ends that shell but never reaches the program, so the program
 * watches its parent process.
 */
export function onParentExit(stop: () => void): void {
  if (process.env.npm_lifecycle_event === undefined) return
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) stop()
  }, PARENT_CHECK_MS).unref()
}

import { chmodSync, closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Kysely } from 'kysely'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { DatabaseConfig } from './config.ts'
import { sqliteCode } from './errors.ts'
import { sqliteDialect } from './sqlite.ts'
import type { Tables } from './tables.ts'
import type { Database } from './types.ts'

export async function openSqlite({ file, readTimeoutMs }: DatabaseConfig, telemetry: Telemetry): Promise<Database> {
  const { DatabaseSync } = await import('node:sqlite')
  if (file !== ':memory:') keepPrivate(file)
  const database = new DatabaseSync(file)
  // Switching to WAL needs a lock that another starting process may hold. Blocking is fine: nothing else runs yet.
  database.exec('pragma busy_timeout = 10000')
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on')
  // A checkpoint every 16 MiB of log, instead of every 4 MiB: a page that many writes change is copied less often.
  database.exec('pragma wal_autocheckpoint = 4000')
  database.exec('pragma busy_timeout = 0')
  return new Kysely<Tables>({ dialect: sqliteDialect(database, readTimeoutMs, telemetry) })
}

export async function openSqliteReadOnly(
  { file, readTimeoutMs }: DatabaseConfig,
  telemetry: Telemetry,
): Promise<Database> {
  const { DatabaseSync } = await import('node:sqlite')
  const open = (location: string | URL) => {
    const database = new DatabaseSync(location, { readOnly: true })
    database.prepare('select count(*) from sqlite_schema').get()
    return database
  }
  try {
    return new Kysely<Tables>({ dialect: sqliteDialect(open(file), readTimeoutMs, telemetry) })
  } catch (error) {
    // A file in WAL mode needs a -shm beside it. If none can be made and there is no -wal, nobody is writing the file.
    if (!NO_SHM.has(sqliteCode(error) ?? 0) || existsSync(`${file}-wal`)) throw error
    const immutable = new URL(`${pathToFileURL(file).href}?immutable=1`)
    return new Kysely<Tables>({ dialect: sqliteDialect(open(immutable), readTimeoutMs, telemetry) })
  }
}

/** SQLITE_READONLY and SQLITE_CANTOPEN: what SQLite says where it can't make its -shm. */
const NO_SHM: ReadonlySet<number> = new Set([8, 14])
const OWNER_ONLY = 0o600

/** The file holds personal data and hashes of secrets. SQLite gives its -wal and -shm the mode that the file has. */
function keepPrivate(file: string): void {
  mkdirSync(dirname(file), { recursive: true })
  if (!existsSync(file)) closeSync(openSync(file, 'a', OWNER_ONLY))
  for (const path of [file, `${file}-wal`, `${file}-shm`]) restrict(path)
}

function restrict(path: string): void {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) chmodSync(path, OWNER_ONLY)
  } catch {
    // Another user's file, or a read-only disk: opening it will show whether it can be used.
  }
}

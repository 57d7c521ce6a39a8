import { readdirSync, readFileSync } from 'node:fs'
import { sql } from 'kysely'
import { DEFAULT_MIGRATION_LOCK_TABLE, type Migration, Migrator } from 'kysely/migration'
import { dialectOf, type Engine } from './dialect.ts'
import { isAlreadyThere } from './errors.ts'
import { aloneInCluster, isCluster } from './migration-lease.ts'
import type { Database } from './types.ts'

/** The statements of an SQL file, in order. A statement ends with `;` at the end of a line. */
export function statementsOf(text: string): string[] {
  const withoutComments = text.replace(/^\s*--.*$/gm, '')
  return withoutComments
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}

/**
 * Runs the statements of an SQL file. A column or an index may be there already: MySQL commits each change of a table by
 * itself, so an earlier run may have been cut off half-way.
 */
export async function runStatements(db: Database, file: URL): Promise<void> {
  for (const statement of statementsOf(readFileSync(file, 'utf8'))) {
    await sql
      .raw(statement)
      .execute(db)
      .catch((error) => {
        if (!isAlreadyThere(error)) throw error
      })
  }
}

/** The numbered migrations of one engine: `0001_initial.mysql.sql` is `0001_initial`. */
function migrationsIn(folder: URL, engine: Engine): Record<string, Migration> {
  const ending = `.${engine}.sql`
  const files = readdirSync(folder).filter((file) => file.endsWith(ending))
  return Object.fromEntries(
    files.map((file) => [
      file.slice(0, -ending.length),
      { up: (db: Database) => runStatements(db, new URL(file, folder)) },
    ]),
  )
}

function migratorOf(db: Database, folder: URL): Migrator {
  const { engine } = dialectOf(db)
  return new Migrator({ db, provider: { getMigrations: async () => migrationsIn(folder, engine) } })
}

/** The names of migrations in a folder that the database has not seen yet. */
export async function findPendingMigrations(db: Database, folder: URL): Promise<string[]> {
  const migrations = await migratorOf(db, folder).getMigrations()
  return migrations.filter((migration) => migration.executedAt === undefined).map((migration) => migration.name)
}

/**
 * Runs the pending migrations of a folder and returns their names. Safe to run twice, and from many machines at once: a
 * lock of the server (MySQL), of the cluster, or of the file (SQLite) lets one in, and the others find nothing to do.
 */
export async function runMigrations(db: Database, folder: URL): Promise<string[]> {
  const run = () => migratorOf(db, folder).migrateToLatest()
  // Taking the lock needs the right to make tables. A service that has nothing to migrate need not have it.
  const needsLock = (await isCluster(db)) && (await findPendingMigrations(db, folder)).length > 0
  const { error, results = [] } = await (needsLock ? aloneInCluster(db, run) : run())
  if (error !== undefined) throw error
  return results.map((result) => result.migrationName)
}

/** The row of the lock table for maintenance. Migrations have another one. */
const MAINTENANCE = 'maintenance'

/**
 * Lets one command at a time do maintenance, until the transaction ends. No request waits for it. The row is changed rather
 * than locked, because the nodes of a cluster share changes but no locks. A write transaction of SQLite is alone anyway.
 */
export async function lockMaintenance(trx: Database): Promise<void> {
  if (dialectOf(trx).engine === 'sqlite') return
  await sql`insert into ${sql.table(DEFAULT_MIGRATION_LOCK_TABLE)} (id, is_locked) values (${MAINTENANCE}, 1) on duplicate key update is_locked = 1 - is_locked`.execute(
    trx,
  )
}

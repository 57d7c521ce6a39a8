import { readdirSync, readFileSync } from 'node:fs'
import { sql } from 'kysely'
import { DEFAULT_MIGRATION_LOCK_TABLE, type Migration, Migrator } from 'kysely/migration'
import type { Database } from './database.ts'
import { isThereAlready } from './database-errors.ts'
import { dialectOf, type Engine } from './dialect.ts'

const DB_FOLDER = new URL('../../db/', import.meta.url)

/** The statements of an SQL file, in order. A statement ends with `;` at the end of a line. */
export function statementsOf(text: string): string[] {
  const withoutComments = text.replace(/^\s*--.*$/gm, '')
  return withoutComments
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}

/** Each may find its work done already, by a run that was cut off: MySQL commits every change of a table by itself. */
async function runStatements(db: Database, file: URL): Promise<void> {
  for (const statement of statementsOf(readFileSync(file, 'utf8'))) {
    await sql
      .raw(statement)
      .execute(db)
      .catch((error) => {
        if (!isThereAlready(error)) throw error
      })
  }
}

/** The numbered migrations of one engine: `db/migrations/0001_initial.mysql.sql` is `0001_initial`. */
function migrationsOf(engine: Engine): Record<string, Migration> {
  const folder = new URL('migrations/', DB_FOLDER)
  const ending = `.${engine}.sql`
  const files = readdirSync(folder).filter((file) => file.endsWith(ending))
  return Object.fromEntries(
    files.map((file) => [
      file.slice(0, -ending.length),
      { up: (db: Database) => runStatements(db, new URL(file, folder)) },
    ]),
  )
}

function migratorOf(db: Database): Migrator {
  const { engine } = dialectOf(db)
  return new Migrator({ db, provider: { getMigrations: async () => migrationsOf(engine) } })
}

/** The names of migrations that the database has not seen yet. */
export async function pendingMigrations(db: Database): Promise<string[]> {
  const migrations = await migratorOf(db).getMigrations()
  return migrations.filter((migration) => migration.executedAt === undefined).map((migration) => migration.name)
}

/**
 * Brings the database to the newest schema and returns the names of what ran. Safe to run twice and from many
 * machines at once: a server-side lock (MySQL) or the write lock (SQLite) lets one in, the others find nothing to do.
 */
export async function migrate(db: Database): Promise<string[]> {
  const { error, results = [] } = await migratorOf(db).migrateToLatest()
  if (error !== undefined) throw error
  return results.map((result) => result.migrationName)
}

/** Puts the demo data in, each row only where it is missing. Safe to run twice, and from two machines at once. */
export async function seed(db: Database): Promise<void> {
  await db.transaction().execute(async (trx) => {
    // One at a time: two that find the same row missing would both put it in.
    await sql`select id from ${sql.table(DEFAULT_MIGRATION_LOCK_TABLE)} ${dialectOf(trx).forUpdate}`.execute(trx)
    await runStatements(trx, new URL('seed.sql', DB_FOLDER))
  })
}

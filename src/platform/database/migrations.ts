import { readdirSync, readFileSync } from 'node:fs'
import { sql } from 'kysely'
import { DEFAULT_MIGRATION_LOCK_TABLE, type Migration, Migrator } from 'kysely/migration'
import { dialectOf, type Engine } from './dialect.ts'
import { isAnyDuplicate, isThereAlready } from './errors.ts'
import { aloneInCluster, isCluster } from './migration-lease.ts'
import type { Tables } from './tables.ts'
import { transact } from './transaction.ts'
import type { Database } from './types.ts'

const DB_FOLDER = new URL('../../../db/', import.meta.url)

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
 * machines at once: a lock of the server (MySQL), of the cluster, or of the file (SQLite) lets one in, and the others find
 * nothing to do.
 */
export async function migrate(db: Database): Promise<string[]> {
  const run = () => migratorOf(db).migrateToLatest()
  // The lock needs the right to make tables, which a service need not have where nothing is to be done.
  const needsLock = (await isCluster(db)) && (await pendingMigrations(db)).length > 0
  const { error, results = [] } = await (needsLock ? aloneInCluster(db, run) : run())
  if (error !== undefined) throw error
  return results.map((result) => result.migrationName)
}

/** Every table with rows of ours, each before those that it refers to. */
export const DATA_TABLES = [
  'order_items',
  'orders',
  'stock_adjustments',
  'customer_words',
  'product_words',
  'idempotency_keys',
  'api_clients',
  'customers',
  'products',
] as const satisfies (keyof Tables)[]

/** Those of them whose ids the database counts. */
const COUNTED_TABLES = ['order_items', 'orders', 'stock_adjustments', 'customers', 'products'] as const

/** What a database holds: no rows, the demo data and what was done with it since, or anything else. */
export type Holding = 'nothing' | 'demo data' | 'other data'

/** No caller has this principal, and the ledger's rows are never changed: see db/seed.sql. */
const SEED_PRINCIPAL = 'seed'

/** What the database holds now. */
export async function findHolding(db: Database): Promise<Holding> {
  const seeded = await db
    .selectFrom('stock_adjustments')
    .select('id')
    .where('id', '=', 1)
    .where('principal', '=', SEED_PRINCIPAL)
    .executeTakeFirst()
  if (seeded !== undefined) return 'demo data'
  return (await isEmpty(db)) ? 'nothing' : 'other data'
}

async function isEmpty(db: Database): Promise<boolean> {
  for (const table of DATA_TABLES) {
    const { rows } = await sql`select 1 as found from ${sql.table(table)} limit 1`.execute(db)
    if (rows.length > 0) return false
  }
  return true
}

/**
 * Puts the demo data into an empty database, all of it or none; changes nothing in any other. Safe to run twice, and from
 * many machines at once.
 * @returns what the database held before
 */
export async function seed(db: Database): Promise<Holding> {
  try {
    return await aloneInTransaction(db, async (trx) => {
      const holding = await findHolding(trx)
      if (holding === 'nothing') await insertDemoData(trx)
      return holding
    })
  } catch (error) {
    // A service wrote rows of its own since the tables were found empty. All of the demo data was rolled back.
    if (isAnyDuplicate(error)) return findHolding(db)
    throw error
  }
}

/** Deletes every row and puts the demo data in. Services may run meanwhile: they see the rows before, or those after. */
export async function resetDemoData(db: Database): Promise<void> {
  const { engine } = dialectOf(db)
  await aloneInTransaction(db, async (trx) => {
    for (const table of DATA_TABLES) await trx.deleteFrom(table).execute()
    // New ids go on from the highest one: from that of the demo data.
    if (engine === 'sqlite') await sql`delete from sqlite_sequence`.execute(trx)
    await insertDemoData(trx)
  })
  if (engine === 'sqlite') return
  for (const table of COUNTED_TABLES) await sql`alter table ${sql.table(table)} auto_increment = 1`.execute(db)
}

function insertDemoData(trx: Database): Promise<void> {
  return runStatements(trx, new URL('seed.sql', DB_FOLDER))
}

/** Two programs that find the tables empty would both fill them. */
function aloneInTransaction<T>(db: Database, work: (trx: Database) => Promise<T>): Promise<T> {
  return transact(db, async (trx) => {
    await lockMaintenance(trx)
    return work(trx)
  })
}

/** A row of its own, beside that of the migrations. */
const MAINTENANCE = 'maintenance'

/**
 * Lets one command at a time look after the database, until the transaction ends. No request waits for it. The row is
 * changed, because the nodes of a cluster share changes, and no locks. A write transaction of SQLite is alone anyway.
 */
export async function lockMaintenance(trx: Database): Promise<void> {
  if (dialectOf(trx).engine === 'sqlite') return
  await sql`insert into ${sql.table(DEFAULT_MIGRATION_LOCK_TABLE)} (id, is_locked) values (${MAINTENANCE}, 1) on duplicate key update is_locked = 1 - is_locked`.execute(
    trx,
  )
}

import { sql } from 'kysely'
import { dialectOf } from '../platform/database/dialect.ts'
import { isAnyDuplicate } from '../platform/database/errors.ts'
import { lockMaintenance, runStatements } from '../platform/database/migrations.ts'
import { transact } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { DATA_TABLES, DB_FOLDER, NOTE_TABLES } from './schema.ts'

/** The content of a database: no rows, the demo data (perhaps changed since), or other data. */
export type Holding = 'nothing' | 'demo data' | 'other data'

/** Marks the demo data in the ledger. No caller has this principal, and ledger rows never change: see db/seed.sql. */
const SEED_PRINCIPAL = 'seed'

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
 * Inserts the demo data into an empty database, in one transaction. Any other database stays unchanged. Running it
 * twice, or on many machines at once, is safe.
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
    // A service wrote rows after the tables were found empty. The transaction with the demo data was rolled back.
    if (isAnyDuplicate(error)) return findHolding(db)
    throw error
  }
}

/** Deletes every row and inserts the demo data. Services may run meanwhile: they see the old rows or the new ones. */
export async function resetDemoData(db: Database): Promise<void> {
  const { engine } = dialectOf(db)
  await aloneInTransaction(db, async (trx) => {
    for (const table of [...NOTE_TABLES, ...DATA_TABLES]) await trx.deleteFrom(table).execute()
    // Without a reset of the counters, new ids would not follow those of the demo data.
    if (engine === 'sqlite')
      await sql`delete from sqlite_sequence where name in (${sql.join(DATA_TABLES)})`.execute(trx)
    await insertDemoData(trx)
  })
  if (engine === 'sqlite') return
  for (const table of await findCountedTables(db)) {
    await sql`alter table ${sql.table(table)} auto_increment = 1`.execute(db)
  }
}

/** The product's tables whose ids the database server generates. The database may have tables of others. */
async function findCountedTables(db: Database): Promise<string[]> {
  const tables = await db.introspection.getTables()
  const counted = tables.filter(({ columns }) => columns.some(({ isAutoIncrementing }) => isAutoIncrementing))
  return DATA_TABLES.filter((table) => counted.some(({ name }) => name === table))
}

function insertDemoData(trx: Database): Promise<void> {
  return runStatements(trx, new URL('seed.sql', DB_FOLDER))
}

/** Only one program does this at a time: two that find the tables empty would both fill them. */
function aloneInTransaction<T>(db: Database, work: (trx: Database) => Promise<T>): Promise<T> {
  return transact(db, async (trx) => {
    await lockMaintenance(trx)
    return work(trx)
  })
}

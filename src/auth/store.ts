import type { Selectable } from 'kysely'
import type { Database } from '../platform/database.ts'
import { readClock } from '../platform/idempotency.ts'
import type { Tables } from '../platform/tables.ts'

export type ApiClient = Selectable<Tables['api_clients']>

/** Ids are visible ASCII. MySQL would fail to compare the column with more, and ignore spaces at the end. */
const CLIENT_ID = /^[\x21-\x7e]{1,64}$/

export async function findClient(db: Database, id: string): Promise<ApiClient | undefined> {
  if (!CLIENT_ID.test(id)) return undefined
  return db.selectFrom('api_clients').selectAll().where('id', '=', id).executeTakeFirst()
}

export async function insertClient(db: Database, client: Omit<ApiClient, 'created_at' | 'disabled_at'>): Promise<void> {
  await db
    .insertInto('api_clients')
    .values({ ...client, created_at: await readClock(db), disabled_at: null })
    .execute()
}

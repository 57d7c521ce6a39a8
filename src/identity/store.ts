import type { Selectable } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Tables } from '../platform/database/tables.ts'
import type { Database } from '../platform/database/types.ts'

export type ApiClient = Selectable<Tables['api_clients']>

/** Ids are visible ASCII: MySQL can't compare the column with other characters, and ignores trailing spaces. */
const CLIENT_ID = /^[\x21-\x7e]{1,64}$/

export async function findClient(db: Database, id: string): Promise<ApiClient | undefined> {
  if (!CLIENT_ID.test(id)) return undefined
  return await db.selectFrom('api_clients').selectAll().where('id', '=', id).executeTakeFirst()
}

/** Like {@link findClient}, with `now`, the database's time of the read. */
export async function findClientNow(db: Database, id: string): Promise<(ApiClient & { now: DbTime }) | undefined> {
  if (!CLIENT_ID.test(id)) return undefined
  const now = dialectOf(db).now.as('now')
  return db.selectFrom('api_clients').selectAll().select(now).where('id', '=', id).executeTakeFirst()
}

/** All clients, the oldest first, without the hashes of their secrets. */
export function findClients(db: Database): Promise<Omit<ApiClient, 'secret_hash'>[]> {
  return db
    .selectFrom('api_clients')
    .select(['id', 'name', 'scope', 'customer_id', 'created_at', 'disabled_at', 'tokens_from'])
    .orderBy('created_at')
    .orderBy('id')
    .execute()
}

export async function insertClient(
  db: Database,
  client: Pick<ApiClient, 'id' | 'name' | 'secret_hash' | 'scope' | 'customer_id'>,
): Promise<void> {
  await db
    .insertInto('api_clients')
    .values({ ...client, created_at: await readClock(db), disabled_at: null })
    .execute()
}

/** Changes a client if it exists. */
export async function updateClient(
  db: Database,
  id: string,
  changes: Partial<Pick<ApiClient, 'secret_hash' | 'disabled_at' | 'tokens_from'>>,
): Promise<void> {
  await db.updateTable('api_clients').set(changes).where('id', '=', id).execute()
}

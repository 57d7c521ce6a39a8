import { dialectOf } from '../database/dialect.ts'
import type { Database } from '../database/types.ts'

/** Removes records whose time has passed, about `limit` of them, and returns how many. */
export async function purgeExpiredKeys(db: Database, limit: number): Promise<number> {
  const last = await db
    .selectFrom('idempotency_keys')
    .select('expires_at')
    .where('expires_at', '<=', dialectOf(db).now)
    .orderBy('expires_at')
    .limit(1)
    .offset(limit - 1)
    .executeTakeFirst()
  const { numDeletedRows } = await db
    .deleteFrom('idempotency_keys')
    .where('expires_at', '<=', last?.expires_at ?? dialectOf(db).now)
    .executeTakeFirst()
  return Number(numDeletedRows)
}

import type { DbTime } from '../core/time.ts'
import { dialectOf } from './dialect.ts'
import type { Database } from './types.ts'

/** The database's clock: machines may disagree about the time, the database agrees with itself. */
export async function readClock(db: Database): Promise<DbTime> {
  const { now } = await db.selectNoFrom(dialectOf(db).now.as('now')).executeTakeFirstOrThrow()
  return now
}

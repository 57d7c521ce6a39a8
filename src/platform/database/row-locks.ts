import { sql } from 'kysely'
import { dialectOf } from './dialect.ts'
import { isLockWaitEnded } from './errors.ts'
import type { Tables } from './tables.ts'
import type { Database } from './types.ts'

/**
 * Locks rows without waiting.
 * @param lock locks these rows, or fails at once when another transaction holds one of them (`forUpdateNoWait`)
 * @returns the rows that others hold. If there are any, the transaction must end: a server may have undone it
 */
export async function findLockedRows<T>(
  rows: readonly T[],
  lock: (rows: readonly T[]) => Promise<unknown>,
): Promise<T[]> {
  if (rows.length === 0) return []
  try {
    await lock(rows)
    return []
  } catch (error) {
    if (!isLockWaitEnded(error)) throw error
    if (rows.length === 1) return [...rows]
    const half = Math.ceil(rows.length / 2)
    return [...(await findLockedRows(rows.slice(0, half), lock)), ...(await findLockedRows(rows.slice(half), lock))]
  }
}

/** The ids whose rows others hold; see {@link findLockedRows}. */
export function findLockedIds(trx: Database, table: keyof Tables, ids: Iterable<number>): Promise<number[]> {
  const sorted = [...new Set(ids)].sort((a, b) => a - b)
  return findLockedRows(sorted, (some) =>
    sql`select id from ${sql.table(table)} where id in (${sql.join(some)}) order by id ${dialectOf(trx).forUpdateNoWait}`.execute(
      trx,
    ),
  )
}

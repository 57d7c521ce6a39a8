import type { CompiledQuery } from 'kysely'
import { compileOnce } from '../platform/database/compiled-query.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Database } from '../platform/database/types.ts'

// What another domain may read and lock of customers, inside its own transaction.

/** The customers of these that exist now, whatever an earlier lookup said. */
export function liveCustomersQuery(trx: Database, ids: readonly number[]): CompiledQuery<{ id: number }> | undefined {
  if (ids.length === 0) return undefined
  return compileOnce(trx, `live customers ${ids.length}`, ids, () =>
    trx.selectFrom('customers').select('id').where('id', 'in', ids).where('deleted_at', 'is', null),
  )
}

/** Locks customers, by ascending ids: until the transaction ends, no other places an order for them or changes them. */
export function lockCustomersQuery(trx: Database, ids: readonly number[]): CompiledQuery<{ id: number }> | undefined {
  if (ids.length === 0) return undefined
  const sorted = [...ids].sort((a, b) => a - b)
  return trx
    .selectFrom('customers')
    .select('id')
    .where('id', 'in', sorted)
    .orderBy('id')
    .modifyEnd(dialectOf(trx).forUpdate)
    .compile()
}

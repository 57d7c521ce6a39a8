import type { CompiledQuery } from 'kysely'
import { compileOnce } from '../platform/database/compiled-query.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Database } from '../platform/database/types.ts'
import type { PoPolicy } from './tables.ts'

// The reads and locks of customers that another domain may do inside its own transaction.

/** A customer as it is when its order is placed. */
export interface LiveCustomer {
  id: number
  po_policy: PoPolicy
}

/** The customers among these ids that exist now. An earlier lookup may be out of date. */
export function liveCustomersQuery(trx: Database, ids: readonly number[]): CompiledQuery<LiveCustomer> | undefined {
  if (ids.length === 0) return undefined
  return compileOnce(trx, `live customers ${ids.length}`, ids, () =>
    trx.selectFrom('customers').select(['id', 'po_policy']).where('id', 'in', ids).where('deleted_at', 'is', null),
  )
}

/** Locks customers by ascending ids: until the transaction ends, no other one places their orders or changes them. */
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

import { CompiledQuery } from 'kysely'
import type { Database } from '../platform/database.ts'
import { dialectOf } from '../platform/dialect.ts'
import { later } from '../platform/grouping.ts'
import type { DbTime } from '../platform/time.ts'

// What an order does with products, inside its own transaction.

export interface Shelf {
  id: number
  price_cents: number
  stock: number
}

/**
 * Prices and stock of these products, which nobody else may change until the transaction ends. Locked in the order of
 * their ids, so that two transactions that want the same products wait for each other instead of deadlocking.
 */
export function lockingShelves(trx: Database, ids: readonly number[]): CompiledQuery<Shelf> | undefined {
  if (ids.length === 0) return undefined
  return trx
    .selectFrom('products')
    .select(['id', 'price_cents', 'stock'])
    .where(
      'id',
      'in',
      [...ids].sort((a, b) => a - b),
    )
    .orderBy('id')
    .modifyEnd(dialectOf(trx).forUpdate)
    .compile()
}

/** Adds to the stock of many products, with the transaction's next statement; a negative number takes away. */
export async function moveStock(trx: Database, deltas: ReadonlyMap<number, number>, now: DbTime): Promise<void> {
  if (deltas.size === 0) return
  const ids = [...deltas.keys()].sort((a, b) => a - b)
  const update = `
    update products
    set stock = stock + case id ${ids.map(() => 'when ? then ?').join(' ')} else 0 end,
      version = version + 1, updated_at = ?
    where id in (${ids.map(() => '?').join(', ')})`
  await later(trx, CompiledQuery.raw(update, [...ids.flatMap((id) => [id, deltas.get(id)]), now, ...ids]))
}

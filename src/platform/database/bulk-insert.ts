import { CompiledQuery, type Selectable } from 'kysely'
import type { Tables } from './tables.ts'

/**
 * One insert of many rows. It is written here because Kysely makes an object of every value first, which for a batch costs
 * more than all else that is done to it. Names are quoted in the one way that both engines take.
 */
export function bulkInsert<T extends keyof Tables, C extends keyof Selectable<Tables[T]> & string>(
  table: T,
  columns: readonly C[],
  rows: readonly Pick<Selectable<Tables[T]>, C>[],
): CompiledQuery {
  const names = columns.map((column) => `\`${column}\``).join(', ')
  const row = `(${columns.map(() => '?').join(', ')})`
  const values: unknown[] = []
  for (const each of rows) for (const column of columns) values.push(each[column])
  const sql = `insert into \`${table}\` (${names}) values ${rows.map(() => row).join(', ')}`
  return CompiledQuery.raw(sql, values)
}

/** Rows in portions that one insert may carry. */
export function* chunks<T>(rows: readonly T[], size: number): Generator<readonly T[]> {
  for (let i = 0; i < rows.length; i += size) yield rows.slice(i, i + size)
}

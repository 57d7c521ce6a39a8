import { CompiledQuery, type Selectable } from 'kysely'
import type { Tables } from './tables.ts'

/**
 * One insert of many rows. Kysely would make an object for every value, which costs a batch more than all the rest. Both
 * engines accept names in backticks.
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

/** Splits rows into chunks that one insert may carry. */
export function* chunks<T>(rows: readonly T[], size: number): Generator<readonly T[]> {
  for (let i = 0; i < rows.length; i += size) yield rows.slice(i, i + size)
}

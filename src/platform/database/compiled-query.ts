import { CompiledQuery } from 'kysely'
import { dialectOf, type Engine } from './dialect.ts'
import type { Database } from './types.ts'

const texts: Record<Engine, Map<string, string>> = { mysql: new Map(), sqlite: new Map() }

/**
 * A query whose text is compiled once: for a batch, compiling costs more than sending. It keeps a text for each shape, so
 * shapes must be few.
 * @param shape names the query and how many values it has: all that its text depends on, besides the engine
 * @param values the query's parameters, in their order
 */
export function compileOnce<R>(
  db: Database,
  shape: string,
  values: readonly unknown[],
  build: () => { compile(): CompiledQuery<R> },
): CompiledQuery<R> {
  const known = texts[dialectOf(db).engine]
  const text = known.get(shape)
  if (text !== undefined) return CompiledQuery.raw(text, [...values])
  const query = build().compile()
  known.set(shape, query.sql)
  return query
}

import { CompiledQuery } from 'kysely'
import { dialectOf, type Engine } from './dialect.ts'
import type { Database } from './types.ts'

const texts: Record<Engine, Map<string, string>> = { mysql: new Map(), sqlite: new Map() }

/**
 * A query whose text is compiled once: for a batch, compiling costs more than sending. Every shape's text is kept, so there
 * must be few shapes.
 * @param shape everything that the text depends on besides the engine: the query's name and its number of values
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

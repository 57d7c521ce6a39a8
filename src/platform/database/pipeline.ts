import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { dialectOf } from './dialect.ts'
import type { Database } from './types.ts'

/** A connection that can send several statements at once. Each engine's is in its own file. */
export interface GroupingConnection extends DatabaseConnection {
  enqueueWrite(query: CompiledQuery): Promise<void>
  pipeline(queries: readonly CompiledQuery[]): Promise<QueryResult<unknown>[]>
}

/**
 * A write of a transaction whose outcome is not needed before the commit: it travels with the next statement, the commit
 * at the latest. Its failure is then that one's.
 */
export function enqueueWrite(trx: Database, query: CompiledQuery): Promise<void> {
  if (!trx.isTransaction) throw new Error('nothing comes later outside a transaction')
  return onConnection(trx, (connection) => connection.enqueueWrite(query))
}

/** The rows of some queries in one round trip, in their order; none where there is no query. */
export async function pipeline<T extends unknown[]>(
  db: Database,
  ...queries: { [I in keyof T]: CompiledQuery<T[I]> | undefined }
): Promise<{ [I in keyof T]: T[I][] }> {
  const results = await runPipeline(db, queries)
  return unsafeCast<{ [I in keyof T]: T[I][] }>(results.map((result) => result?.rows ?? []))
}

/** A locking read that waits no longer than so many ms for rows that another transaction has locked; undefined is none. */
export function withLockWait<R>(
  db: Database,
  query: CompiledQuery<R> | undefined,
  ms: number,
): CompiledQuery<R> | undefined {
  return query && dialectOf(db).limitTime(query, ms)
}

/** What came of some writes in one round trip, in their order; undefined where there is no write. */
export async function runPipeline(
  db: Database,
  queries: readonly (CompiledQuery | undefined)[],
): Promise<(QueryResult<unknown> | undefined)[]> {
  const asked = queries.filter((query) => query !== undefined)
  const results = (await onConnection(db, (connection) => connection.pipeline(asked))).values()
  return queries.map((query) => query && results.next().value)
}

function onConnection<T>(db: Database, work: (connection: GroupingConnection) => Promise<T>): Promise<T> {
  return db.getExecutor().provideConnection((connection) => work(unsafeCast<GroupingConnection>(connection)))
}

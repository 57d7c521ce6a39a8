import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { Span } from '../telemetry/spans.ts'
import { dialectOf } from './dialect.ts'
import type { Database } from './types.ts'

/** A connection that can send several statements at once. Each engine has its own in its file. */
export interface PipelineConnection extends DatabaseConnection {
  /** What it sends is shown below this span. */
  span: Span | undefined
  enqueueWrite(query: CompiledQuery): Promise<void>
  pipeline(queries: readonly CompiledQuery[]): Promise<QueryResult<unknown>[]>
}

/**
 * Queues a write whose result is not needed before the commit. It is sent with the transaction's next statement, at the
 * latest with the commit, and its failure appears there.
 */
export function enqueueWrite(trx: Database, query: CompiledQuery): Promise<void> {
  if (!trx.isTransaction) throw new Error('a write can be queued inside a transaction only')
  return onConnection(trx, (connection) => connection.enqueueWrite(query))
}

/** Runs queries in one round trip. @returns their rows in the same order; none for an undefined query */
export async function pipeline<T extends unknown[]>(
  db: Database,
  ...queries: { [I in keyof T]: CompiledQuery<T[I]> | undefined }
): Promise<{ [I in keyof T]: T[I][] }> {
  const results = await runPipeline(db, queries)
  return unsafeCast<{ [I in keyof T]: T[I][] }>(results.map((result) => result?.rows ?? []))
}

/** Bounds how long a locking read waits for rows that another transaction has locked. */
export function withLockWait<R>(
  db: Database,
  query: CompiledQuery<R> | undefined,
  ms: number,
): CompiledQuery<R> | undefined {
  return query && dialectOf(db).limitTime(query, ms)
}

/** Runs writes in one round trip. @returns their results in the same order; undefined for an undefined write */
export async function runPipeline(
  db: Database,
  queries: readonly (CompiledQuery | undefined)[],
): Promise<(QueryResult<unknown> | undefined)[]> {
  const asked = queries.filter((query) => query !== undefined)
  const results = (await onConnection(db, (connection) => connection.pipeline(asked))).values()
  return queries.map((query) => query && results.next().value)
}

export function onConnection<T>(db: Database, work: (connection: PipelineConnection) => Promise<T>): Promise<T> {
  return db.getExecutor().provideConnection((connection) => work(unsafeCast<PipelineConnection>(connection)))
}

import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely'
import type { Database } from './database.ts'
import { trusted } from './trusted.ts'

/** A connection that can send several statements at once. Each engine's is in its own file. */
export interface GroupingConnection extends DatabaseConnection {
  later(query: CompiledQuery): Promise<void>
  together(queries: readonly CompiledQuery[]): Promise<QueryResult<unknown>[]>
}

/**
 * A write of a transaction whose outcome is not needed before the commit: it travels with the next statement, the commit
 * at the latest. Its failure is then that one's.
 */
export function later(trx: Database, query: CompiledQuery): Promise<void> {
  if (!trx.isTransaction) throw new Error('nothing comes later outside a transaction')
  return onConnection(trx, (connection) => connection.later(query))
}

/** The rows of two queries in one round trip. */
export async function together<A, B>(db: Database, a: CompiledQuery<A>, b: CompiledQuery<B>): Promise<[A[], B[]]> {
  const [first, second] = await onConnection(db, (connection) => connection.together([a, b]))
  return [trusted<A[]>(first?.rows), trusted<B[]>(second?.rows)]
}

function onConnection<T>(db: Database, work: (connection: GroupingConnection) => Promise<T>): Promise<T> {
  return db.getExecutor().provideConnection((connection) => work(trusted<GroupingConnection>(connection)))
}

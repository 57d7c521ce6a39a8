import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  MysqlDialect,
  type MysqlDialectConfig,
  MysqlDriver,
  type QueryResult,
} from 'kysely'
import type { GroupingConnection } from './grouping.ts'
import { trusted } from './trusted.ts'

const BEGIN = CompiledQuery.raw('begin')
const COMMIT = CompiledQuery.raw('commit')
const ROLLBACK = CompiledQuery.raw('rollback')

/**
 * Kysely over mysql2, with fewer round trips: statements that need not be waited for one by one share a packet. The pool
 * must allow several statements in one query. When one of them fails, the server runs none of those after it.
 */
export function mysqlDialect(config: MysqlDialectConfig): Dialect {
  const standard = new MysqlDialect(config)
  return {
    createAdapter: () => standard.createAdapter(),
    createDriver: () => new GroupingMysqlDriver(config),
    createIntrospector: (db) => standard.createIntrospector(db),
    createQueryCompiler: () => standard.createQueryCompiler(),
  }
}

class GroupingMysqlDriver implements Driver {
  readonly #standard: MysqlDriver

  constructor(config: MysqlDialectConfig) {
    this.#standard = new MysqlDriver(config)
  }

  init(): Promise<void> {
    return this.#standard.init()
  }

  async acquireConnection(): Promise<GroupingMysqlConnection> {
    const connection = await this.#standard.acquireConnection()
    return new GroupingMysqlConnection(connection, () => this.#standard.releaseConnection(trusted(connection)))
  }

  /** `begin` travels with the first statement. */
  async beginTransaction(connection: GroupingMysqlConnection): Promise<void> {
    await connection.later(BEGIN)
  }

  async commitTransaction(connection: GroupingMysqlConnection): Promise<void> {
    await connection.executeQuery(COMMIT)
  }

  async rollbackTransaction(connection: GroupingMysqlConnection): Promise<void> {
    connection.forget()
    await connection.executeQuery(ROLLBACK)
  }

  releaseConnection(connection: GroupingMysqlConnection): Promise<void> {
    return connection.release()
  }

  destroy(): Promise<void> {
    return this.#standard.destroy()
  }
}

class GroupingMysqlConnection implements GroupingConnection {
  readonly #inner: DatabaseConnection
  readonly release: () => Promise<void>
  #waiting: CompiledQuery[] = []

  constructor(inner: DatabaseConnection, release: () => Promise<void>) {
    this.#inner = inner
    this.release = release
  }

  async later(query: CompiledQuery): Promise<void> {
    this.#waiting.push(query)
  }

  forget(): void {
    this.#waiting = []
  }

  async together(queries: readonly CompiledQuery[]): Promise<QueryResult<unknown>[]> {
    const all = [...this.#waiting, ...queries]
    this.#waiting = []
    const [only, second] = all
    if (only === undefined) return []
    if (second === undefined) return [await this.#inner.executeQuery(only)]
    const sql = all.map((query) => query.sql).join(';')
    const parameters = all.flatMap((query) => query.parameters)
    const { rows } = await this.#inner.executeQuery(CompiledQuery.raw(sql, parameters))
    return rows.slice(-queries.length).map(resultOf)
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#waiting.length === 0) return this.#inner.executeQuery<R>(query)
    const [result] = await this.together([query])
    return trusted<QueryResult<R>>(result)
  }

  streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    return this.#inner.streamQuery<R>(query, chunkSize)
  }
}

/** Rows, or the server's OK: of how many rows, and of the first id that it generated. */
function resultOf(result: unknown): QueryResult<unknown> {
  if (Array.isArray(result)) return { rows: result }
  const { insertId, affectedRows } = trusted<{ insertId: number | string; affectedRows: number }>(result)
  return { rows: [], insertId: BigInt(insertId), numAffectedRows: BigInt(affectedRows) }
}

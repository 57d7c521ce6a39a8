import {
  CompiledQuery,
  type Dialect,
  type Driver,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
  type QueryResult,
} from 'kysely'
import type { Pool, PoolConnection } from 'mysql2'
import { PoolExhausted } from './database-errors.ts'
import type { GroupingConnection } from './grouping.ts'
import { trusted } from './trusted.ts'

const BEGIN = CompiledQuery.raw('begin')
const COMMIT = CompiledQuery.raw('commit')
const ROLLBACK = CompiledQuery.raw('rollback')

/**
 * Kysely over mysql2, with fewer round trips than Kysely's own: statements that need not be waited for one by one share a
 * packet. The pool must allow several statements in one query. When one of them fails, the server runs none of those
 * after it.
 */
export function mysqlDialect(pool: Pool, timeoutMs: number): Dialect {
  return {
    createAdapter: () => new MysqlAdapter(),
    createDriver: () => new MysqlDriver(pool, timeoutMs),
    createIntrospector: (db) => new MysqlIntrospector(db),
    createQueryCompiler: () => new MysqlQueryCompiler(),
  }
}

class MysqlDriver implements Driver {
  readonly #pool: Pool
  readonly #timeoutMs: number

  constructor(pool: Pool, timeoutMs: number) {
    this.#pool = pool
    this.#timeoutMs = timeoutMs
  }

  async init(): Promise<void> {}

  /** Waits for a free connection no longer than for a statement. */
  acquireConnection(): Promise<MysqlConnection> {
    return new Promise((resolve, reject) => {
      let givenUp = false
      const giveUp = () => {
        givenUp = true
        reject(new PoolExhausted('no connection became free in time'))
      }
      const timer = this.#timeoutMs > 0 ? setTimeout(giveUp, this.#timeoutMs) : undefined
      this.#pool.getConnection((error, connection) => {
        clearTimeout(timer)
        if (error) reject(error)
        else if (givenUp) connection.release()
        else resolve(new MysqlConnection(connection, this.#timeoutMs))
      })
    })
  }

  /** `begin` travels with the first statement. */
  async beginTransaction(connection: MysqlConnection): Promise<void> {
    await connection.later(BEGIN)
  }

  async commitTransaction(connection: MysqlConnection): Promise<void> {
    await connection.executeQuery(COMMIT)
  }

  async rollbackTransaction(connection: MysqlConnection): Promise<void> {
    connection.forget()
    await connection.executeQuery(ROLLBACK)
  }

  async releaseConnection(connection: MysqlConnection): Promise<void> {
    connection.release()
  }

  destroy(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pool.end((error) => (error ? reject(error) : resolve()))
    })
  }
}

class MysqlConnection implements GroupingConnection {
  readonly #connection: PoolConnection
  readonly #timeoutMs: number
  #waiting: CompiledQuery[] = []

  constructor(connection: PoolConnection, timeoutMs: number) {
    this.#connection = connection
    this.#timeoutMs = timeoutMs
  }

  async later(query: CompiledQuery): Promise<void> {
    this.#waiting.push(query)
  }

  forget(): void {
    this.#waiting = []
  }

  release(): void {
    this.#connection.release()
  }

  async together(queries: readonly CompiledQuery[]): Promise<QueryResult<unknown>[]> {
    if (queries.length === 0) return []
    const all = [...this.#waiting, ...queries]
    this.#waiting = []
    const sql = all.map((query) => query.sql).join(';')
    const values = all.flatMap((query) => query.parameters)
    const result = await this.#send(sql, values).catch((error) => {
      throw withWhere(error, new Error())
    })
    const results = all.length > 1 ? trusted<unknown[]>(result) : [result]
    return results.slice(-queries.length).map(resultOf)
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const [result] = await this.together([query])
    return trusted<QueryResult<R>>(result)
  }

  // biome-ignore lint/correctness/useYield: Kysely asks for the method; nothing here streams.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('streaming is not supported')
  }

  #send(sql: string, values: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#connection.query({ sql, values, timeout: this.#timeoutMs }, (error, result) => {
        if (!error) return resolve(result)
        // Its answer may still come, and would be taken for that of the next statement.
        if (error.code === 'PROTOCOL_SEQUENCE_TIMEOUT') this.#connection.destroy()
        reject(error)
      })
    })
  }
}

/** The driver's own stack ends at the socket: it does not say whose statement failed. */
function withWhere(error: unknown, where: Error): unknown {
  if (error instanceof Error) error.stack += `\n${where.stack?.split('\n').slice(1).join('\n')}`
  return error
}

/** Rows, or the server's OK: of how many rows, and of the first id that it generated. */
function resultOf(result: unknown): QueryResult<unknown> {
  if (Array.isArray(result)) return { rows: result }
  const { insertId, affectedRows } = trusted<{ insertId: number | string; affectedRows: number }>(result)
  return { rows: [], insertId: BigInt(insertId), numAffectedRows: BigInt(affectedRows) }
}

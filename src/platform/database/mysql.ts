import {
  CompiledQuery,
  type Dialect,
  type Driver,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
  type QueryResult,
} from 'kysely'
import type { Pool } from 'mysql2'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { limitSelectTime } from './dialect.ts'
import { isConnectionLost, isTimeLimitReached, isTimeout, leadsToReader, ReadTimedOut, RolledBack } from './errors.ts'
import { createMysqlPool, type Loan, type MysqlPool, type MysqlPoolOptions, type WorkKind } from './mysql-pool.ts'
import type { PipelineConnection } from './pipeline.ts'
import { createStatementTimer } from './statement-timer.ts'
import { hideValues, requirePlainValues } from './statement-values.ts'

const BEGIN = CompiledQuery.raw('begin')
const COMMIT = CompiledQuery.raw('commit')
const ROLLBACK = CompiledQuery.raw('rollback')

/** We wait this much longer than the server's own limit: a read that the server ends keeps its connection. */
const RESPONSE_GRACE_MS = 500
const MAX_RETRIES = 2

/** Times in ms; 0 is no limit. */
export interface StatementLimits {
  queryTimeoutMs: number
  /** For a read outside a transaction, including its wait for a connection. */
  readTimeoutMs: number
}

interface Statements extends StatementLimits {
  timed: ReturnType<typeof createStatementTimer>
}

/**
 * Kysely over mysql2, with fewer round trips than Kysely's own dialect: statements that need not be waited for one by one
 * share a packet. The pool must allow several statements in one query. When one fails, the server runs none of those after
 * it; a Galera node might, so there fewer statements share a packet.
 */
export function mysqlDialect(pool: Pool, options: MysqlPoolOptions, limits: StatementLimits): Dialect {
  return {
    createAdapter: () => new MysqlAdapter(),
    createDriver: () =>
      new MysqlDriver(pool, createMysqlPool(pool, options), {
        ...limits,
        timed: createStatementTimer(options.telemetry),
      }),
    createIntrospector: (db) => new MysqlIntrospector(db),
    createQueryCompiler: () => new MysqlQueryCompiler(),
  }
}

class MysqlDriver implements Driver {
  readonly #driverPool: Pool
  readonly #pool: MysqlPool
  readonly #limits: Statements

  constructor(driverPool: Pool, pool: MysqlPool, limits: Statements) {
    this.#driverPool = driverPool
    this.#pool = pool
    this.#limits = limits
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<MysqlConnection> {
    return new MysqlConnection(this.#pool, this.#limits)
  }

  /** `begin` is sent with the first statement. */
  async beginTransaction(connection: MysqlConnection): Promise<void> {
    connection.begin()
  }

  async commitTransaction(connection: MysqlConnection): Promise<void> {
    await connection.executeQuery(COMMIT)
  }

  async rollbackTransaction(connection: MysqlConnection): Promise<void> {
    await connection.rollback()
  }

  async releaseConnection(connection: MysqlConnection): Promise<void> {
    connection.release()
  }

  destroy(): Promise<void> {
    this.#pool.close()
    return new Promise((resolve, reject) => {
      this.#driverPool.end((error) => (error ? reject(error) : resolve()))
    })
  }
}

/** Borrows from the pool with its first statement: only then is it known whether it is part of a transaction. */
class MysqlConnection implements PipelineConnection {
  readonly #pool: MysqlPool
  readonly #limits: Statements
  #loan: Loan | undefined
  #begun = false
  #queued: CompiledQuery[] = []

  constructor(pool: MysqlPool, limits: Statements) {
    this.#pool = pool
    this.#limits = limits
  }

  begin(): void {
    this.#begun = true
    this.#queued.push(BEGIN)
  }

  /** When the connection is lost, the server rolls back by itself. */
  async rollback(): Promise<void> {
    this.#queued = []
    if (this.#loan?.isUsable()) await this.executeQuery(ROLLBACK)
  }

  async enqueueWrite(query: CompiledQuery): Promise<void> {
    this.#queued.push(query)
  }

  release(): void {
    this.#loan?.giveBack()
  }

  async pipeline(queries: readonly CompiledQuery[]): Promise<QueryResult<unknown>[]> {
    if (queries.length === 0) return []
    const all = [...this.#queued, ...queries]
    this.#queued = []
    const results = await this.#run(all).catch((error) => {
      throw withCallSite(error, new Error())
    })
    return results.slice(-queries.length).map(resultOf)
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const [result] = await this.pipeline([query])
    return unsafeCast<QueryResult<R>>(result)
  }

  // biome-ignore lint/correctness/useYield: Kysely asks for the method; nothing here streams.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('streaming is not supported')
  }

  /** A statement outside a transaction runs again on another connection when its own can no longer be used. */
  async #run(queries: readonly CompiledQuery[]): Promise<unknown[]> {
    const kind = this.#begun || this.#limits.readTimeoutMs === 0 ? 'write' : kindOf(queries)
    const isRead = kind !== 'write'
    const mayRetry = !this.#begun && this.#loan === undefined
    const until = this.#untilFor(isRead)
    for (let retries = 0; ; retries++) {
      try {
        return await this.#runOn(await this.#borrow(kind, until), queries, isRead, until)
      } catch (error) {
        if (!mayRetry || retries === MAX_RETRIES || this.#loan === undefined || !isWorthRetrying(error, isRead))
          throw error
        this.#loan.giveBack()
        this.#loan = undefined
      }
    }
  }

  /** The wait for a free connection has the limit of a statement. */
  #untilFor(isRead: boolean): number {
    const { queryTimeoutMs, readTimeoutMs } = this.#limits
    const limits = [queryTimeoutMs, isRead ? readTimeoutMs : 0].filter((ms) => ms > 0)
    return performance.now() + Math.min(...limits, Number.POSITIVE_INFINITY)
  }

  async #borrow(kind: WorkKind, until: number): Promise<Loan> {
    this.#loan ??= await this.#pool.lend({ kind, until })
    return this.#loan
  }

  /** A read's time limit includes its wait for a connection. */
  async #runOn(loan: Loan, queries: readonly CompiledQuery[], isRead: boolean, until: number): Promise<unknown[]> {
    if (!isRead) return this.#send(loan, queries, this.#limits.queryTimeoutMs)
    const leftMs = Math.max(1, Math.ceil(until - performance.now()))
    const limited = queries.map((query) => limitSelectTime(query, leftMs))
    return this.#send(loan, limited, leftMs + RESPONSE_GRACE_MS).catch((error) => {
      throw isTimeLimitReached(error) ? new ReadTimedOut('the read took too long', { cause: error }) : error
    })
  }

  async #send(loan: Loan, queries: readonly CompiledQuery[], timeout: number): Promise<unknown[]> {
    if (!loan.server.isGalera) return this.#sendPacket(loan, queries, timeout)
    const results: unknown[] = []
    for (const packet of packetsForGalera(queries)) {
      const checked = this.#begun && !endsTransaction(packet) ? [...packet, NOTHING] : packet
      const outcomes = await this.#sendPacket(loan, checked, timeout)
      if (checked !== packet) requireOpenTransaction(outcomes.pop())
      results.push(...outcomes)
    }
    return results
  }

  #sendPacket(loan: Loan, queries: readonly CompiledQuery[], timeout: number): Promise<unknown[]> {
    const sql = queries.map((query) => query.sql).join(';')
    const values = queries.flatMap((query) => query.parameters)
    requirePlainValues(values)
    const start = performance.now()
    return new Promise((resolve, reject) => {
      loan.connection.query({ sql, values, timeout }, (error, result) => {
        this.#limits.timed(queries.at(-1)?.sql ?? '', start)
        if (!error) return resolve(queries.length > 1 ? unsafeCast<unknown[]>(result) : [result])
        hideValues(error, sql, values)
        loan.failed(error)
        reject(error)
      })
    })
  }
}

/**
 * On a Galera node, another node's write can roll a transaction back after any of its statements, and MariaDB then runs the
 * packet's next statement in autocommit. So every write and the commit have packets of their own.
 */
function packetsForGalera(queries: readonly CompiledQuery[]): CompiledQuery[][] {
  const packets: CompiledQuery[][] = []
  let reads: CompiledQuery[] | undefined
  for (const query of queries) {
    const isRead = READ.test(query.sql)
    if (isRead && reads) reads.push(query)
    else packets.push([query])
    reads = isRead ? packets.at(-1) : undefined
  }
  return packets
}

/** `begin` and selects, after comments: MariaDB's time limits are in comments. */
const READ = /^\s*(?:\/\*.*?\*\/\s*)*(?:begin|select)\b/i
const SELECT = /^\s*(?:\/\*.*?\*\/\s*)*select\b/i

function endsTransaction([query]: readonly CompiledQuery[]): boolean {
  return query === COMMIT || query === ROLLBACK
}

/** Its result has the state of the transaction after the statements before it. */
const NOTHING = CompiledQuery.raw('do 0')
const IN_TRANSACTION = 1

/** @throws RolledBack when the server's status says that no transaction is open */
function requireOpenTransaction(result: unknown): void {
  const { serverStatus } = unsafeCast<{ serverStatus: number }>(result)
  if ((serverStatus & IN_TRANSACTION) === 0) throw new RolledBack("another node's write ended the transaction")
}

/** Retrying is safe for reads, and for writes that a read-only server refused. */
function isWorthRetrying(error: unknown, isRead: boolean): boolean {
  return leadsToReader(error) || (isRead && isConnectionLost(error) && !isTimeout(error))
}

/** Lists have a limit clause. Selects of user locks and of the schema count as writes: they may take longer than reads. */
function kindOf(queries: readonly CompiledQuery[]): WorkKind {
  if (!queries.every(({ sql }) => SELECT.test(sql) && /\bfrom\s+(?!`information_schema)/i.test(sql))) return 'write'
  return queries.some(({ sql }) => /\blimit\b/i.test(sql)) ? 'list' : 'read'
}

/** The driver's own stack ends at the socket and does not show the caller. */
function withCallSite(error: unknown, callSite: Error): unknown {
  if (error instanceof Error) error.stack += `\n${callSite.stack?.split('\n').slice(1).join('\n')}`
  return error
}

/** Rows, or the server's OK with the number of changed rows and the first generated id. */
function resultOf(result: unknown): QueryResult<unknown> {
  if (Array.isArray(result)) return { rows: result }
  const { insertId, affectedRows } = unsafeCast<{ insertId: number | string; affectedRows: number }>(result)
  return { rows: [], insertId: BigInt(insertId), numAffectedRows: BigInt(affectedRows) }
}

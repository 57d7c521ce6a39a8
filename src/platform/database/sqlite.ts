import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CompiledQuery,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { secondsSince } from '../telemetry/metrics.ts'
import { CONNECTION_WAIT_SECONDS, DATABASE_CONNECTIONS } from '../telemetry/series.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { isFileBusy, PoolExhausted } from './errors.ts'
import type { PipelineConnection } from './pipeline.ts'
import { createSlots, type GiveBack, type Slots } from './slots.ts'
import { createStatementTimer } from './statement-timer.ts'
import { requirePlainValues } from './statement-values.ts'

const MAX_PREPARED_STATEMENTS = 200

/** How long a transaction or a write waits, for its slot and for other programs that hold the file together. */
const MAX_FILE_WAIT_MS = 5_000
const MAX_PAUSE_MS = 50
/** After this long without a write that found the file held, the shared deadline is forgotten. */
const HELD_MEMORY_MS = 1_000
const NOT_HELD = { since: Number.NEGATIVE_INFINITY, seen: Number.NEGATIVE_INFINITY }

class TransactionalSqliteAdapter extends SqliteAdapter {
  /** All migrations run in one transaction: two processes that migrate one file at once never meet half-way. */
  override get supportsTransactionalDdl(): boolean {
    return true
  }

  /** The driver serializes transactions itself, because Kysely's own queue has no time limit. */
  override get supportsMultipleConnections(): boolean {
    return true
  }
}

/**
 * Kysely over Node's own `node:sqlite`: one connection, handed to one transaction at a time.
 * A transaction takes the write lock when it begins (`BEGIN IMMEDIATE`), so it never fails half-way for lack of it.
 * The file's busy timeout must be 0: a wait inside SQLite would stop the event loop.
 * @param readTimeoutMs how long a read outside a transaction waits for its slot and the file; 0 is as long as a write
 */
export function sqliteDialect(database: DatabaseSync, readTimeoutMs: number, telemetry: Telemetry): Dialect {
  return {
    createAdapter: () => new TransactionalSqliteAdapter(),
    createDriver: () => new SqliteDriver(database, readTimeoutMs || MAX_FILE_WAIT_MS, telemetry),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

class SqliteDriver implements Driver {
  readonly #file: SqliteFile
  readonly #readWaitMs: number

  constructor(database: DatabaseSync, readWaitMs: number, telemetry: Telemetry) {
    this.#file = new SqliteFile(database, telemetry)
    this.#readWaitMs = readWaitMs
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<SqliteConnection> {
    return new SqliteConnection(this.#file, this.#readWaitMs)
  }

  async beginTransaction(connection: SqliteConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'))
  }

  async commitTransaction(connection: SqliteConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'))
  }

  async rollbackTransaction(connection: SqliteConnection): Promise<void> {
    if (this.#file.isInTransaction()) await connection.executeQuery(CompiledQuery.raw('rollback'))
  }

  async releaseConnection(connection: SqliteConnection): Promise<void> {
    connection.release()
  }

  async destroy(): Promise<void> {
    this.#file.close()
  }
}

/** The one connection to the file, with its prepared statements. */
class SqliteFile {
  readonly #database: DatabaseSync
  readonly #prepared = new Map<string, ReturnType<DatabaseSync['prepare']>>()
  readonly #slot: Slots = createSlots(1)
  readonly #timed: ReturnType<typeof createStatementTimer>
  readonly #waited: (seconds: number) => void
  /** When writes first and last found that another program holds the file. */
  #held = NOT_HELD

  constructor(database: DatabaseSync, telemetry: Telemetry) {
    this.#database = database
    this.#timed = createStatementTimer(telemetry)
    this.#waited = telemetry.metrics.histogram(CONNECTION_WAIT_SECONDS)
    telemetry.metrics.atScrape(DATABASE_CONNECTIONS, () => [
      { labels: ['used'], value: this.#slot.inUse() },
      { labels: ['idle'], value: 1 - this.#slot.inUse() },
    ])
  }

  /** Takes the connection. @throws PoolExhausted */
  async take(until: number): Promise<GiveBack> {
    const start = performance.now()
    try {
      return await this.#slot.take(until)
    } finally {
      this.#waited(secondsSince(start))
    }
  }

  /**
   * Until when a write waits for the file, by `performance.now()`. Waiting writes share one deadline, so that a write
   * that queued behind others does not wait as long again.
   */
  writesUntil(): number {
    const now = performance.now()
    const { since, seen } = this.#held
    return seen + HELD_MEMORY_MS < now ? now + MAX_FILE_WAIT_MS : Math.max(now, since + MAX_FILE_WAIT_MS)
  }

  run<R>(sql: string, values: readonly unknown[]): QueryResult<R> {
    const start = performance.now()
    try {
      const result = this.#run<R>(sql, values)
      if (!isRead(sql)) this.#held = NOT_HELD
      return result
    } catch (error) {
      if (isFileBusy(error) && !isRead(sql)) this.#noteHeld(performance.now())
      throw error
    } finally {
      this.#timed(sql, start)
    }
  }

  #noteHeld(now: number): void {
    const { since, seen } = this.#held
    this.#held = { since: seen + HELD_MEMORY_MS < now ? now : since, seen: now }
  }

  #run<R>(sql: string, values: readonly unknown[]): QueryResult<R> {
    requirePlainValues(values)
    const inputs = unsafeCast<SQLInputValue[]>(values)
    const statement = this.#prepare(sql)
    if (statement.columns().length > 0) return { rows: unsafeCast<R[]>(statement.all(...inputs)) }
    const { changes, lastInsertRowid } = statement.run(...inputs)
    return { rows: [], insertId: BigInt(lastInsertRowid), numAffectedRows: BigInt(changes) }
  }

  isInTransaction(): boolean {
    return this.#database.isTransaction
  }

  close(): void {
    this.#database.close()
  }

  #prepare(sql: string) {
    const known = this.#prepared.get(sql)
    if (known) return known
    const statement = this.#database.prepare(sql)
    if (this.#prepared.size >= MAX_PREPARED_STATEMENTS) this.#prepared.clear()
    this.#prepared.set(sql, statement)
    return statement
  }
}

/** Holds the file from its first statement until its release. */
class SqliteConnection implements PipelineConnection {
  readonly #file: SqliteFile
  readonly #readWaitMs: number
  #giveBack: GiveBack | undefined

  constructor(file: SqliteFile, readWaitMs: number) {
    this.#file = file
    this.#readWaitMs = readWaitMs
  }

  /** Retries while another program holds the file. Before a transaction has begun, others may use the file meanwhile. */
  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const hasBegun = this.#giveBack !== undefined
    const until = isRead(sql) ? performance.now() + this.#readWaitMs : this.#file.writesUntil()
    for (let maxMs = 2; ; maxMs = Math.min(2 * maxMs, MAX_PAUSE_MS)) {
      this.#giveBack ??= await this.#file.take(until)
      try {
        return this.#file.run(sql, parameters)
      } catch (cause) {
        if (!isFileBusy(cause)) throw cause
        if (performance.now() >= until) throw new PoolExhausted('another program holds the database file', { cause })
      }
      if (!hasBegun) this.release()
      await sleep(1 + Math.random() * maxMs)
    }
  }

  release(): void {
    this.#giveBack?.()
    this.#giveBack = undefined
  }

  /** SQLite is in-process: there is no round trip to save, so the statement runs now. */
  async enqueueWrite(query: CompiledQuery): Promise<void> {
    await this.executeQuery(query)
  }

  async pipeline(queries: readonly CompiledQuery[]): Promise<QueryResult<unknown>[]> {
    const results: QueryResult<unknown>[] = []
    for (const query of queries) results.push(await this.executeQuery(query))
    return results
  }

  // biome-ignore lint/correctness/useYield: Kysely asks for the method; nothing here streams.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('streaming is not supported on SQLite')
  }
}

function isRead(sql: string): boolean {
  return /^\s*select\b/i.test(sql)
}

import { setInterval } from 'node:timers'
import type { Pool, PoolConnection } from 'mysql2'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { secondsSince } from '../telemetry/metrics.ts'
import { CONNECTION_WAIT_SECONDS, DATABASE_CONNECTIONS } from '../telemetry/series.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { isConnectionLost, isPrivilegeMissing, leadsToReader } from './errors.ts'
import { type MysqlServer, SERVER_QUERY, serverOf, sessionSettingsOn } from './mysql-server.ts'
import type { Writers } from './mysql-writers.ts'
import { createSlots, type GiveBack, untilTime } from './slots.ts'

export interface MysqlPoolOptions {
  /** Connections at once: as many as the pool of the driver may have. */
  connections: number
  /** Where several servers are named: which of them are written. */
  writers?: Writers | undefined
  /** Statements that set up every new connection before its first use. */
  session: readonly string[]
  /** How long that set-up may take. */
  sessionTimeoutMs: number
  /** A connection that was idle for longer is ended: the server is about to end it. */
  maxIdleMs: number
  telemetry: Telemetry
}

/** A connection for one transaction, or for one statement. */
export interface Loan {
  connection: PoolConnection
  server: MysqlServer
  /** Must be called with every error of a statement: after some errors the connection cannot be used again. */
  failed(error: unknown): void
  isUsable(): boolean
  giveBack(): void
}

/** Reads are outside transactions. A list is a read whose cost depends on the caller's filters. */
export type WorkKind = 'list' | 'read' | 'write'

export interface LendOptions {
  kind: WorkKind
  /** When to give up waiting, by `performance.now()`. */
  until: number
}

export interface MysqlPool {
  /** @throws PoolExhausted when no connection could be had in time, and the driver's error when none could be made */
  lend(options: LendOptions): Promise<Loan>
  /** Before the driver's pool is ended. */
  close(): void
}

/** A connection that was set up. Times are by `performance.now()`. */
interface ConnectionState {
  madeAt: number
  usedAt: number
  server: MysqlServer
}

const IDLE_CHECK_MS = 1_000

/**
 * How many connections each kind of work may have at once. Reads leave a quarter to transactions. Lists leave half of the
 * rest to other reads, because writes wait for those. Every kind has at least one.
 */
export function sharesOf(connections: number): Record<WorkKind, number> {
  const read = Math.max(1, connections - Math.ceil(connections / 4))
  return { write: connections, read, list: Math.max(1, Math.ceil(read / 2)) }
}

/**
 * Lends the connections of the driver's pool after setting them up. Once a connection turns out to lead to a read-only
 * server, no connection that was made before is used again: the address leads to another server now.
 */
export function createMysqlPool(pool: Pool, options: MysqlPoolOptions): MysqlPool {
  const shares = sharesOf(options.connections)
  const [lists, reads, all] = [createSlots(shares.list), createSlots(shares.read), createSlots(shares.write)]
  const slotsFor = { list: [lists, reads, all], read: [reads, all], write: [all] }
  const known = new WeakMap<PoolConnection, ConnectionState>()
  const idle = new Set<PoolConnection>()
  const idleCheck = setInterval(endIdle, IDLE_CHECK_MS).unref()
  /** When the address was last seen to lead to another server. */
  let failedOverAt = Number.NEGATIVE_INFINITY
  const { metrics } = options.telemetry
  const waited = metrics.histogram(CONNECTION_WAIT_SECONDS)
  metrics.atScrape(DATABASE_CONNECTIONS, () => [
    { labels: ['used'], value: all.inUse() },
    { labels: ['idle'], value: idle.size },
  ])

  async function lend(wanted: LendOptions): Promise<Loan> {
    const start = performance.now()
    try {
      return await lendInTime(wanted)
    } finally {
      waited(secondsSince(start))
    }
  }

  async function lendInTime({ kind, until }: LendOptions): Promise<Loan> {
    const giveBacks: GiveBack[] = []
    const giveBackAll = () => {
      for (const giveBack of giveBacks) giveBack()
    }
    try {
      for (const slots of slotsFor[kind]) giveBacks.push(await slots.take(until))
    } catch (error) {
      giveBackAll()
      throw error
    }
    const connecting = connect().then(
      ({ connection, server }) => loanOf(connection, server, giveBackAll),
      (error) => {
        giveBackAll()
        throw error
      },
    )
    return untilTime(until, connecting, (loan) => loan.giveBack())
  }

  async function connect(): Promise<{ connection: PoolConnection; server: MysqlServer }> {
    for (;;) {
      await options.writers?.ready()
      const askedAt = performance.now()
      const connection = await getConnection(pool).catch(doubting)
      idle.delete(connection)
      const state = known.get(connection)
      if (state === undefined) return prepare(connection, askedAt)
      if (
        state.madeAt > Math.max(failedOverAt, options.writers?.changedAt() ?? failedOverAt) &&
        !isIdleTooLong(connection)
      )
        return { connection, server: state.server }
      connection.destroy()
    }
  }

  function doubting(error: unknown): never {
    options.writers?.doubt()
    throw error
  }

  function isIdleTooLong(connection: PoolConnection): boolean {
    return performance.now() - (known.get(connection)?.usedAt ?? 0) > options.maxIdleMs
  }

  function endIdle(): void {
    for (const connection of idle) {
      if (!isIdleTooLong(connection)) continue
      idle.delete(connection)
      connection.end()
    }
  }

  async function prepare(connection: PoolConnection, madeAt: number) {
    const run = (statements: readonly string[]) => send(connection, statements.join(';'), options.sessionTimeoutMs)
    try {
      const server = serverOf((await run([...options.session, SERVER_QUERY])).at(-1))
      const settings = sessionSettingsOn(server)
      if (settings.length > 0) await run(settings).catch(ignoreMissingPrivilege)
      known.set(connection, { madeAt, usedAt: performance.now(), server })
      return { connection, server }
    } catch (error) {
      connection.destroy()
      throw error
    }
  }

  function loanOf(connection: PoolConnection, server: MysqlServer, giveBackAll: () => void): Loan {
    let usable = true
    return {
      connection,
      server,
      failed(error) {
        if (leadsToReader(error) || isConnectionLost(error)) options.writers?.doubt()
        if (leadsToReader(error)) failedOverAt = performance.now()
        // The late response would be taken for that of the next statement.
        else if (!isTimeout(error)) return
        usable = false
        connection.destroy()
      },
      isUsable: () => usable,
      giveBack() {
        const state = known.get(connection)
        if (state) state.usedAt = performance.now()
        if (usable) idle.add(connection)
        connection.release()
        giveBackAll()
      },
    }
  }

  function close(): void {
    clearInterval(idleCheck)
    options.writers?.close()
  }

  return { lend, close }
}

/** Ignores a missing privilege: the session then reads as the server is configured. @throws all other errors */
function ignoreMissingPrivilege(error: unknown): void {
  if (!isPrivilegeMissing(error)) throw error
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'PROTOCOL_SEQUENCE_TIMEOUT'
}

function getConnection(pool: Pool): Promise<PoolConnection> {
  return new Promise((resolve, reject) => {
    pool.getConnection((error, connection) => (error ? reject(error) : resolve(connection)))
  })
}

/** @returns the result of each statement; for a single statement, its result alone */
function send(connection: PoolConnection, sql: string, timeout: number): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    connection.query({ sql, timeout }, (error, results) =>
      error ? reject(error) : resolve(unsafeCast<unknown[]>(results)),
    )
  })
}

import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { endProcess } from '../../scripts/children.ts'
import { type Env, parseEnv } from '../../src/compose/env.ts'
import { SCOPES } from '../../src/compose/modules.ts'
import { createClient, signToken } from '../../src/identity/service.ts'
import { toRfc3339 } from '../../src/platform/core/time.ts'
import type { Database } from '../../src/platform/database/types.ts'
import type { DatabaseServer } from '../../testing/database-server.ts'
import { addClient, createDatabase, newDatabaseVariables, newSecrets, tokenFor } from '../../testing/fixture.ts'
import { makeCustomers, makeEvents, makeOrders } from '../../testing/many-rows.ts'
import { encodeRequest, RawConnection } from '../../testing/raw-http.ts'
import { allInOneProgram, freePorts, launch, untilUp } from '../../testing/service-processes.ts'

export interface Size {
  orders: number
  customers: number
  events: number
}

/** A position at which a page of orders begins. */
export interface Cursor {
  id: number
  /** RFC 3339. */
  createdAt: string
}

/** This system in one process, over a database of one size. */
export interface Fixture extends Size {
  /** Positions at a depth of the list, newest first: 0.5 is the middle. */
  cursorsAt(depth: number): Promise<Cursor[]>
  /** @param options.bound the caller is bound to the last customer, who hardly has an order */
  call(service: 'customers' | 'orders', options?: { bound?: boolean }): Caller
  stop(): Promise<void>
}

/** One connection, which a pause may close. */
export interface Caller {
  /** @throws Error when the response is not a page */
  get(path: string): Promise<void>
  close(): void
}

const CURSORS = 32
const CLIENT = 'bench'
const BOUND_CLIENT = 'bench-bound'
/** One statement fills a whole table. */
const MAX_FILL_MS = '600000'

/** @param tell reports progress */
export async function openFixture(
  size: Size,
  server: DatabaseServer | 'sqlite',
  folder: string,
  tell: (line: string) => void,
): Promise<Fixture> {
  const own = mkdtempSync(join(folder, 'scale-'))
  const ports = await freePorts()
  const settings = { NODE_ENV: 'production', LOG_LEVEL: 'warn', ...newSecrets() }
  const program = allInOneProgram(ports, {
    ...settings,
    ...newDatabaseVariables(server === 'sqlite' ? undefined : server, own),
  })
  const limits = { DB_QUERY_TIMEOUT_MS: MAX_FILL_MS, DB_READ_TIMEOUT_MS: MAX_FILL_MS }
  const env = parseEnv({ ...program.variables, ...limits })
  const db = await createDatabase(env.database)
  await fill(db, size, tell)

  const running = launch(program, own)
  const stop = async () => {
    await endProcess(running.child)
    await db.destroy()
  }
  const tokens = { all: await tokenFor(CLIENT, env), bound: await boundToken(db, size.customers, env) }
  await untilUp([ports.customers, ports.orders], [running]).catch(async (error) => {
    await stop()
    throw error
  })
  return {
    ...size,
    cursorsAt: (depth) => cursorsAt(db, size.orders, depth),
    call: (service, { bound = false } = {}) => callerOf(ports[service], bound ? tokens.bound : tokens.all),
    stop,
  }
}

function callerOf(port: number, token: string): Caller {
  const connection = new RawConnection(port)
  const headers = { authorization: `Bearer ${token}` }
  return {
    async get(path) {
      const { status, text } = await connection.send(encodeRequest({ method: 'GET', path, headers }))
      if (status !== 200) throw new Error(`GET ${path} answered ${status}: ${text.slice(0, 300)}`)
    },
    close: () => connection.close(),
  }
}

async function boundToken(db: Database, customerId: number, { jwt }: Env): Promise<string> {
  const client = { id: BOUND_CLIENT, name: BOUND_CLIENT, scopes: SCOPES, customerId }
  await createClient(db, client)
  const claims = { clientId: BOUND_CLIENT, scope: SCOPES.join(' '), customerId }
  return (await signToken({ ...jwt, ttlSeconds: 86_400 }, claims)).access_token
}

async function fill(db: Database, { orders, customers, events }: Size, tell: (line: string) => void): Promise<void> {
  await addClient(db, CLIENT)
  tell(`${customers.toLocaleString('en')} customers and their words`)
  await makeCustomers(db, customers)
  tell(`${orders.toLocaleString('en')} orders`)
  await makeOrders(db, { count: orders, customers })
  tell(`${events.toLocaleString('en')} events`)
  await makeEvents(db, { count: events, customers })
}

/** Orders at about this depth, found by id: ids follow creation times roughly. */
async function cursorsAt(db: Database, orders: number, depth: number): Promise<Cursor[]> {
  const about = Math.round(orders * (1 - depth))
  const ids = Array.from({ length: CURSORS }, (_, i) => Math.min(orders, Math.max(1, about + (i - CURSORS / 2) * 100)))
  const { rows } = await sql<{ id: number; created_at: string }>`
    select id, created_at from orders where id in (${sql.join(ids)})`.execute(db)
  return rows.map(({ id, created_at }) => ({ id, createdAt: toRfc3339(created_at) }))
}

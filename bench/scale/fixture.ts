import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import { endProcess, hasEnded } from '../../scripts/children.ts'
import { parseEnv } from '../../src/compose/env.ts'
import { SCOPES } from '../../src/compose/modules.ts'
import { migrate } from '../../src/compose/schema.ts'
import { createClient, signToken } from '../../src/identity/service.ts'
import { toRfc3339 } from '../../src/platform/core/time.ts'
import { ensureDatabase, openDatabase } from '../../src/platform/database/open.ts'
import type { Database } from '../../src/platform/database/types.ts'
import { type DatabaseServer, freePort } from '../../testing/database-server.ts'
import { makeCustomers, makeOrders } from '../../testing/many-rows.ts'
import { encodeRequest, RawConnection } from '../../testing/raw-http.ts'
import { databaseVariables } from '../systems.ts'

export interface Size {
  orders: number
  customers: number
}

/** Where a page of orders may begin. */
export interface Place {
  id: number
  /** RFC 3339. */
  createdAt: string
}

/** This system in one process, over a database of one size. */
export interface Ground extends Size {
  /** Of each depth of the list some, newest first: `at(0.5)` are some in its middle. */
  placesAt(depth: number): Promise<Place[]>
  call(service: 'customers' | 'orders'): Caller
  stop(): Promise<void>
}

/** One connection, which does not outlive a pause. */
export interface Caller {
  /** @throws Error when the answer is no page */
  get(path: string): Promise<void>
  close(): void
}

const PLACES = 32
const START_LIMIT_MS = 30_000
/** Each table is filled by one statement. */
const MAX_FILL_MS = '600000'

/** @param tell hears what is being done */
export async function openGround(
  size: Size,
  server: DatabaseServer | 'sqlite',
  folder: string,
  tell: (line: string) => void,
): Promise<Ground> {
  const name = `${server === 'sqlite' ? 'sqlite' : 'mysql'}-${size.orders}`
  const where = server === 'sqlite' ? { DB_FILE: join(folder, `${name}.sqlite`) } : databaseVariables(server)
  const [customers, orders, orchestrator] = [await freePort(), await freePort(), await freePort()]
  const variables = {
    ...where,
    NODE_ENV: 'production',
    LOG_LEVEL: 'warn',
    JWT_SECRET: randomBytes(32).toString('hex'),
    SERVICE_TOKEN: randomBytes(32).toString('hex'),
    CUSTOMERS_PORT: String(customers),
    ORDERS_PORT: String(orders),
    ORCHESTRATOR_PORT: String(orchestrator),
  }
  const { database, jwt } = parseEnv({
    ...variables,
    DB_QUERY_TIMEOUT_MS: MAX_FILL_MS,
    DB_READ_TIMEOUT_MS: MAX_FILL_MS,
  })
  await ensureDatabase(database)
  const db = await openDatabase(database)
  await fill(db, size, tell)

  const child = await startProcess(variables, folder, orders)
  const client = { clientId: 'bench', scope: SCOPES.join(' '), customerId: null }
  const { access_token } = await signToken({ ...jwt, ttlSeconds: 6 * 3600 }, client)
  const ports = { customers, orders }
  return {
    ...size,
    placesAt: (depth) => placesAt(db, size.orders, depth),
    call: (service) => callerOf(ports[service], access_token),
    async stop() {
      await endProcess(child)
      await db.destroy()
    },
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

async function fill(db: Database, { orders, customers }: Size, tell: (line: string) => void): Promise<void> {
  await migrate(db)
  await createClient(db, { id: 'bench', name: 'Bench', scopes: SCOPES, customerId: null })
  tell(`${customers.toLocaleString('en')} customers and their words`)
  await makeCustomers(db, customers)
  tell(`${orders.toLocaleString('en')} orders`)
  await makeOrders(db, { count: orders, customers })
}

async function startProcess(variables: Record<string, string>, folder: string, port: number): Promise<ChildProcess> {
  const program = fileURLToPath(new URL('../../src/entrypoints/all.ts', import.meta.url))
  const env = { PATH: process.env.PATH, ...variables }
  const said = join(folder, `${port}.err`)
  const err = openSync(said, 'w')
  const child = spawn(process.execPath, [program], { cwd: folder, env, stdio: ['ignore', 'ignore', err] })
  closeSync(err)
  const until = Date.now() + START_LIMIT_MS
  while (Date.now() < until && !hasEnded(child)) {
    const response = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined)
    await response?.body?.cancel()
    if (response?.ok) return child
    await sleep(50)
  }
  await endProcess(child)
  throw new Error(`the system did not start: ${readFileSync(said, 'utf8')}`)
}

/** Some orders about so deep in the list of all, by their ids: those were given out in about the order of the times. */
async function placesAt(db: Database, orders: number, depth: number): Promise<Place[]> {
  const about = Math.round(orders * (1 - depth))
  const ids = Array.from({ length: PLACES }, (_, i) => Math.min(orders, Math.max(1, about + (i - PLACES / 2) * 100)))
  const { rows } = await sql<{ id: number; created_at: string }>`
    select id, created_at from orders where id in (${sql.join(ids)})`.execute(db)
  return rows.map(({ id, created_at }) => ({ id, createdAt: toRfc3339(created_at) }))
}

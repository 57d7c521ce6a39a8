import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { auditBooks, type Finding } from '../src/audit/service.ts'
import { seed } from '../src/compose/demo-data.ts'
import type { Env } from '../src/compose/env.ts'
import { SCOPES } from '../src/compose/modules.ts'
import { migrate } from '../src/compose/schema.ts'
import { numberAll } from '../src/events/keeper.ts'
import { createClient, signToken } from '../src/identity/service.ts'
import type { DatabaseConfig } from '../src/platform/database/config.ts'
import { ensureDatabase, openDatabase } from '../src/platform/database/open.ts'
import type { Database } from '../src/platform/database/types.ts'

// What tests, benches and fault runs find in a database: its variables, its clients, its products, its audit.

export type Variables = Record<string, string>

export interface ServerAddress {
  host: string
  port: number
  user: string
  password: string
}

/** The variables that point a process at a database of this server. */
export function databaseVariables({ host, port, user, password }: ServerAddress, name: string): Variables {
  return { DB_HOST: host, DB_PORT: String(port), DB_USER: user, DB_PASS: password, DB_NAME: name }
}

/** The variables that point a process at the database of an environment. */
export function variablesOf({ database }: Pick<Env, 'database'>): Variables {
  const { host, name, file } = database
  return host === undefined ? { DB_FILE: file } : databaseVariables({ ...database, host }, name)
}

/** The variables of a database that does not exist yet. @param server undefined for a SQLite file in the folder */
export function newDatabaseVariables(server: ServerAddress | undefined, folder: string): Variables {
  if (server === undefined) return { DB_FILE: join(folder, 'b2b.sqlite') }
  return databaseVariables(server, `b2b_test_${randomBytes(6).toString('hex')}`)
}

/** Secrets that are long enough for production. */
export function newSecrets(): { JWT_SECRET: string; SERVICE_TOKEN: string } {
  return { JWT_SECRET: randomBytes(32).toString('hex'), SERVICE_TOKEN: randomBytes(32).toString('hex') }
}

/** Creates the database, with its tables unless it is to stay empty, and with the demo data on request. */
export async function createDatabase(
  config: DatabaseConfig,
  { migrated = true, seeded = false } = {},
): Promise<Database> {
  await ensureDatabase(config)
  const db = await openDatabase(config)
  if (migrated) await migrate(db)
  if (seeded) await seed(db)
  return db
}

/** Over a connection of its own, because the server may have restarted. A SQLite file goes with its folder. */
export async function dropDatabase({ host, port, user, password, name }: DatabaseConfig): Promise<void> {
  if (host === undefined) return
  const connection = await createConnection({ host, port, user, password })
  await connection.query('drop database if exists ??', [name])
  await connection.end()
}

/** Registers an API client with every scope. In production, tokens of unknown clients are refused. */
export async function addClient(db: Database, id: string): Promise<void> {
  await createClient(db, { id, name: id, scopes: SCOPES, customerId: null })
}

/** A token with every scope. */
export async function tokenFor(clientId: string, { jwt }: Pick<Env, 'jwt'>, ttlSeconds = 86_400): Promise<string> {
  const client = { clientId, scope: SCOPES.join(' '), customerId: null }
  return (await signToken({ ...jwt, ttlSeconds }, client)).access_token
}

/** Before the feed began: such a stock has no event. */
export const FIRST_STOCK_AT = '2020-01-01 00:00:00.000'

/** @param stock of each product, booked as an adjustment so that the audit finds it */
export async function addProducts(
  db: Database,
  ids: readonly number[],
  { stock, priceOf }: { stock: number; priceOf(id: number): number },
): Promise<void> {
  const times = { created_at: FIRST_STOCK_AT, updated_at: FIRST_STOCK_AT }
  const products = ids.map((id) => {
    return { id, sku: `MADE-${id}`, name: `Product ${id}`, price_cents: priceOf(id), stock, ...times }
  })
  const adjustments = ids.map((product_id) => {
    return { product_id, delta: stock, reason: 'first stock', principal: 'fixture', created_at: FIRST_STOCK_AT }
  })
  await db.insertInto('products').values(products).execute()
  await db.insertInto('stock_adjustments').values(adjustments).execute()
}

type Difference = { check: string } & Finding['differences'][number]

/** What the audit finds wrong, each difference with its check, and how many orders there are. */
export async function readBooks(
  db: Database,
  { orders }: Pick<Env, 'orders'>,
): Promise<{ orders: number; differences: Difference[] }> {
  const { counted, findings } = await auditBooks(db, orders)
  const differences = findings.flatMap(({ check, differences }) =>
    differences.map((difference) => ({ check, ...difference })),
  )
  return { orders: counted.orders, differences }
}

/** @returns for each check that failed its first difference, in words */
export function summarizeDifferences(differences: readonly Difference[]): string[] {
  return [...Map.groupBy(differences, ({ check }) => check)].map(
    ([check, [first, ...rest]]) => `${check}: ${JSON.stringify(first)} and ${rest.length} more`,
  )
}

/** What is wrong with the books of a system that runs no jobs: its events get their positions first. */
export async function differencesIn({ db, env }: { db: Database; env: Env }): Promise<Difference[]> {
  await numberAll(db)
  return (await readBooks(db, env)).differences
}

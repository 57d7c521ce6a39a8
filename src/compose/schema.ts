import { CUSTOMER_TABLES } from '../customers/tables.ts'
import { IDENTITY_TABLES } from '../identity/tables.ts'
import { ORDER_TABLES } from '../orders/tables.ts'
import { findPendingMigrations, runMigrations } from '../platform/database/migrations.ts'
import { PLATFORM_TABLES, type Tables } from '../platform/database/tables.ts'
import type { Database } from '../platform/database/types.ts'
import { PRODUCT_TABLES } from '../products/tables.ts'

/** From `src/compose` as well as from the bundles in `dist/entrypoints` and `dist/commands`. */
export const DB_FOLDER = new URL('../../db/', import.meta.url)

const MIGRATIONS = new URL('migrations/', DB_FOLDER)

/** Every table that holds data, each before those that it refers to. */
export const DATA_TABLES = [
  ...ORDER_TABLES,
  ...PLATFORM_TABLES,
  ...IDENTITY_TABLES,
  ...CUSTOMER_TABLES,
  ...PRODUCT_TABLES,
] as const satisfies (keyof Tables)[]

/** The names of the migrations that the database has not seen yet. */
export function pendingMigrations(db: Database): Promise<string[]> {
  return findPendingMigrations(db, MIGRATIONS)
}

/** Brings the database to the newest schema. Safe to run twice, and from many machines at once. @returns what ran */
export function migrate(db: Database): Promise<string[]> {
  return runMigrations(db, MIGRATIONS)
}

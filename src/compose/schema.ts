import { findPendingMigrations, runMigrations } from '../platform/database/migrations.ts'
import { PLATFORM_TABLES, type Tables } from '../platform/database/tables.ts'
import type { Database } from '../platform/database/types.ts'
import { MODULES } from './modules.ts'

/** From `src/compose` as well as from the bundles in `dist/entrypoints` and `dist/commands`. */
export const DB_FOLDER = new URL('../../db/', import.meta.url)

const MIGRATIONS = new URL('migrations/', DB_FOLDER)

/** Every table that holds data, each before those that it refers to. */
export const DATA_TABLES: readonly (keyof Tables)[] = [
  ...PLATFORM_TABLES,
  ...MODULES.toReversed().flatMap<keyof Tables>(({ tables }) => tables),
]

/** The names of the migrations that the database has not seen yet. */
export function pendingMigrations(db: Database): Promise<string[]> {
  return findPendingMigrations(db, MIGRATIONS)
}

/** Brings the database to the newest schema. Safe to run twice, and from many machines at once. @returns what ran */
export function migrate(db: Database): Promise<string[]> {
  return runMigrations(db, MIGRATIONS)
}

import { findPendingMigrations, runMigrations } from '../platform/database/migrations.ts'
import { PLATFORM_TABLES, type Tables } from '../platform/database/tables.ts'
import type { Database } from '../platform/database/types.ts'
import { MODULES } from './modules.ts'

/** The path is the same from `src/compose` and from the bundles in `dist/entrypoints` and `dist/commands`. */
export const DB_FOLDER = new URL('../../db/', import.meta.url)

const MIGRATIONS = new URL('migrations/', DB_FOLDER)

/** Every table that holds data, each before the tables that it refers to. */
export const DATA_TABLES: readonly (keyof Tables)[] = [
  ...PLATFORM_TABLES,
  ...MODULES.toReversed().flatMap<keyof Tables>(({ tables }) => tables),
]

/** Tables that tell of the data: see {@link MODULES}. */
export const NOTE_TABLES: readonly (keyof Tables)[] = MODULES.flatMap<keyof Tables>((module) =>
  'notes' in module ? module.notes : [],
)

/** The names of the migrations that the database lacks. */
export function pendingMigrations(db: Database): Promise<string[]> {
  return findPendingMigrations(db, MIGRATIONS)
}

/**
 * Migrates the database to the newest schema. Running it twice, or on many machines at once, is safe.
 * @returns the names of the migrations that ran
 */
export function migrate(db: Database): Promise<string[]> {
  return runMigrations(db, MIGRATIONS)
}

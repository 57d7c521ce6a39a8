import { sql } from 'kysely'
import type { Database } from './types.ts'

/** Databases whose disk a write found full. A probe's own write needs no room, so it cannot find out by itself. */
const FULL_DISKS = new WeakMap<Database, { error: unknown; until: number }>()
/** The probe fails for this long. Then traffic comes back, and a write may find that there is room again. */
const FULL_FOR_MS = 10_000

/** A write found the disk full. */
export function noteDiskFull(db: Database, error: unknown): void {
  FULL_DISKS.set(db, { error, until: performance.now() + FULL_FOR_MS })
}

/** A transaction was committed, so the disk has room. */
export function noteCommitted(db: Database): void {
  FULL_DISKS.delete(db)
}

/** A write that changes nothing. A database that cannot be written refuses it like any other write. */
export async function writeNothing(db: Database): Promise<void> {
  await sql`delete from idempotency_keys where 1 = 0`.execute(db)
}

/** Resolves when the database can be written. */
export async function probeWrites(db: Database): Promise<void> {
  const full = FULL_DISKS.get(db)
  if (full !== undefined && performance.now() < full.until) throw full.error
  await writeNothing(db)
}

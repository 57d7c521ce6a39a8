import { NO_TELEMETRY, type Telemetry } from '../telemetry/telemetry.ts'
import type { Database } from './types.ts'

const TELEMETRY = new WeakMap<Database, Telemetry>()

/** Whom the transactions of a database tell what they do. Stores and verbs get a database and need not know. */
export function setTelemetry(db: Database, telemetry: Telemetry): void {
  TELEMETRY.set(db, telemetry)
}

/** @param db a database, not a transaction */
export function telemetryOf(db: Database): Telemetry {
  return TELEMETRY.get(db) ?? NO_TELEMETRY
}

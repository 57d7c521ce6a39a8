import { TRANSACTION_RETRIES } from '../telemetry/series.ts'
import { NO_TELEMETRY, type Telemetry } from '../telemetry/telemetry.ts'
import type { Database } from './types.ts'

const RETRY_REASONS = ['conflict', 'key_taken', 'connection_lost', 'read_only', 'restart'] as const

/** Why a transaction is started again. */
export type RetryReason = (typeof RETRY_REASONS)[number]

const TELEMETRY = new WeakMap<Database, Telemetry>()

/** Whom the transactions of a database tell what they do. Stores and verbs get a database and need not know. */
export function setTelemetry(db: Database, telemetry: Telemetry): void {
  TELEMETRY.set(db, telemetry)
  for (const reason of RETRY_REASONS) telemetry.metrics.counter(TRANSACTION_RETRIES, reason)
}

/** @param db a database, not a transaction */
export function telemetryOf(db: Database): Telemetry {
  return TELEMETRY.get(db) ?? NO_TELEMETRY
}

import type { DbTime } from '../core/time.ts'

/**
 * All tables as Kysely sees them. Here are the platform's own; each domain adds its tables in its `tables.ts`. Ids, cents
 * and counts are integers; times are {@link DbTime}.
 */
export interface Tables {
  /** One row: which of several servers is written. */
  database_writer: { id: number; server: string; epoch: number }
  idempotency_keys: {
    operation: string
    key: string
    principal: string
    request_hash: string
    target_type: string
    target_id: number
    status: number
    response_body: string
    created_at: DbTime
    expires_at: DbTime
  }
}

/** The platform's tables that hold data. Which server is written is no data. */
export const PLATFORM_TABLES = ['idempotency_keys'] as const

import type { Generated } from 'kysely'
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
  events: {
    id: Generated<number>
    /** Its place in the feed. 0 until it is numbered, after the commit. */
    position: Generated<number>
    type: string
    resource_type: string
    resource_id: number
    resource_version: number
    customer_id: number | null
    actor: string
    correlation_id: string | null
    traceparent: string | null
    reason: string | null
    /** JSON */
    data: string
    occurred_at: DbTime
  }
  /** One row: the last position that was given. */
  event_feed: { id: number; position: number; started_at: DbTime; backfilled_at: DbTime | null }
}

/** The platform's tables that hold data. Which server is written is no data, nor is the last position of the feed. */
export const PLATFORM_TABLES = ['events', 'idempotency_keys'] as const

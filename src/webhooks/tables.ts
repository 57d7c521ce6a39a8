import type { Generated } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'

declare module '../platform/database/tables.ts' {
  interface Tables {
    webhook_endpoints: {
      id: Generated<number>
      url: string
      description: string | null
      /** JSON: patterns such as `order.*`. */
      event_types: string
      /** Only events that this customer may see. Null: all. */
      customer_id: number | null
      status: EndpointStatus | 'deleted'
      disabled_reason: DisabledReason | null
      /** Encrypted. */
      secret: string
      /** Encrypted. It signs too until `old_secret_until`. */
      old_secret: Generated<string | null>
      old_secret_until: Generated<DbTime | null>
      /** The position in the feed up to which deliveries are made. */
      cursor: number
      /** The endpoint asked for a pause. */
      paused_until: Generated<DbTime | null>
      last_success_at: Generated<DbTime | null>
      /** The last time that it was enabled. */
      enabled_at: DbTime
      version: Generated<number>
      created_at: DbTime
      updated_at: DbTime
    }
    webhook_deliveries: {
      id: Generated<number>
      endpoint_id: number
      event_id: number
      event_type: string
      position: number
      resource_type: string
      resource_id: number
      status: DeliveryStatus
      /** Attempts since it was made, or was last asked to be sent again. */
      tries: Generated<number>
      /** Null while it waits for an earlier one of its resource, and when it is done. */
      next_attempt_at: DbTime | null
      /** Of the dispatcher that sends it. */
      lease: Generated<string | null>
      leased_until: Generated<DbTime | null>
      created_at: DbTime
      finished_at: Generated<DbTime | null>
    }
    webhook_attempts: {
      id: Generated<number>
      delivery_id: number
      attempted_at: DbTime
      /** Of the response. Null: none came. */
      status: number | null
      duration_ms: number
      error: string | null
      excerpt: string
    }
  }
}

export type EndpointStatus = 'enabled' | 'disabled'
/** Somebody asked for it, the endpoint answered 410, or nothing reached it for days. */
export type DisabledReason = 'requested' | 'gone' | 'failing'
export type DeliveryStatus = 'pending' | 'succeeded' | 'failed'

/** Each table comes before the tables that it refers to. */
export const WEBHOOK_TABLES = ['webhook_attempts', 'webhook_deliveries', 'webhook_endpoints'] as const

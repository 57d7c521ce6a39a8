import type { Generated } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'

declare module '../platform/database/tables.ts' {
  interface Tables {
    api_clients: {
      id: string
      name: string
      secret_hash: string
      scope: string
      customer_id: number | null
      created_at: DbTime
      disabled_at: DbTime | null
      tokens_from: Generated<DbTime | null>
    }
  }
}

/** Each table stands before the tables that it refers to. */
export const IDENTITY_TABLES = ['api_clients'] as const

import type { Generated } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'

declare module '../platform/database/tables.ts' {
  interface Tables {
    customers: {
      id: Generated<number>
      name: string
      email: string
      email_key: string | null
      phone: string | null
      version: Generated<number>
      created_at: DbTime
      updated_at: DbTime
      deleted_at: Generated<DbTime | null>
    }
    customer_words: { word: string; customer_id: number }
  }
}

/** Each table comes before the tables that it refers to. */
export const CUSTOMER_TABLES = ['customer_words', 'customers'] as const

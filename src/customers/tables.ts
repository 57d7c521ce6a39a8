import type { Generated, GeneratedAlways } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'

declare module '../platform/database/tables.ts' {
  interface Tables {
    customers: {
      id: Generated<number>
      name: string
      email: string
      email_key: string | null
      phone: string | null
      external_id: Generated<string | null>
      po_policy: Generated<PoPolicy>
      /** The database derives it: null once the customer is deleted. */
      live_external_id: GeneratedAlways<string | null>
      version: Generated<number>
      created_at: DbTime
      updated_at: DbTime
      deleted_at: Generated<DbTime | null>
    }
    customer_words: { word: string; customer_id: number }
  }
}

/** How often a customer's PO number may be used among its live orders, and whether an order needs one. */
export type PoPolicy = (typeof PO_POLICIES)[number]

export const PO_POLICIES = ['unique', 'free', 'required'] as const

/** Each table comes before the tables that it refers to. */
export const CUSTOMER_TABLES = ['customer_words', 'customers'] as const

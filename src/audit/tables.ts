import type { DbTime } from '../platform/core/time.ts'

declare module '../platform/database/tables.ts' {
  interface Tables {
    /** One row: what the last audit found. */
    last_audit: {
      id: number
      checked_at: DbTime
      /** 1 or 0. */
      balanced: number
      /** How many differences it found; it stops counting at some. */
      differences: number
    }
  }
}

export const AUDIT_TABLES = ['last_audit'] as const

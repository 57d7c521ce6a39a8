import type { Kysely } from 'kysely'
import type { Tables } from './tables.ts'

/** A connection or a transaction: Kysely's `Transaction` is a `Kysely`, so a store cannot tell and need not. */
export type Database = Kysely<Tables>

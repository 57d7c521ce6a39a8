import type { Kysely } from 'kysely'
import type { Tables } from './tables.ts'

/** A connection or a transaction: Kysely's `Transaction` is a `Kysely`, so a store cannot tell and need not. */
export type Database = Kysely<Tables>

/** Where the data is. Without `host` it is the embedded SQLite file. */
export interface DatabaseConfig {
  /** One server, several with commas between (`a,b:3307`), or the path of a Unix socket. */
  host?: string | undefined
  /** For the hosts that name no port. */
  port: number
  /** With several servers: whether one is written at a time, or every node of a cluster. */
  writers: 'one' | 'all'
  user: string
  password: string
  name: string
  /** Connections a process may hold at once. */
  pool: number
  /** How long work may wait for rows that another transaction has locked. */
  lockWaitMs: number
  connectTimeoutMs: number
  /** A slower statement is given up together with its connection: a network can lose a response without a sign. */
  queryTimeoutMs: number
  /** Like `queryTimeoutMs`, for a read outside a transaction, including its wait for a connection. 0 is no such limit. */
  readTimeoutMs: number
  /** `on`: the server's certificate must be one that Node trusts (NODE_EXTRA_CA_CERTS adds to them). */
  tls: 'off' | 'on' | 'amazon-rds'
  file: string
}

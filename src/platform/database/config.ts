import { z } from 'zod'
import { oneOf, type ParsedVariables, port, type RawVariables, whole } from '../core/variables.ts'

const HOST_AND_PORT = /^(\[[\da-f:.]+\]|[^\s:,[\]]+)(:\d{1,5})?$|^[\da-f:.]+$/i
const hosts = z
  .string()
  .refine(
    (text) => text.split(',').every((one) => HOST_AND_PORT.test(one.trim())),
    'must be a host, or several with commas between, each with its own port where that is not DB_PORT',
  )

export const databaseVariables = {
  DB_HOST: hosts.optional(),
  DB_SOCKET: z.string().startsWith('/', 'must be the absolute path of a Unix socket').optional(),
  DB_PORT: port.default(3306),
  DB_WRITERS: oneOf('one', 'all').default('one'),
  DB_USER: z.string().default('root'),
  DB_PASS: z.string().default(''),
  DB_NAME: z.string().default('b2b'),
  DB_POOL: whole(1, 500).default(10),
  DB_LOCK_WAIT_MS: whole(100, 60_000).default(1_500),
  DB_CONNECT_TIMEOUT_MS: whole(1, 60_000).default(5_000),
  DB_QUERY_TIMEOUT_MS: whole(1_000, 600_000).default(20_000),
  DB_READ_TIMEOUT_MS: whole(100, 600_000).default(2_000),
  DB_TLS: oneOf('off', 'on', 'amazon-rds').default('off'),
  DB_FILE: z.string().default('.data/b2b.sqlite'),
}

/** Where the data is. Without `host` it is the embedded SQLite file. */
export interface DatabaseConfig {
  /** One server, several with commas between (`a,b:3307`), or the path of a Unix socket. */
  host?: string | undefined
  /** Of the hosts that name none. */
  port: number
  /** Of several servers, whether one is written at a time, or every node of a cluster. */
  writers: 'one' | 'all'
  user: string
  password: string
  name: string
  /** Connections a process may hold at once. */
  pool: number
  /** How long work may wait for rows that another transaction has locked. */
  lockWaitMs: number
  connectTimeoutMs: number
  /** A slower statement is given up, and its connection with it: a network can lose a response without a sign. */
  queryTimeoutMs: number
  /** Like `queryTimeoutMs`, for a read outside a transaction and its wait for a connection. 0 means no limit. */
  readTimeoutMs: number
  /** `on`: the server's certificate must be one that Node trusts (NODE_EXTRA_CA_CERTS adds to them). */
  tls: 'off' | 'on' | 'amazon-rds'
  file: string
}

export function databaseConfigOf(vars: ParsedVariables<typeof databaseVariables>): DatabaseConfig {
  return {
    host: vars.DB_SOCKET ?? vars.DB_HOST,
    port: vars.DB_PORT,
    writers: vars.DB_WRITERS,
    user: vars.DB_USER,
    password: vars.DB_PASS,
    name: vars.DB_NAME,
    pool: vars.DB_POOL,
    lockWaitMs: vars.DB_LOCK_WAIT_MS,
    connectTimeoutMs: vars.DB_CONNECT_TIMEOUT_MS,
    queryTimeoutMs: vars.DB_QUERY_TIMEOUT_MS,
    readTimeoutMs: vars.DB_READ_TIMEOUT_MS,
    tls: vars.DB_TLS,
    file: vars.DB_FILE,
  }
}

/** The faults that several variables have together, each as one line. */
export function databaseFaults({ DB_SOCKET, DB_HOST }: RawVariables): string[] {
  if (DB_SOCKET === undefined || DB_HOST === undefined) return []
  return ['DB_SOCKET: is the server of this machine, so DB_HOST must be unset']
}

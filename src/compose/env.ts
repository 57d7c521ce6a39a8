import { z } from 'zod'
import { flag, listed, oneOf, port, type RawVariables, url, urlWith, whole } from '../platform/core/variables.ts'
import type { DatabaseConfig } from '../platform/database/types.ts'
import type { ClaimNames } from '../platform/http/auth.ts'
import type { LoginLimits } from '../platform/http/rate-limit.ts'
import type { ServingLimits } from '../platform/http/server.ts'

/** Secrets that are printed in documents or in this repository: good enough to try the system, refused in production. */
const PUBLISHED_SECRETS = new Set(['secret123', 'internal123', 'demo-secret'])
const MIN_SECRET_BYTES = 32
/** What a bearer token may consist of (RFC 6750, section 2.1). */
const SENDABLE = /^[\w.~+/=-]*$/
const LOOPBACK = '127.0.0.1'

const origins = z
  .string()
  .refine((text) => listed(text).every(isOrigin), 'must be origins such as https://shop.example.com, never *')
  .transform(listed)
const HOST_AND_PORT = /^(\[[\da-f:.]+\]|[^\s:,[\]]+)(:\d{1,5})?$|^[\da-f:.]+$/i
const hosts = z
  .string()
  .refine(
    (text) => text.split(',').every((one) => HOST_AND_PORT.test(one.trim())),
    'must be a host, or several with commas between, each with its own port where that is not DB_PORT',
  )
/** Where a service is; one that is a function has an address such as `lambda://customers-api-dev`. */
const serviceUrl = urlWith(/^(https?|lambda)$/)

const Known = z.object({
  NODE_ENV: oneOf('development', 'test', 'production').default('development'),
  HOST: z.string().optional(),
  PORT: port.optional(),
  CUSTOMERS_PORT: port.default(3001),
  ORDERS_PORT: port.default(3010),
  ORCHESTRATOR_PORT: port.default(3000),
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
  JWT_SECRET: z.string().optional(),
  JWT_ISSUER: z.string().default('b2b-orders'),
  JWT_AUDIENCE: z.string().default('b2b-orders'),
  JWT_TTL_SECONDS: whole(60, 86_400).default(3600),
  JWKS_URL: url.optional(),
  JWT_SCOPES_CLAIM: z.string().optional(),
  JWT_SCOPE_PREFIX: z.string().default(''),
  JWT_CUSTOMER_CLAIM: z.string().default('customer_id'),
  JWT_AUDIENCE_CLAIM: z.string().default('aud'),
  SERVICE_TOKEN: z.string().optional(),
  CUSTOMERS_API_BASE: serviceUrl.optional(),
  ORDERS_API_BASE: serviceUrl.optional(),
  ORDER_HOLD_MINUTES: whole(1, 10_080).default(1440),
  MAX_HOLD_MINUTES: whole(1, 10_080).optional(),
  MAX_OPEN_HOLDS: whole(1, 1_000_000).default(100),
  CANCEL_WINDOW_MINUTES: whole(0, 525_600).default(10),
  ORDER_SWEEP_SECONDS: whole(1, 3600).default(15),
  IDEMPOTENCY_TTL_HOURS: whole(1, 8760).default(24),
  RATE_LIMIT_PER_MINUTE: whole(1, 1_000_000).optional(),
  LOGIN_ATTEMPTS_PER_MINUTE: whole(1, 1_000_000).default(20),
  TRUSTED_PROXIES: whole(0, 10).default(0),
  CORS_ORIGINS: origins.optional(),
  PUBLIC_URL: url.refine((text) => !/[?#]/.test(text), 'must have no query').optional(),
  REQUEST_TIMEOUT_MS: whole(100, 300_000).default(15_000),
  KEEP_ALIVE_MS: whole(1, 600_000).default(65_000),
  STALL_TIMEOUT_MS: whole(1_000, 600_000).default(120_000),
  MAX_REQUESTS: whole(1, 100_000).default(1000),
  MAX_CONNECTIONS: whole(1, 1_000_000).default(10_000),
  MAX_BODY_BYTES_IN_FLIGHT: whole(4_194_304, 999_999_999).default(67_108_864),
  HTTP_TIMEOUT_MS: whole(1, 29_000).default(5000),
  ORCHESTRATOR_DEADLINE_MS: whole(1, 29_000).default(10_000),
  ORCHESTRATOR_PUBLIC: flag.optional(),
  LOG_LEVEL: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent').default('info'),
})

export interface Env {
  production: boolean
  ports: { own: number | undefined; customers: number; orders: number; orchestrator: number }
  database: DatabaseConfig
  jwt: {
    secret: string
    otherSecret: string | undefined
    issuer: string
    audience: string
    ttlSeconds: number
    jwksUrl: string | undefined
    /** With `jwksUrl`: whom its tokens may be meant for. */
    audiences: string[]
    /** With `jwksUrl`: where its tokens say what. */
    claims: ClaimNames
  }
  serviceTokens: string[]
  customersBase: string | undefined
  ordersBase: string | undefined
  orders: {
    holdMinutes: number
    maxHoldMinutes: number
    maxOpenHolds: number
    cancelWindowMinutes: number
    sweepSeconds: number
    lockWaitMs: number
  }
  idempotencyTtlMinutes: number
  rateLimitPerMinute: number | undefined
  logins: LoginLimits
  /** Where callers reach the services: `{service}` in it stands for the name of each. */
  publicUrl: string | undefined
  corsOrigins: readonly string[]
  serving: ServingLimits
  /** Requests that a service has under way at once, before it refuses more. */
  maxInFlight: number
  /** Of large bodies that are being received, in the whole process. */
  maxBodyBytesInFlight: number
  httpTimeoutMs: number
  /** `public`: open to callers without a token. */
  orchestrator: { deadlineMs: number; public: boolean }
  logLevel: string
}

/** The names of all variables that {@link parseEnv} reads. */
export const VARIABLES: readonly string[] = Object.keys(Known.shape)

interface ParseOptions {
  serves?: boolean
  file?: RawVariables
}

/** What is wrong with the environment, as one message with a line for each fault. */
export class EnvError extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(`The environment is not usable:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`)
    this.name = 'EnvError'
    this.faults = faults
  }
}

/**
 * Reads the environment. An empty variable counts as absent, as docker-compose passes them.
 * @param serves whether the program answers callers, and so needs secrets that are fit for production
 * @param file what a `.env` says; what is set in the environment wins, be it empty
 * @throws EnvError naming every variable that is wrong, missing, or too weak for production
 */
export function parseEnv(record: RawVariables, { serves = true, file = {} }: ParseOptions = {}): Env {
  // Each is asked for by its name: Deno shows a program only those that it may see, and no list of them.
  const asked = VARIABLES.map((name) => [name, record[name] ?? file[name]] as const)
  const given = Object.fromEntries(asked.filter(([, value]) => value !== undefined && value !== ''))
  const parsed = Known.safeParse(given)
  const production = given.NODE_ENV === 'production'
  const serviceTokens = listed(given.SERVICE_TOKEN ?? 'internal123')
  const jwtSecrets = listed(given.JWT_SECRET ?? 'secret123')
  const faults = parsed.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? []
  if (serviceTokens.length > 2 || serviceTokens.includes('')) {
    faults.push('SERVICE_TOKEN: must be one token, or two with a comma between while one is rotated')
  }
  if (given.DB_SOCKET !== undefined && given.DB_HOST !== undefined) {
    faults.push('DB_SOCKET: is the server of this machine, so DB_HOST must be unset')
  }
  if (jwtSecrets.length > 2 || jwtSecrets.includes('')) {
    faults.push('JWT_SECRET: must be one secret, or two with a comma between while one is rotated')
  }
  if (!serviceTokens.every((token) => SENDABLE.test(token))) {
    faults.push('SERVICE_TOKEN: must have only letters, digits and -._~+/= (the characters of a bearer token)')
  }
  if (production && serves) faults.push(...productionFaults(given, jwtSecrets, serviceTokens))
  if (!parsed.success || faults.length > 0) throw new EnvError(faults)
  const vars = parsed.data
  const [secret = '', otherSecret] = jwtSecrets
  return {
    production,
    ports: {
      own: vars.PORT,
      customers: vars.CUSTOMERS_PORT,
      orders: vars.ORDERS_PORT,
      orchestrator: vars.ORCHESTRATOR_PORT,
    },
    database: {
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
    },
    jwt: {
      secret,
      otherSecret,
      issuer: vars.JWT_ISSUER,
      audience: vars.JWT_AUDIENCE,
      ttlSeconds: vars.JWT_TTL_SECONDS,
      jwksUrl: vars.JWKS_URL,
      audiences: listed(vars.JWT_AUDIENCE).filter((audience) => audience !== ''),
      claims: {
        scopes: vars.JWT_SCOPES_CLAIM,
        scopePrefix: vars.JWT_SCOPE_PREFIX,
        customer: vars.JWT_CUSTOMER_CLAIM,
        audience: vars.JWT_AUDIENCE_CLAIM,
      },
    },
    serviceTokens,
    customersBase: vars.CUSTOMERS_API_BASE,
    ordersBase: vars.ORDERS_API_BASE,
    orders: {
      holdMinutes: vars.ORDER_HOLD_MINUTES,
      maxHoldMinutes: vars.MAX_HOLD_MINUTES ?? vars.ORDER_HOLD_MINUTES,
      maxOpenHolds: vars.MAX_OPEN_HOLDS,
      cancelWindowMinutes: vars.CANCEL_WINDOW_MINUTES,
      sweepSeconds: vars.ORDER_SWEEP_SECONDS,
      lockWaitMs: vars.DB_LOCK_WAIT_MS,
    },
    idempotencyTtlMinutes: vars.IDEMPOTENCY_TTL_HOURS * 60,
    rateLimitPerMinute: vars.RATE_LIMIT_PER_MINUTE,
    logins: { attemptsPerMinute: vars.LOGIN_ATTEMPTS_PER_MINUTE, trustedProxies: vars.TRUSTED_PROXIES },
    publicUrl: vars.PUBLIC_URL,
    corsOrigins: vars.CORS_ORIGINS ?? [],
    serving: {
      requestMs: vars.REQUEST_TIMEOUT_MS,
      keepAliveMs: vars.KEEP_ALIVE_MS,
      stallMs: vars.STALL_TIMEOUT_MS,
      maxConnections: vars.MAX_CONNECTIONS,
      // Outside production published secrets may be in force: nobody else on the network may try them.
      host: vars.HOST ?? (production ? undefined : LOOPBACK),
    },
    maxInFlight: vars.MAX_REQUESTS,
    maxBodyBytesInFlight: vars.MAX_BODY_BYTES_IN_FLIGHT,
    httpTimeoutMs: vars.HTTP_TIMEOUT_MS,
    orchestrator: {
      deadlineMs: vars.ORCHESTRATOR_DEADLINE_MS,
      // So that the system can be tried with one curl; in production nothing is open unless it is said.
      public: vars.ORCHESTRATOR_PUBLIC ?? !production,
    },
    logLevel: vars.LOG_LEVEL,
  }
}

/** What browsers send as `Origin` (RFC 6454): no path, no slash at the end, no default port. */
function isOrigin(text: string): boolean {
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text
}

function productionFaults(vars: RawVariables, jwtSecrets: string[], serviceTokens: string[]): string[] {
  const needed = { ...(vars.JWKS_URL === undefined && { JWT_SECRET: jwtSecrets }), SERVICE_TOKEN: serviceTokens }
  const faults = Object.entries(needed).flatMap(([name, secrets]) =>
    (vars[name] === undefined ? [undefined] : secrets).map((secret) => weakness(name, secret)),
  )
  if (jwtSecrets.some((secret) => serviceTokens.includes(secret))) faults.push(SHARED_SECRET)
  if (/^http:/i.test(vars.JWKS_URL ?? '')) faults.push('JWKS_URL: must be https in production')
  return faults.filter((fault) => fault !== undefined)
}

const SHARED_SECRET = 'SERVICE_TOKEN: must differ from JWT_SECRET; a service that receives it could sign tokens'

function weakness(name: string, secret: string | undefined): string | undefined {
  const remedy = 'make one with: openssl rand -base64 32'
  if (secret === undefined) return `${name}: must be set in production; ${remedy}`
  if (PUBLISHED_SECRETS.has(secret)) return `${name}: this value is published; ${remedy}`
  const bytes = new TextEncoder().encode(secret).length
  if (bytes >= MIN_SECRET_BYTES) return undefined
  return `${name}: must be at least ${MIN_SECRET_BYTES} bytes in production; ${remedy}`
}

import { z } from 'zod'
import { listed, type ParsedVariables, port, url, whole } from '../core/variables.ts'
import type { ServingLimits } from './server.ts'

const LOOPBACK = '127.0.0.1'

const origins = z
  .string()
  .refine((text) => listed(text).every(isOrigin), 'must be origins such as https://shop.example.com, never *')
  .transform(listed)

export const httpVariables = {
  HOST: z.string().optional(),
  PORT: port.optional(),
  RATE_LIMIT_PER_MINUTE: whole(1, 1_000_000).optional(),
  TRUSTED_PROXIES: whole(0, 10).default(0),
  CORS_ORIGINS: origins.optional(),
  PUBLIC_URL: url.refine((text) => !/[?#]/.test(text), 'must have no query').optional(),
  REQUEST_TIMEOUT_MS: whole(100, 300_000).default(15_000),
  KEEP_ALIVE_MS: whole(1, 600_000).default(65_000),
  STALL_TIMEOUT_MS: whole(1_000, 600_000).default(120_000),
  MAX_REQUESTS: whole(1, 100_000).default(1000),
  MAX_CONNECTIONS: whole(1, 1_000_000).default(10_000),
  MAX_BODY_BYTES_IN_FLIGHT: whole(4_194_304, 999_999_999).default(67_108_864),
}

export interface HttpConfig {
  /** The port of a program that runs one service; undefined is the service's default port. */
  port: number | undefined
  serving: ServingLimits
  /** Requests of one principal in a minute; undefined is no limit. */
  rateLimitPerMinute: number | undefined
  /** How many proxies in front append their peer to `X-Forwarded-For`. */
  trustedProxies: number
  corsOrigins: readonly string[]
  /** The URL by which callers reach the services; `{service}` stands for the name of each. */
  publicUrl: string | undefined
  /** Requests that a service may have in flight at once. It refuses more. */
  maxInFlight: number
  /** Bytes of large bodies that the whole process may receive at once. */
  maxBodyBytesInFlight: number
}

export function httpConfigOf(vars: ParsedVariables<typeof httpVariables>, production: boolean): HttpConfig {
  return {
    port: vars.PORT,
    serving: {
      requestMs: vars.REQUEST_TIMEOUT_MS,
      keepAliveMs: vars.KEEP_ALIVE_MS,
      stallMs: vars.STALL_TIMEOUT_MS,
      maxConnections: vars.MAX_CONNECTIONS,
      // Outside production published secrets may be in use, so only this machine may connect.
      host: vars.HOST ?? (production ? undefined : LOOPBACK),
    },
    rateLimitPerMinute: vars.RATE_LIMIT_PER_MINUTE,
    trustedProxies: vars.TRUSTED_PROXIES,
    corsOrigins: vars.CORS_ORIGINS ?? [],
    publicUrl: vars.PUBLIC_URL,
    maxInFlight: vars.MAX_REQUESTS,
    maxBodyBytesInFlight: vars.MAX_BODY_BYTES_IN_FLIGHT,
  }
}

/** Browsers send `Origin` (RFC 6454) without a path, a slash at the end, or a default port. */
function isOrigin(text: string): boolean {
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text
}

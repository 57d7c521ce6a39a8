import type { Context, MiddlewareHandler } from 'hono'
import { rateLimiter } from 'hono-rate-limiter'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import type { AppEnv } from './app.ts'
import { addressOf } from './client-ip.ts'
import { SERVICE_ID } from './principal.ts'

const COMMON = { windowMs: 60_000, standardHeaders: 'draft-7' } as const

/** Limits the requests of one principal in a minute. Every response carries the remaining number. */
export function limitRequests(perMinute: number): MiddlewareHandler<AppEnv> {
  const limiter = rateLimiter<AppEnv>({
    ...COMMON,
    limit: perMinute,
    skip: (c) => c.get('principal').id === SERVICE_ID,
    keyGenerator: (c) => c.get('principal').id,
    handler: () => {
      throw new AppError(
        PLATFORM_ERRORS.rate_limited,
        `At most ${perMinute} requests a minute are allowed. Wait, then try again.`,
      )
    },
  })
  return (c, next) => {
    c.set('limited', true)
    return limiter(c, next)
  }
}

export interface LoginLimits {
  /** Failed attempts of one client id from one address, in a minute. */
  attemptsPerMinute: number
  /** See {@link addressOf}. */
  trustedProxies: number
}

/** How many client ids may use up their attempts at one address before the address itself must wait. */
const FAILING_CLIENTS_PER_ADDRESS = 10

/**
 * Limits failed token requests in a minute, by client id and address, and by address, which many callers may share. An
 * attempt counts as failed until it succeeds, so that parallel attempts can't pass the limit. Only the refusal carries
 * the limit's headers.
 */
export function limitLogins({ attemptsPerMinute, trustedProxies }: LoginLimits) {
  const address = (c: Context<AppEnv>) => addressOf(c, trustedProxies)
  return {
    limitAddress: limitFailures(attemptsPerMinute * FAILING_CLIENTS_PER_ADDRESS, address),
    /** Reads `claimedClient`, which must be set before. */
    limitClient: limitFailures(attemptsPerMinute, (c) => `${address(c)} ${clientKey(c.get('claimedClient'))}`),
  }
}

/** All invalid client ids share one key, so that they don't fill the memory. */
function clientKey(claimed: string | undefined): string {
  return claimed !== undefined && /^[\x21-\x7e]{1,64}$/.test(claimed) ? claimed : ''
}

function limitFailures(limit: number, keyGenerator: (c: Context<AppEnv>) => string): MiddlewareHandler<AppEnv> {
  return rateLimiter<AppEnv>({
    ...COMMON,
    limit,
    keyGenerator,
    skipSuccessfulRequests: true,
    requestWasSuccessful: (c) => !isFailedAttempt(c.res.status),
    handler: (c) => {
      c.set('limited', true)
      throw new AppError(
        PLATFORM_ERRORS.rate_limited,
        'Too many attempts from this address failed. Wait, then try again.',
      )
    },
  })
}

/** A 429 for a client's limit must not count for the address: one broken client would lock out all others there. */
function isFailedAttempt(status: number): boolean {
  return status >= 400 && status < 500 && status !== 429
}

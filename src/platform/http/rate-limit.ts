import type { Context, MiddlewareHandler } from 'hono'
import { rateLimiter } from 'hono-rate-limiter'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import type { AppEnv } from './app.ts'
import { addressOf } from './client-ip.ts'
import { SERVICE_ID } from './principal.ts'

const COMMON = { windowMs: 60_000, standardHeaders: 'draft-7' } as const

/** Requests of one principal in a minute. Every answer says what is left of them. */
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
  /** Failed attempts of one client id from one address. */
  attemptsPerMinute: number
  /** See {@link addressOf}. */
  trustedProxies: number
}

/** How many client ids may fail from one address before the address itself has to wait. */
const FAILING_CLIENTS_PER_ADDRESS = 10

/**
 * Failed attempts to get a token in a minute: of one client id from one address, and of one address, which may be that of
 * many callers. An attempt counts until it is known to be right, so that many at once are no way around it. Only the
 * refusal tells of the limit.
 */
export function limitLogins({ attemptsPerMinute, trustedProxies }: LoginLimits) {
  const address = (c: Context<AppEnv>) => addressOf(c, trustedProxies)
  return {
    limitAddress: limitFailures(attemptsPerMinute * FAILING_CLIENTS_PER_ADDRESS, address),
    /** Goes by the `claimedClient` that was set before. */
    limitClient: limitFailures(attemptsPerMinute, (c) => `${address(c)} ${clientKey(c.get('claimedClient'))}`),
  }
}

/** What no client id can be counts as one, so that odd ids don't fill the memory. */
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

/** Refused for its client's limit, an attempt must not count for its address: one broken client would lock out all. */
function isFailedAttempt(status: number): boolean {
  return status >= 400 && status < 500 && status !== 429
}

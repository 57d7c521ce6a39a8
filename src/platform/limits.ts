import type { MiddlewareHandler } from 'hono'
import { rateLimiter } from 'hono-rate-limiter'
import { addressOf } from './address.ts'
import type { AppEnv } from './app.ts'
import { SERVICE } from './auth.ts'
import { AppError } from './errors.ts'

const COMMON = { windowMs: 60_000, standardHeaders: 'draft-7' } as const

/** Requests of one principal in a minute. Every answer says what is left of them. */
export function limitRequests(perMinute: number): MiddlewareHandler<AppEnv> {
  const limiter = rateLimiter<AppEnv>({
    ...COMMON,
    limit: perMinute,
    skip: (c) => c.get('principal').id === SERVICE.id,
    keyGenerator: (c) => c.get('principal').id,
    handler: () => {
      throw new AppError('rate_limited', `At most ${perMinute} requests a minute. Wait, then go on.`)
    },
  })
  return (c, next) => {
    c.set('limited', true)
    return limiter(c, next)
  }
}

export interface LoginLimits {
  /** Failed attempts of one address. */
  attemptsPerMinute: number
  /** See {@link addressOf}. */
  trustedProxies: number
}

/**
 * Attempts to get a token from one address in a minute. One counts until it is known to be right, so that many at once
 * are no way around it. Only the refusal tells of it.
 */
export function limitLogins({ attemptsPerMinute, trustedProxies }: LoginLimits): MiddlewareHandler<AppEnv> {
  return rateLimiter<AppEnv>({
    ...COMMON,
    limit: attemptsPerMinute,
    keyGenerator: (c) => addressOf(c, trustedProxies),
    skipSuccessfulRequests: true,
    requestWasSuccessful: (c) => c.res.status !== 401,
    handler: (c) => {
      c.set('limited', true)
      throw new AppError('rate_limited', 'Too many failed attempts from this address. Wait, then go on.')
    },
  })
}

import type { MiddlewareHandler } from 'hono'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import type { AppEnv } from './app.ts'
import { actFor } from './principal.ts'

/** Lets callers pass whose token has this scope, within their rate and fair share. */
export function requireScope(scope: string): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const authorization = c.req.header('authorization')
    const bearer = await c.get('authenticator').caller(authorization, c.get('trace'))
    const principal = actFor(bearer, c.req.header('x-on-behalf-of'))
    c.set('principal', principal)
    if (!principal.scopes.has(scope)) {
      const detail = `This needs a token with the scope ${scope}.`
      throw new AppError(PLATFORM_ERRORS.insufficient_scope, detail, { scope })
    }
    const limitRate = c.get('limitRate')
    return c.get('fairShare').run(principal, async () => (limitRate ? limitRate(c, next) : next()), authorization)
  }
}

/** Lets only other services pass. */
export function requireServiceToken(): MiddlewareHandler<AppEnv> {
  return (c, next) => {
    c.set('principal', c.get('authenticator').service(c.req.header('authorization')))
    return next()
  }
}

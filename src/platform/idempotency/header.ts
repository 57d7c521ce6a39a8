import type { Context } from 'hono'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { KEY } from '../http/contract.ts'

/**
 * The idempotency key of a request: 1–255 visible ASCII characters, bare or quoted as in the IETF draft. It may be said
 * in several places, as long as they say the same.
 * @throws AppError `invalid_idempotency_key`
 */
export function idempotencyKey(...given: (string | undefined)[]): string | undefined {
  let key: string | undefined
  for (const text of given) {
    if (text === undefined) continue
    const bare = /^".*"$/.test(text) ? text.slice(1, -1) : text
    if (!KEY.test(bare)) throw invalidKey('An idempotency key is 1 to 255 visible ASCII characters.')
    if (key !== undefined && key !== bare) throw invalidKey('The request names two different idempotency keys.')
    key = bare
  }
  return key
}

function invalidKey(detail: string): AppError {
  return new AppError(PLATFORM_ERRORS.invalid_idempotency_key, detail)
}

/** The idempotency key that a request's headers name. @throws AppError `invalid_idempotency_key` */
export function keyOf(c: Context): string | undefined {
  return idempotencyKey(c.req.header('idempotency-key'), c.req.header('x-idempotency-key'))
}

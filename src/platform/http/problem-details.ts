import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { $ZodIssue } from 'zod/v4/core'
import { AppError, isRefusal, PLATFORM_ERRORS } from '../core/errors.ts'
import { DatabaseUnavailable, isUnavailable } from '../database/errors.ts'
import type { AppEnv } from './app.ts'
import type { ProblemShape } from './problem-document.ts'
import { send } from './response.ts'

/** Turns a thrown value into a refusal for the caller. Unexpected errors become a 500 that shows no cause. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof HTTPException) {
    if (error.status === 400)
      return new AppError(PLATFORM_ERRORS.malformed_json, 'The body could not be parsed as JSON.')
    if (error.status === 413) return new AppError(PLATFORM_ERRORS.payload_too_large, 'The body is larger than 64 KiB.')
    if (error.status === 415) {
      return new AppError(
        PLATFORM_ERRORS.unsupported_media_type,
        'Send the body with the content type that this route declares.',
      )
    }
  }
  if (isUnavailable(error)) {
    return new DatabaseUnavailable('The database cannot be reached. Try again.', { cause: error })
  }
  return new AppError(PLATFORM_ERRORS.internal_error, 'The request failed. It may be sent again.', {}, { cause: error })
}

export function sendProblem(c: Context<AppEnv>, error: AppError, shape: ProblemShape): Response {
  return send(c, JSON.stringify(shape.of(error, c.get('trace').correlationId)), error.status, problemHeaders(error))
}

/** The headers of a refusal besides those of all responses. */
export function problemHeaders(error: AppError): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': 'application/problem+json' }
  const challenge = challengeOf(error)
  if (challenge !== undefined) headers['www-authenticate'] = challenge
  const { retry_after, allow, accept_encoding } = error.extra
  if (typeof retry_after === 'number') headers['retry-after'] = String(retry_after)
  if (Array.isArray(allow)) headers.allow = allow.join(', ')
  if (typeof accept_encoding === 'string') headers['accept-encoding'] = accept_encoding
  return headers
}

/** The `WWW-Authenticate` header (RFC 6750): how to authenticate, and what was wrong with the attempt. */
function challengeOf(error: AppError): string | undefined {
  const { challenge } = error.definition
  if (challenge === undefined) return undefined
  return [`${challenge} realm="b2b-orders"`, ...faultsOf(error)].join(', ')
}

function faultsOf(error: AppError): string[] {
  const { invalid_token, insufficient_scope } = PLATFORM_ERRORS
  if (isRefusal(error, invalid_token)) return ['error="invalid_token"']
  if (isRefusal(error, insufficient_scope)) return ['error="insufficient_scope"', `scope="${error.extra.scope}"`]
  return []
}

const MAX_LISTED_ERRORS = 50

/**
 * The refusal of input that does not match a schema, with at most {@link MAX_LISTED_ERRORS} entries.
 * @param queries the values of each query parameter, by name
 */
export function validationError(
  target: string,
  issues: readonly $ZodIssue[],
  queries: Readonly<Record<string, readonly string[]>> = {},
): AppError {
  if (target === 'param')
    return new AppError(PLATFORM_ERRORS.invalid_id, 'The id in the path must be a positive integer.')
  const errors = issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [{ path: issue.path.join('.'), message: messageOf(issue) }]
    const message = target === 'query' ? 'Unknown query parameter' : 'Unknown field'
    return issue.keys.map((key) => ({ path: [...issue.path, key].join('.'), message }))
  })
  const more = errors.length - MAX_LISTED_ERRORS
  const where = { json: 'body', form: 'body', query: 'query', header: 'headers' }[target] ?? target
  return new AppError(
    PLATFORM_ERRORS.validation_failed,
    `The ${where} has ${errors.length === 1 ? 'an error' : `${errors.length} errors`}.`,
    { errors: errors.slice(0, MAX_LISTED_ERRORS), ...(more > 0 && { more_errors: more }) },
  )

  function messageOf(issue: $ZodIssue): string {
    const values = target === 'query' ? queries[String(issue.path[0])] : undefined
    return values !== undefined && values.length > 1 && !isAboutList(issue) ? 'Given more than once' : issue.message
  }
}

/** Whether the parameter may be repeated, and its list is too long or one of its values is wrong. */
function isAboutList(issue: $ZodIssue): boolean {
  return issue.path.length > 1 || (issue.code === 'too_big' && issue.origin === 'array')
}

import { unsafeCast } from './unsafe-cast.ts'

/** Facts that travel with a refusal, as members of its problem document. */
export type ErrorExtra = Record<string, unknown>

export type ErrorStatus =
  | (400 | 401 | 403 | 404 | 405 | 408 | 409 | 410 | 412 | 413 | 415 | 422 | 429 | 431)
  | (500 | 502 | 503 | 504)

interface ErrorDescription<Status extends ErrorStatus = ErrorStatus> {
  readonly status: Status
  readonly title: string
  /** What comes with it, as the documents show it. */
  readonly example?: ErrorExtra
  /** How a caller authenticates whom it refuses (RFC 9110, section 11.6.1). */
  readonly challenge?: 'Basic' | 'Bearer'
}

/** A refusal that a caller can meet: its stable code, the HTTP status that it is answered with, and its title. */
export interface ErrorDefinition<Code extends string = string, Status extends ErrorStatus = ErrorStatus>
  extends ErrorDescription<Status> {
  readonly code: Code
}

type Definitions<D extends Record<string, ErrorDescription>> = {
  readonly [Code in keyof D & string]: ErrorDefinition<Code, D[Code]['status']>
}

/** Definitions by their codes. The literal types of codes and statuses are kept, for contracts to be checked against. */
export function defineErrors<const D extends Record<string, ErrorDescription>>(descriptions: D): Definitions<D> {
  const definitions = Object.entries(descriptions).map(([code, description]) => [code, { code, ...description }])
  return unsafeCast<Definitions<D>>(Object.fromEntries(definitions))
}

/** The refusals of the platform, and those that every domain may answer with. */
export const PLATFORM_ERRORS = defineErrors({
  malformed_request: { status: 400, title: 'The request is not valid HTTP' },
  malformed_json: { status: 400, title: 'The body is not valid JSON' },
  validation_failed: {
    status: 400,
    title: 'The request is not valid',
    example: { errors: [{ path: 'items.0.qty', message: 'Too small: expected number to be >=1' }] },
  },
  invalid_id: { status: 400, title: 'The id in the path is not a positive integer' },
  idempotency_key_required: { status: 400, title: 'An idempotency key is required' },
  invalid_idempotency_key: { status: 400, title: 'The idempotency key is not valid' },
  unauthorized: { status: 401, title: 'Authentication is required', challenge: 'Bearer' },
  invalid_token: { status: 401, title: 'The token is not valid', challenge: 'Bearer' },
  insufficient_scope: {
    status: 403,
    title: 'The token does not have the required scope',
    example: { scope: 'orders:write' },
    challenge: 'Bearer',
  },
  not_found: { status: 404, title: 'Not found' },
  route_not_found: { status: 404, title: 'There is no such path' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  precondition_failed: { status: 412, title: 'The resource has changed since it was read' },
  payload_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The content type is not supported' },
  idempotency_key_reused: { status: 422, title: 'The idempotency key was used for another request' },
  amount_too_large: { status: 422, title: 'The amount is larger than 2^53-1' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal_error: { status: 500, title: 'The service has an internal error' },
  upstream_failed: { status: 502, title: 'An upstream service returned an invalid response' },
  unavailable: { status: 503, title: 'The service cannot do this right now' },
  overloaded: { status: 503, title: 'The service is overloaded', example: { retry_after: 1 } },
  deadline_exceeded: { status: 504, title: 'The request took too long' },
})

/**
 * A refusal with a stable code. Verbs throw it and know nothing of HTTP; its definition has its status.
 * `detail` is for people and may be shown to the caller, so it never says how the system works inside.
 */
export class AppError extends Error {
  readonly code: string
  readonly extra: ErrorExtra
  // Private, so that the log shows the code of an error and not its whole definition.
  readonly #definition: ErrorDefinition

  constructor(definition: ErrorDefinition, detail: string, extra: ErrorExtra = {}, options?: ErrorOptions) {
    super(detail, options)
    this.name = 'AppError'
    this.code = definition.code
    this.extra = extra
    this.#definition = definition
  }

  get definition(): ErrorDefinition {
    return this.#definition
  }

  get status(): ErrorStatus {
    return this.#definition.status
  }

  get title(): string {
    return this.#definition.title
  }

  /** True when the same request may succeed later without a change. */
  get retryable(): boolean {
    return this.status === 429 || this.status >= 500
  }
}

/** Whether a thrown value is the refusal that a definition names. */
export function isRefusal<Code extends string>(
  error: unknown,
  { code }: ErrorDefinition<Code>,
): error is AppError & { readonly code: Code } {
  return error instanceof AppError && error.code === code
}

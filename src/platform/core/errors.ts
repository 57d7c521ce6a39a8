/** Every refusal a caller can meet: its stable code, the HTTP status it is answered with, and its title. */
export const ERRORS = {
  malformed_request: { status: 400, title: 'The request is not valid HTTP' },
  malformed_json: { status: 400, title: 'The body is not valid JSON' },
  validation_failed: { status: 400, title: 'The request is not valid' },
  invalid_id: { status: 400, title: 'The id in the path is not a positive integer' },
  idempotency_key_required: { status: 400, title: 'An idempotency key is required' },
  invalid_idempotency_key: { status: 400, title: 'The idempotency key is not valid' },
  unsupported_grant_type: { status: 400, title: 'Only client_credentials is supported' },
  invalid_scope: { status: 400, title: 'The client is not allowed to have this scope' },
  unauthorized: { status: 401, title: 'Authentication is required' },
  invalid_token: { status: 401, title: 'The token is not valid' },
  invalid_client: { status: 401, title: 'The client id or secret is wrong' },
  insufficient_scope: { status: 403, title: 'The token does not have the required scope' },
  bound_client: { status: 403, title: 'A client bound to a customer is not allowed to do this' },
  not_found: { status: 404, title: 'Not found' },
  route_not_found: { status: 404, title: 'There is no such path' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  email_taken: { status: 409, title: 'The e-mail is taken' },
  sku_taken: { status: 409, title: 'The SKU is taken' },
  too_many_holds: { status: 409, title: 'The customer has too many unconfirmed orders' },
  insufficient_stock: { status: 409, title: 'Not enough stock' },
  order_canceled: { status: 409, title: 'The order is canceled' },
  cancel_window_passed: { status: 409, title: 'The order was confirmed too long ago to be canceled' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  precondition_failed: { status: 412, title: 'The resource has changed since it was read' },
  payload_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The content type is not supported' },
  customer_not_found: { status: 422, title: 'The customer does not exist' },
  product_not_found: { status: 422, title: 'A product does not exist' },
  idempotency_key_reused: { status: 422, title: 'The idempotency key was used for another request' },
  amount_too_large: { status: 422, title: 'The amount is larger than 2^53-1' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal_error: { status: 500, title: 'The service has an internal error' },
  upstream_failed: { status: 502, title: 'An upstream service returned an invalid response' },
  unavailable: { status: 503, title: 'The service cannot do this right now' },
  overloaded: { status: 503, title: 'The service is overloaded' },
  deadline_exceeded: { status: 504, title: 'The request took too long' },
} as const

export type ErrorCode = keyof typeof ERRORS

/** Facts that travel with a refusal, as members of its problem document. */
export type ErrorExtra = Record<string, unknown>

/**
 * A refusal with a stable code. Verbs throw it and know nothing of HTTP; the table above gives its status.
 * `detail` is for people and may be shown to the caller, so it never says how the system works inside.
 */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly extra: ErrorExtra

  constructor(code: ErrorCode, detail: string, extra: ErrorExtra = {}, options?: ErrorOptions) {
    super(detail, options)
    this.name = 'AppError'
    this.code = code
    this.extra = extra
  }

  /** True when the same request may succeed later without a change. */
  get retryable(): boolean {
    const { status } = ERRORS[this.code]
    return status === 429 || status >= 500
  }
}

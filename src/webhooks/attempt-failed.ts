/**
 * Why an attempt has no response. `connection_lost`: the connection ended before the response. `aborted`: the caller's
 * signal. `failed`: a fault of this machine, such as too many open files.
 */
export const ATTEMPT_ERRORS = [
  'url_not_allowed',
  'dns',
  'address_not_allowed',
  'connection_refused',
  'unreachable',
  'tls',
  'connection_lost',
  'invalid_response',
  'timeout',
  'aborted',
  'failed',
] as const

export type AttemptError = (typeof ATTEMPT_ERRORS)[number]

export class AttemptFailed extends Error {
  readonly code: AttemptError

  constructor(code: AttemptError, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'AttemptFailed'
    this.code = code
  }
}

import { defineErrors } from '../platform/core/errors.ts'

export const IDENTITY_ERRORS = defineErrors({
  unsupported_grant_type: { status: 400, title: 'Only client_credentials is supported' },
  invalid_scope: { status: 400, title: 'The client is not allowed to have this scope' },
  invalid_client: { status: 401, title: 'The client id or secret is wrong', challenge: 'Basic' },
  bound_client: { status: 403, title: 'A client bound to a customer is not allowed to do this' },
})

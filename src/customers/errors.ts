import { defineErrors } from '../platform/core/errors.ts'

export const CUSTOMER_ERRORS = defineErrors({
  email_taken: { status: 409, title: 'The e-mail is taken' },
  external_id_taken: { status: 409, title: 'The external id is taken' },
  customer_not_found: { status: 422, title: 'The customer does not exist' },
})

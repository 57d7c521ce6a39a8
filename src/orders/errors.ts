import { defineErrors } from '../platform/core/errors.ts'

export const ORDER_ERRORS = defineErrors({
  too_many_holds: {
    status: 409,
    title: 'The customer has too many unconfirmed orders',
    example: { max_open_holds: 100 },
  },
  order_canceled: { status: 409, title: 'The order is canceled' },
  cancel_window_passed: { status: 409, title: 'The order was confirmed too long ago to be canceled' },
})

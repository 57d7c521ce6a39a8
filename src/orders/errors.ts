import { defineErrors } from '../platform/core/errors.ts'

export const ORDER_ERRORS = defineErrors({
  too_many_holds: {
    status: 409,
    title: 'The customer has too many unconfirmed orders',
    example: { max_open_holds: 100 },
  },
  po_number_taken: {
    status: 409,
    title: 'Another order of the customer has this PO number',
    example: { order_id: 5 },
  },
  po_number_required: { status: 422, title: 'Orders of this customer need a PO number' },
  currency_mismatch: { status: 422, title: 'Prices are in another currency', example: { currency: 'USD' } },
  order_canceled: { status: 409, title: 'The order is canceled' },
  cancel_window_passed: { status: 409, title: 'The order was confirmed too long ago to be canceled' },
})

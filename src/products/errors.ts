import { defineErrors } from '../platform/core/errors.ts'

export const PRODUCT_ERRORS = defineErrors({
  sku_taken: { status: 409, title: 'The SKU is taken' },
  insufficient_stock: {
    status: 409,
    title: 'Not enough stock',
    example: { lines: [{ product_id: 1, requested: 3, available: 2 }] },
  },
  product_inactive: { status: 422, title: "A product can't be ordered now", example: { product_ids: [99] } },
  quantity_not_allowed: {
    status: 422,
    title: 'A product is sold in other quantities',
    example: {
      lines: [{ product_id: 4, requested: 13, min_qty: 12, qty_step: 12, max_qty: null, nearest: [12, 24] }],
    },
  },
  product_not_found: { status: 422, title: 'A product does not exist', example: { product_ids: [99] } },
})

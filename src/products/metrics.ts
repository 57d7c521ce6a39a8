import type { DatabaseGauge } from '../platform/database/gauges.ts'

export const PRODUCT_GAUGES: readonly DatabaseGauge[] = [
  {
    series: {
      kind: 'gauge',
      name: 'b2b_products_out_of_stock',
      help: 'Products that could be ordered, but have no stock.',
      labels: [],
    },
    kind: 'number',
    select: (byIndex) =>
      `select count(*) as value from products p ${byIndex('products_out_of_stock')} where out_of_stock = 1`,
  },
]

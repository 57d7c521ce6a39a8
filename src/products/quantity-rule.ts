/** Which quantities of a product may be ordered: multiples of `qty_step`, from `min_qty` to `max_qty`. */
export interface QuantityRule {
  min_qty: number
  qty_step: number
  /** Null: no maximum. */
  max_qty: number | null
}

export function isRightQuantity({ min_qty, qty_step, max_qty }: QuantityRule, qty: number): boolean {
  return qty % qty_step === 0 && qty >= min_qty && (max_qty === null || qty <= max_qty)
}

/**
 * The nearest right quantities: the largest that is not above `qty`, and the smallest that is not below it. Null where
 * there is none. For a right quantity, both are that quantity.
 */
export function nearestQuantities(rule: QuantityRule, qty: number): [number | null, number | null] {
  const [first, last] = [firstQuantity(rule), lastQuantity(rule)]
  const lower = Math.min(Math.floor(qty / rule.qty_step) * rule.qty_step, last)
  const higher = Math.max(Math.ceil(qty / rule.qty_step) * rule.qty_step, first)
  return [lower >= first ? lower : null, higher <= last ? higher : null]
}

/** Whether any quantity is right: a maximum may lie below the first multiple of the step. */
export function hasRightQuantity(rule: QuantityRule): boolean {
  return firstQuantity(rule) <= lastQuantity(rule)
}

function firstQuantity({ min_qty, qty_step }: QuantityRule): number {
  return Math.ceil(min_qty / qty_step) * qty_step
}

function lastQuantity({ qty_step, max_qty }: QuantityRule): number {
  return max_qty === null ? Number.POSITIVE_INFINITY : Math.floor(max_qty / qty_step) * qty_step
}

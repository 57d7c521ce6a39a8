import { currency, type ParsedVariables, timeZone, whole } from '../platform/core/variables.ts'

export const orderVariables = {
  ORDER_HOLD_MINUTES: whole(1, 10_080).default(1440),
  MAX_HOLD_MINUTES: whole(1, 10_080).optional(),
  MAX_OPEN_HOLDS: whole(1, 1_000_000).default(100),
  CANCEL_WINDOW_MINUTES: whole(0, 525_600).default(10),
  ORDER_SWEEP_SECONDS: whole(1, 3600).default(15),
  TIME_ZONE: timeZone.default('UTC'),
  CURRENCY: currency.default('USD'),
}

export interface OrderConfig {
  /** How long the stock of an unconfirmed order is held, unless the caller says otherwise. */
  holdMinutes: number
  /** The longest hold that a bound client may ask for. */
  maxHoldMinutes: number
  /** How many unconfirmed orders the customer of a bound client may have. */
  maxOpenHolds: number
  /** How long after its confirmation an order may be canceled. */
  cancelWindowMinutes: number
  /** How often ended holds are released and expired keys are removed. */
  sweepSeconds: number
  /** Where the day begins that a requested delivery date must not be before. */
  timeZone: string
  /** The currency of all prices: ISO 4217, with two decimals. */
  currency: string
}

export function orderConfigOf(vars: ParsedVariables<typeof orderVariables>): OrderConfig {
  return {
    holdMinutes: vars.ORDER_HOLD_MINUTES,
    maxHoldMinutes: vars.MAX_HOLD_MINUTES ?? vars.ORDER_HOLD_MINUTES,
    maxOpenHolds: vars.MAX_OPEN_HOLDS,
    cancelWindowMinutes: vars.CANCEL_WINDOW_MINUTES,
    sweepSeconds: vars.ORDER_SWEEP_SECONDS,
    timeZone: vars.TIME_ZONE,
    currency: vars.CURRENCY,
  }
}

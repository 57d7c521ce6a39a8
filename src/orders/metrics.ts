import { AppError, isRefusal } from '../platform/core/errors.ts'
import type { DatabaseGauge } from '../platform/database/gauges.ts'
import type { StoredResponse } from '../platform/idempotency/store.ts'
import type { Telemetry } from '../platform/telemetry/telemetry.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'

const OUTCOMES = [
  'placed',
  'confirmed',
  'canceled',
  'expired',
  'refused_stock',
  'refused_credit',
  'refused_other',
] as const

export type OrderOutcome = (typeof OUTCOMES)[number]

export const ORDERS = {
  kind: 'counter',
  name: 'b2b_orders_total',
  help: 'Orders by what became of them. One that is placed and confirmed at once counts as both.',
  labels: ['outcome'],
} as const

/** Counts outcomes that are committed. */
export type CountOrder = (outcome: OrderOutcome) => void

export function createOrderCount({ metrics }: Telemetry): CountOrder {
  const counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, metrics.counter(ORDERS, outcome)]))
  return (outcome) => counts[outcome]?.()
}

/** Counts what becomes of a placement. A replay was counted before, and a fault of the services decides nothing. */
export async function countPlacement(
  count: CountOrder,
  placing: Promise<StoredResponse>,
  isConfirmed: boolean,
): Promise<StoredResponse> {
  try {
    const response = await placing
    if (!response.replayed) for (const outcome of outcomesOf(isConfirmed)) count(outcome)
    return response
  } catch (error) {
    if (error instanceof AppError && error.status < 500) count(refusalOf(error))
    throw error
  }
}

function outcomesOf(isConfirmed: boolean): OrderOutcome[] {
  return isConfirmed ? ['placed', 'confirmed'] : ['placed']
}

function refusalOf(error: AppError): OrderOutcome {
  return isRefusal(error, PRODUCT_ERRORS.insufficient_stock) ? 'refused_stock' : 'refused_other'
}

/** A count stops here, so that it costs little however many there are. */
const MAX_COUNTED = 100_000

export const ORDER_GAUGES: readonly DatabaseGauge[] = [
  {
    series: {
      kind: 'gauge',
      name: 'b2b_holds_open',
      help: `Orders that are not confirmed yet, at most ${MAX_COUNTED}.`,
      labels: [],
    },
    kind: 'number',
    select: (byIndex) => `select count(*) as value from (
      select 1 as one from orders o ${byIndex('orders_holds')} where status = 'CREATED' limit ${MAX_COUNTED}) as found`,
  },
  {
    series: {
      kind: 'gauge',
      name: 'b2b_holds_overdue_age_seconds',
      help: 'How long ago the oldest hold ended that is not released yet.',
      labels: [],
    },
    kind: 'age',
    select: (byIndex) => `select expires_at as value from orders o ${byIndex('orders_holds')}
      where status = 'CREATED' and expires_at is not null order by expires_at limit 1`,
  },
]

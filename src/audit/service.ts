import type { Database } from '../platform/database.ts'
import {
  clockBefore,
  countBooks,
  type Difference,
  findDifferences,
  overdueHolds,
  wrongConfirmationKeys,
  wrongLines,
  wrongPlacementKeys,
  wrongStates,
  wrongStock,
  wrongTotals,
} from './store.ts'

export interface Finding {
  check: string
  /** What must hold. */
  promise: string
  /** What does not hold, at most {@link MOST_DIFFERENCES} of it. Empty: the promise is kept. */
  differences: Difference[]
}

export interface Audit {
  balanced: boolean
  /** How much there was to look at. */
  counted: { products: number; orders: number; keys: number }
  findings: Finding[]
}

export const MOST_DIFFERENCES = 100

/**
 * Proves the books: reads only, and may run while orders are being taken.
 * @param sweepSeconds how often ended holds are released; one that is late by two sweeps and a minute counts as lost
 */
export async function auditBooks(db: Database, { sweepSeconds }: { sweepSeconds: number }): Promise<Audit> {
  const sweptBy = await clockBefore(db, 1 + (2 * sweepSeconds) / 60)
  const checks = [
    ['stock', 'stock = what was adjusted − what live orders took', wrongStock()],
    ['lines', 'a line is its quantity × its unit price', wrongLines()],
    ['totals', 'an order has lines, and its total is their sum', wrongTotals()],
    ['states', 'the times of an order are those of its state, in order', wrongStates()],
    [
      'placements',
      'a key that placed an order names one that exists, and no other key placed it',
      wrongPlacementKeys(),
    ],
    ['confirmations', 'a key that confirmed an order names one that was confirmed', wrongConfirmationKeys()],
    ['holds', 'no hold outlives its time by more than a sweep', overdueHolds(sweptBy)],
  ] as const
  const findings: Finding[] = []
  for (const [check, promise, query] of checks) {
    findings.push({ check, promise, differences: await findDifferences(db, query, MOST_DIFFERENCES) })
  }
  const balanced = findings.every(({ differences }) => differences.length === 0)
  return { balanced, counted: await countBooks(db), findings }
}

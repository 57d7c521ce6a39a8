import { toRfc3339 } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import { lockMaintenance } from '../platform/database/migrations.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { changeStock, lockStock, recordAdjustment } from '../products/stock.ts'
import {
  clockBefore,
  countBooks,
  type Difference,
  findAdjustments,
  findDifferences,
  findLiveLines,
  findStockAccount,
  overdueHolds,
  type StockAccount,
  wrongConfirmationKeys,
  wrongLines,
  wrongPlacementKeys,
  wrongPoNumbers,
  wrongStates,
  wrongStock,
  wrongTotals,
} from './store.ts'

export interface Finding {
  check: string
  /** The rule that the books must keep. */
  promise: string
  /** The differences found, at most {@link MAX_DIFFERENCES}. Empty when the rule is kept. */
  differences: Difference[]
}

export interface Audit {
  balanced: boolean
  /** The number of rows that the audit covered. */
  counted: { products: number; orders: number; keys: number }
  findings: Finding[]
}

export const MAX_DIFFERENCES = 100

/**
 * Checks the books. The audit only reads, and orders may be placed while it runs.
 * @param sweepSeconds how often ended holds are released; a hold that is late by two sweeps and a minute counts as lost
 */
export async function auditBooks(db: Database, { sweepSeconds }: { sweepSeconds: number }): Promise<Audit> {
  const sweptBy = await clockBefore(db, 1 + (2 * sweepSeconds) / 60)
  const checks = [
    ['stock', 'stock = what was adjusted − what live orders took', wrongStock()],
    ['lines', 'a line is its quantity × its unit price', wrongLines()],
    ['totals', 'an order has lines, and its total is their sum', wrongTotals()],
    ['states', 'the times of an order are those of its state, in order', wrongStates()],
    ['po_numbers', 'a PO number that may be used once has one live order', wrongPoNumbers()],
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
    findings.push({ check, promise, differences: await findDifferences(db, query, MAX_DIFFERENCES) })
  }
  const balanced = findings.every(({ differences }) => differences.length === 0)
  return { balanced, counted: await countBooks(db), findings }
}

/** A product's stock, with the figures that explain it. */
export interface Explanation extends StockAccount {
  expected: number
  newest_adjustments: { id: number; delta: number; reason: string; principal: string; created_at: string }[]
  newest_live_lines: { order_id: number; qty: number; status: string; created_at: string }[]
}

/**
 * Reads what explains a product's stock. Orders may be placed meanwhile: the sums are of one moment, the lists of a
 * moment just after it.
 * @param most the maximum number of rows in each list; the sums cover all rows
 * @returns undefined when the product does not exist
 */
export async function explainStock(db: Database, productId: number, most: number): Promise<Explanation | undefined> {
  const account = await findStockAccount(db, productId)
  if (account === undefined) return undefined
  const adjustments = await findAdjustments(db, productId, most)
  const lines = await findLiveLines(db, productId, most)
  return {
    ...account,
    expected: expectedOf(account),
    newest_adjustments: adjustments.map((row) => ({ ...row, created_at: toRfc3339(row.created_at) })),
    newest_live_lines: lines.map((row) => ({ ...row, created_at: toRfc3339(row.created_at) })),
  }
}

function expectedOf({ adjusted, taken }: StockAccount): number {
  return adjusted - taken
}

export interface Fix {
  productId: number
  /** Which number is right: the product's stock, or the one that its ledger and orders make. */
  trust: 'stock' | 'ledger'
  /** Stock minus expected stock, as the operator saw it. The fix is written only if the excess is still the same. */
  excess: number
  /** The reason of the new ledger row, where the stock is trusted. */
  reason: string
}

export type Fixed =
  | { done: 'stock set'; before: number; after: number }
  | { done: 'adjustment added'; id: number; delta: number }
  /** Nothing was written: the excess has changed, or the corrected stock would be negative. */
  | { done: 'nothing'; why: 'changed' | 'below zero' }

/** The principal of the adjustments that a fix adds. */
const FIXER = 'audit:books'

/**
 * Writes one change after which stock, ledger and orders agree. Orders may be placed meanwhile: each changes the stock
 * and the sums alike, so the excess stays the same. Fixes run one at a time, so none is written twice.
 * @throws RowsLocked
 */
export function fixStock(db: Database, { productId, trust, excess, reason }: Fix): Promise<Fixed> {
  return transactAlone(db, async (trx): Promise<Fixed> => {
    await lockMaintenance(trx)
    const account = await findStockAccount(trx, productId)
    if (account === undefined || account.stock - expectedOf(account) !== excess)
      return { done: 'nothing', why: 'changed' }
    const now = await readClock(trx)
    if (trust === 'stock') {
      const adjustment = { product_id: productId, delta: excess, reason, principal: FIXER }
      return { done: 'adjustment added', id: await recordAdjustment(trx, adjustment, now), delta: excess }
    }
    const before = await lockStock(trx, productId)
    const after = before - excess
    if (after < 0) return { done: 'nothing', why: 'below zero' }
    await changeStock(trx, new Map([[productId, -excess]]), now)
    return { done: 'stock set', before, after }
  })
}

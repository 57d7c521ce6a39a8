import { type Claim, claimId } from '../platform/idempotency.ts'
import type { ChangeCommand } from './changing.ts'
import type { PlaceCommand } from './placing.ts'

/** All that can be asked of orders in one transaction. */
export type WriteCommand = PlaceCommand | ChangeCommand

/** The keys under which the command is done once. */
export function claimsOf(command: WriteCommand): Claim[] {
  return command.kind === 'expire' || command.claim === undefined ? [] : [command.claim]
}

/** What a command weighs whose order, and so its lines, is not known yet. */
const UNREAD_ORDER_WEIGHT = 4

/** How much of a batch the command takes up: its lines. */
export function weightOf(command: WriteCommand): number {
  return command.kind === 'place' ? command.items.length : UNREAD_ORDER_WEIGHT
}

/** The rows that a command needs nobody else to hold. */
export interface Rows {
  orders: readonly number[]
  products: readonly number[]
  customers: readonly number[]
  claims: readonly Claim[]
}

/** The names of all rows that a command needs; undefined when only its order tells. */
export function rowNamesOf(command: WriteCommand): string[] | undefined {
  if (command.kind === 'cancel' || command.kind === 'expire') return undefined
  return namesOf(rowsOf(command))
}

/** The rows that the command itself names. */
export function rowsOf(command: WriteCommand): Rows {
  const claims = claimsOf(command)
  if (command.kind !== 'place') return { orders: [command.orderId], products: [], customers: [], claims }
  const products = command.items.map((item) => item.product_id)
  return { orders: [], products, customers: [command.customerId], claims }
}

export function namesOf({ orders, products, customers, claims }: Rows): string[] {
  return [
    ...orders.map((id) => `order ${id}`),
    ...products.map((id) => `product ${id}`),
    ...customers.map((id) => `customer ${id}`),
    ...claims.map((claim) => `key ${claimId(claim)}`),
  ]
}

import type { CustomerBrief } from '../customers/client.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { type Claim, claimId, type Operation } from '../platform/idempotency/claim.ts'
import type { ChangeRequest } from './order-states.ts'
import type { OrderRequest } from './placement-rules.ts'
import type { OrderOrigin } from './store.ts'

export const PLACE_ORDER: Operation = { name: 'orders.place', status: 201, targetType: 'order', ownerOf }
export const CONFIRM_ORDER: Operation = { name: 'orders.confirm', status: 200, targetType: 'order', ownerOf }
export const CANCEL_ORDER: Operation = { name: 'orders.cancel', status: 200, targetType: 'order', ownerOf }

/** The customer of an order. A response to the orchestrator has none on its first level: it serves every customer. */
function ownerOf(body: string): number | undefined {
  return unsafeCast<{ customer_id?: number }>(JSON.parse(body)).customer_id
}

interface Command {
  /** The key under which it is done once. A command that is idempotent by nature needs none. */
  claim: Claim | undefined
  /** Whom the command is for: batches take the shares in turn. */
  share: string
}

export interface PlaceCommand extends Command, OrderRequest {
  kind: 'place'
  claim: Claim
  origin: OrderOrigin
  /** The customer as the orchestrator validated it, for the response. */
  customer: CustomerBrief | undefined
}

export interface ChangeCommand extends Command, ChangeRequest {}

/** Every command of orders. */
export type OrderCommand = PlaceCommand | ChangeCommand

/** The share of released holds. */
const RELEASES = 'releases'

/** Releases the hold of an order, if it has ended. */
export function releaseHold(orderId: number): ChangeCommand {
  return { kind: 'expire', orderId, boundTo: null, claim: undefined, share: RELEASES }
}

export function claimsOf({ claim }: OrderCommand): Claim[] {
  return claim === undefined ? [] : [claim]
}

/** The weight of a command whose order, and so the number of its lines, is not known yet. */
const UNREAD_ORDER_WEIGHT = 4

/** How much of a batch a command takes up: the number of its lines. */
export function weightOf(command: OrderCommand): number {
  return command.kind === 'place' ? command.items.length : UNREAD_ORDER_WEIGHT
}

/** The rows that a command must lock. */
export interface Rows {
  orders: readonly number[]
  products: readonly number[]
  customers: readonly number[]
  claims: readonly Claim[]
}

/** The names of all rows that a command needs; undefined when only its order can tell. */
export function rowNamesOf(command: OrderCommand): string[] | undefined {
  if (command.kind === 'cancel' || command.kind === 'expire') return undefined
  return namesOf(rowsOf(command))
}

/** The rows that the command itself names. */
export function rowsOf(command: OrderCommand): Rows {
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

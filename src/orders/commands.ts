import type { CustomerBrief } from '../customers/client.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { type EventOrigin, systemOrigin } from '../platform/events/record.ts'
import { type Claim, claimId, type Operation } from '../platform/idempotency/claim.ts'
import type { OrderDetails } from './details.ts'
import type { ChangeRequest } from './order-states.ts'
import { type OrderRequest, poKeyOf, poName } from './placement-rules.ts'
import type { OrderOrigin, PoNumber } from './store.ts'

export const PLACE_ORDER: Operation = { name: 'orders.place', status: 201, targetType: 'order', ownerOf }
export const CONFIRM_ORDER: Operation = { name: 'orders.confirm', status: 200, targetType: 'order', ownerOf }
export const UPDATE_ORDER: Operation = { name: 'orders.update', status: 200, targetType: 'order', ownerOf }
export const CANCEL_ORDER: Operation = { name: 'orders.cancel', status: 200, targetType: 'order', ownerOf }

/**
 * The customer of a stored response. A response to the orchestrator has no `customer_id` at its top level, because the
 * orchestrator serves every customer.
 */
function ownerOf(body: string): number | undefined {
  return unsafeCast<{ customer_id?: number }>(JSON.parse(body)).customer_id
}

interface Command {
  /** The claim of the command's key. A command that is idempotent without a key has none. */
  claim: Claim | undefined
  /** The caller that the command counts for. Batches take one command of each share in turn. */
  share: string
  /** Who asks for it, for its events. */
  cause: EventOrigin
}

export interface PlaceCommand extends Command, OrderRequest {
  kind: 'place'
  claim: Claim
  origin: OrderOrigin
  /** The customer as the orchestrator validated it. It becomes a part of the response. */
  customer: CustomerBrief | undefined
}

export interface ChangeCommand extends Command, ChangeRequest {}

export type OrderCommand = PlaceCommand | ChangeCommand

/** The share of the commands that release ended holds. */
const RELEASES = 'releases'

/** The cause of a cancellation that no caller asked for. */
export const HOLD_ENDED = systemOrigin('holds')

/** Makes the command that releases an order's hold, if the hold has ended. */
export function releaseHold(orderId: number): ChangeCommand {
  return { kind: 'expire', orderId, boundTo: null, claim: undefined, share: RELEASES, cause: HOLD_ENDED }
}

export function claimsOf({ claim }: OrderCommand): Claim[] {
  return claim === undefined ? [] : [claim]
}

/** The weight of a command whose order has not been read, so that the number of its lines is unknown. */
const UNREAD_ORDER_WEIGHT = 4

/** Long details weigh too: a batch sends them three times, and a server takes 16 MiB at once. */
const DETAIL_CHARS_PER_LINE = 1_000

/** How much of a batch a command takes up: the number of its lines, where that is known, and what its details add. */
export function weightOf(command: OrderCommand): number {
  if (command.kind !== 'place') return UNREAD_ORDER_WEIGHT
  return command.items.length + Math.floor(charsOf(command.details) / DETAIL_CHARS_PER_LINE)
}

function charsOf({ notes = '', metadata }: OrderDetails): number {
  return Object.values(metadata ?? {}).reduce((sum, { length }) => sum + length, notes.length)
}

/** The rows that a command must lock. */
export interface Rows {
  orders: readonly number[]
  products: readonly number[]
  customers: readonly number[]
  /** The PO numbers that the command gives to its order. */
  poNumbers: readonly PoNumber[]
  claims: readonly Claim[]
}

/** The names of all rows that a command needs. Undefined when they depend on its order. */
export function rowNamesOf(command: OrderCommand): string[] | undefined {
  if (command.kind === 'cancel' || command.kind === 'expire') return undefined
  return namesOf(rowsOf(command))
}

/** The rows that are known from the command alone. */
export function rowsOf(command: OrderCommand): Rows {
  const claims = claimsOf(command)
  if (command.kind !== 'place') return { orders: [command.orderId], products: [], customers: [], poNumbers: [], claims }
  const products = command.items.map((item) => item.product_id)
  return { orders: [], products, customers: [command.customerId], poNumbers: poNumbersOf(command), claims }
}

/** The PO number that a command gives to its order, if any. */
export function poNumbersOf({ customerId, details }: PlaceCommand): PoNumber[] {
  const poKey = poKeyOf(details)
  return poKey === null ? [] : [{ customerId, poKey }]
}

export function namesOf({ orders, products, customers, poNumbers, claims }: Rows): string[] {
  return [
    ...orders.map((id) => `order ${id}`),
    ...products.map((id) => `product ${id}`),
    ...customers.map((id) => `customer ${id}`),
    ...poNumbers.map(({ customerId, poKey }) => `PO number ${poName(customerId, poKey)}`),
    ...claims.map((claim) => `key ${claimId(claim)}`),
  ]
}

import { CustomerBrief } from '../customers/contract.ts'
import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import { IDENTITY_ERRORS } from '../identity/errors.ts'
import { PLATFORM_ERRORS } from '../platform/core/errors.ts'
import {
  bodyProblems,
  Cents,
  defineRoute,
  emptyIsAbsent,
  Id,
  IdempotencyKey,
  IdParams,
  idempotencyHeadersLike,
  idParamsLike,
  jsonBody,
  jsonResponse,
  KEYS,
  locationLike,
  optional,
  problems,
  protectedProblems,
  Replayed,
  Timestamp,
  text,
} from '../platform/http/contract.ts'
import { int32, MAX_INT32 } from '../platform/http/integers.ts'
import { NextLink, PageQuery, pageOf } from '../platform/http/pagination.ts'
import { z } from '../platform/http/schema.ts'
import { BatchResponse, batchedCalls } from '../platform/rpc/batch-contract.ts'
import { PRINCIPAL_ID } from '../platform/telemetry/trace.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'
import { ORDER_ERRORS } from './errors.ts'

export const OrderStatus = z.enum(['CREATED', 'CONFIRMED', 'CANCELED']).openapi('OrderStatus')

const Quantity = int32(1, 1_000_000).meta({ example: 2 })

const NewOrderItem = z.strictObject({ product_id: Id.meta({ example: 1 }), qty: Quantity }).openapi('NewOrderItem')

export const NewOrderItems = z
  .array(NewOrderItem)
  .min(1)
  .max(200)
  .meta({ description: 'Two lines of one product count together against its stock.' })

export const NewOrder = z
  .strictObject({
    customer_id: Id.meta({ example: 1 }),
    items: NewOrderItems,
    hold_minutes: optional(int32(1, 10_080)).meta({
      description:
        'How long the stock is held while the order is not confirmed; absent, `ORDER_HOLD_MINUTES`. A client that is ' +
        'bound to a customer may hold it for `MAX_HOLD_MINUTES` at most.',
      example: 60,
    }),
    confirm: optional(z.boolean()).meta({
      description:
        'Places and confirms the order in one transaction. Needs an idempotency key. Such an order is never held: ' +
        '`hold_minutes` has no effect.',
      example: false,
    }),
  })
  .openapi('NewOrder')

/** An order for a customer that the caller has validated. It is placed and confirmed in one transaction. */
export const ValidatedOrder = z
  .strictObject({
    ...NewOrder.omit({ hold_minutes: true, confirm: true }).shape,
    customer: CustomerBrief.nullable().meta({
      description: 'The customer as it is now; null when there is none or it is unknown: then only a replay succeeds',
    }),
  })
  // The example has no customer and so places nothing: readers may run the examples of the documentation.
  .openapi('ValidatedOrder', { example: { customer_id: 1, items: [{ product_id: 1, qty: 2 }], customer: null } })

export const OrderItem = z
  .object({
    product_id: Id.meta({ example: 1 }),
    qty: Quantity,
    unit_price_cents: Cents.meta({ example: 129900 }),
    subtotal_cents: Cents.meta({ example: 259800 }),
  })
  .openapi('OrderItem')

export const OrderSummary = z
  .object({
    id: Id.meta({ example: 5 }),
    customer_id: Id.meta({ example: 1 }),
    status: OrderStatus,
    total_cents: Cents.meta({ example: 259800 }),
    created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    confirmed_at: Timestamp.nullable().meta({ example: null }),
    canceled_at: Timestamp.nullable().meta({ example: null }),
    expires_at: Timestamp.nullable().meta({
      description: 'When the hold of an unconfirmed order ends. Null after it is confirmed.',
      example: '2026-01-06T09:00:00.000Z',
    }),
  })
  .openapi('OrderSummary')

export const Order = z
  .object({
    id: OrderSummary.shape.id,
    customer_id: OrderSummary.shape.customer_id,
    status: OrderStatus,
    total_cents: OrderSummary.shape.total_cents,
    items: z.array(OrderItem),
    created_at: OrderSummary.shape.created_at,
    confirmed_at: OrderSummary.shape.confirmed_at,
    canceled_at: OrderSummary.shape.canceled_at,
    expires_at: OrderSummary.shape.expires_at,
  })
  .openapi('Order')

const OrderPage = pageOf(OrderSummary).openapi('OrderPage')

const DATE =
  '(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|' +
  '(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)'
/** The part of RFC 3339 that `Date` parses: no leap seconds, and no lower-case letters. */
const TIME = 'T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d+)?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)'

/**
 * A time, or a date that means its first moment in UTC. It is one pattern, because clients can't be generated from a
 * union of two formats.
 */
const Instant = z.string().regex(new RegExp(`^${DATE}(${TIME})?$`), {
  error: ({ input }) =>
    /T.* \d\d:\d\d$/.test(String(input))
      ? 'Must be an RFC 3339 time or a date. In a query a + is read as a space: write %2B'
      : 'Must be an RFC 3339 time or a date',
})

export const OrderQuery = PageQuery.extend({
  status: emptyIsAbsent(OrderStatus).openapi({ description: 'Empty, of every status' }),
  customer_id: IdParams.shape.id.optional().openapi({
    param: { name: 'customer_id', in: 'query', required: false },
  }),
  from: Instant.optional().openapi({
    description: 'Created at this time or later: an RFC 3339 time, or a date in UTC. A `+` in it is written `%2B`.',
    example: '2026-01-01T00:00:00Z',
  }),
  to: Instant.optional().openapi({
    description: 'Created before this time: an RFC 3339 time, or a date in UTC. A `+` in it is written `%2B`.',
    example: '2030-01-01T00:00:00Z',
  }),
})

/** The end of a page of orders: the time and id of its last order. */
export const OrderCursor = z.tuple([Timestamp, Id])

export const CancelOrder = z
  .strictObject({})
  // Generated Java clients send `null` when the caller gives no body.
  .nullable()
  .transform((order) => order ?? {})
  .openapi('CancelOrder')

const tags = ['Orders']

export const placeOrder = defineRoute({
  scope: 'orders:write',
  method: 'post',
  path: '/orders',
  operationId: 'placeOrder',
  tags,
  summary: 'Place an order',
  description:
    'Takes the current prices, and takes the stock at once, for all lines or for none. With an idempotency key the ' +
    'request can be sent again at any time. With `confirm` the order is confirmed at once.',
  parameters: idempotencyHeadersLike('purchase-order-4711'),
  request: { body: jsonBody(NewOrder) },
  responses: {
    201: jsonResponse(Order, 'The order', { ...locationLike('orders/5'), ...Replayed }),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.idempotency_key_required,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      ORDER_ERRORS.too_many_holds,
      PRODUCT_ERRORS.insufficient_stock,
      CUSTOMER_ERRORS.customer_not_found,
      PRODUCT_ERRORS.product_not_found,
      PLATFORM_ERRORS.amount_too_large,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.upstream_failed,
      PLATFORM_ERRORS.unavailable,
      PLATFORM_ERRORS.overloaded,
      PLATFORM_ERRORS.deadline_exceeded,
    ),
  },
})

export const getOrder = defineRoute({
  scope: 'orders:read',
  method: 'get',
  path: '/orders/{id}',
  operationId: 'getOrder',
  tags,
  summary: 'Get an order with its lines',
  request: { params: IdParams },
  responses: {
    200: jsonResponse(Order, 'The order'),
    ...protectedProblems(
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const listOrders = defineRoute({
  scope: 'orders:read',
  method: 'get',
  path: '/orders',
  operationId: 'listOrders',
  tags,
  summary: 'List orders, newest first, without their lines',
  request: { query: OrderQuery },
  responses: {
    200: jsonResponse(OrderPage, 'A page', NextLink),
    ...protectedProblems(
      PLATFORM_ERRORS.validation_failed,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

/** Orders 2 and 4 of the demo data, as they are after the examples of these routes have run. */
const CONFIRMED = {
  id: 2,
  customer_id: 2,
  status: 'CONFIRMED' as const,
  total_cents: 69800,
  items: [{ product_id: 2, qty: 2, unit_price_cents: 34900, subtotal_cents: 69800 }],
  created_at: '2026-01-08T11:30:00.000Z',
  confirmed_at: '2026-01-08T11:32:00.000Z',
  canceled_at: null,
  expires_at: null,
}
const CANCELED = {
  id: 4,
  customer_id: 1,
  status: 'CANCELED' as const,
  total_cents: 389700,
  items: [{ product_id: 1, qty: 3, unit_price_cents: 129900, subtotal_cents: 389700 }],
  created_at: '2026-01-12T08:05:00.000Z',
  confirmed_at: null,
  canceled_at: '2026-01-12T08:06:00.000Z',
  expires_at: '2099-12-31T23:59:59.000Z',
}

export const confirmOrder = defineRoute({
  scope: 'orders:write',
  method: 'post',
  path: '/orders/{id}/confirm',
  operationId: 'confirmOrder',
  tags,
  summary: 'Confirm an order',
  description:
    'An idempotency key is required. If the order is confirmed already, the answer is that order. A body is ignored.',
  parameters: idempotencyHeadersLike('order-2-confirmation'),
  request: { params: idParamsLike(2) },
  responses: {
    200: jsonResponse(Order, 'The order', Replayed, CONFIRMED),
    ...protectedProblems(
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.idempotency_key_required,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      ORDER_ERRORS.order_canceled,
      PLATFORM_ERRORS.payload_too_large,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
      PLATFORM_ERRORS.overloaded,
    ),
  },
})

const OnBehalfOf = z
  .string()
  .regex(PRINCIPAL_ID)
  .optional()
  .meta({ description: 'The principal that the call is made for', example: 'client:demo' })

export const Placements = batchedCalls('Placements', {
  key: IdempotencyKey,
  order: ValidatedOrder,
  on_behalf_of: OnBehalfOf,
})

export const placeValidatedOrders = defineRoute({
  internal: true,
  method: 'post',
  path: '/internal/orders/placements',
  operationId: 'placeValidatedOrders',
  tags: ['Internal'],
  summary: 'Place and confirm several orders in one request, for the orchestrator',
  description:
    'The body of each result is the text of its answer: the customer and the order, as the key first got them.',
  request: { body: jsonBody(Placements) },
  responses: {
    200: jsonResponse(BatchResponse, 'The answer to each call, in the order of the calls'),
    ...problems(
      ...bodyProblems,
      PLATFORM_ERRORS.unauthorized,
      PLATFORM_ERRORS.invalid_token,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const cancelOrder = defineRoute({
  scope: 'orders:write',
  method: 'post',
  path: '/orders/{id}/cancel',
  operationId: 'cancelOrder',
  tags,
  summary: 'Cancel an order',
  description:
    'Returns the stock, exactly once. If the order is canceled already, the answer is that order. A confirmed order can ' +
    'be canceled for `CANCEL_WINDOW_MINUTES` after its confirmation. The body is optional.',
  parameters: idempotencyHeadersLike('order-4-cancellation'),
  request: { params: idParamsLike(4), body: { content: { 'application/json': { schema: CancelOrder } } } },
  responses: {
    200: jsonResponse(Order, 'The order', Replayed, CANCELED),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      ORDER_ERRORS.cancel_window_passed,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
      PLATFORM_ERRORS.overloaded,
    ),
  },
})

/** The schema allows any text, as for a header. The app refuses a text that is no key. */
export const KeyQuery = z.strictObject({
  key: z.string().openapi({
    ...KEYS,
    description: 'The key that the caller sent, bare or in double quotes. A `+` in it is written `%2B`.',
    example: 'purchase-order-4711',
  }),
  client: emptyIsAbsent(text(255)).openapi({
    description:
      "The client that sent it, as its tokens' `sub` names it, or `anonymous`. Empty, of any client; of those of an " +
      'identity provider, what the orchestrator did is found only if the client is named.',
  }),
})

const KeyUse = z
  .object({
    operation: z
      .string()
      .meta({ description: '`orders.place`, `orders.confirm` or `orders.cancel`', example: 'orders.place' }),
    key: z.string().meta({
      description: 'The key as Orders has it: the orchestrator makes one of its own from that of its caller',
      example: 'purchase-order-4711',
    }),
    principal: z.string().meta({ description: 'Whose key it is', example: 'client:demo' }),
    via: z.enum(['orders', 'orchestrator']).meta({ description: 'Which API the caller called', example: 'orders' }),
    status: int32(200, 599).meta({ description: 'The status of the first answer', example: 201 }),
    order: OrderSummary,
    created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    expires_at: Timestamp.meta({
      description: 'Until then the key is remembered: the same request gets the first answer again',
      example: '2026-01-06T09:00:00.000Z',
    }),
  })
  .openapi('KeyUse')

export const KeySearch = z
  .object({
    data: z
      .array(KeyUse)
      .meta({ description: 'What was done to orders with this key, in the order in which it was done' }),
    kept_since: Timestamp.meta({
      description: 'All that was done since then would be here. A request that is still in progress is not here yet.',
      example: '2026-01-05T09:00:00.000Z',
    }),
    kept_hours: int32(1, MAX_INT32).meta({ description: 'How long keys are remembered', example: 24 }),
  })
  .openapi('KeySearch')

export const searchKey = defineRoute({
  scope: 'support:read',
  method: 'get',
  path: '/idempotency-keys',
  operationId: 'searchIdempotencyKey',
  tags: ['Support'],
  summary: 'Find out whether an order was placed, confirmed or canceled with a key',
  description:
    'Only looks, so it is safe at any time. Finds orders of every client, also those placed through the orchestrator. An ' +
    'empty list means: no order was placed with this key since `kept_since`. A client that is bound to a customer gets 403.',
  request: { query: KeyQuery },
  responses: {
    200: jsonResponse(KeySearch, 'What was done with the key'),
    ...protectedProblems(
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      IDENTITY_ERRORS.bound_client,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

import { CustomerBrief } from '../customers/contract.ts'
import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import { IDENTITY_ERRORS } from '../identity/errors.ts'
import { PLATFORM_ERRORS } from '../platform/core/errors.ts'
import {
  bodyProblems,
  Cents,
  defineRoute,
  ETag,
  emptyIsAbsent,
  Id,
  IdempotencyKey,
  IdParams,
  idempotencyHeadersLike,
  idParamsLike,
  ifNoneMatchHeader,
  jsonBody,
  jsonResponse,
  KEYS,
  locationLike,
  notModified,
  optional,
  preconditionHeaders,
  problems,
  protectedProblems,
  Replayed,
  Timestamp,
  text,
  Version,
  visible,
} from '../platform/http/contract.ts'
import { Instant } from '../platform/http/instant.ts'
import { int32, int64, MAX_INT32 } from '../platform/http/integers.ts'
import { NextLink, PageQuery, pageOf } from '../platform/http/pagination.ts'
import { Problem } from '../platform/http/problem-document.ts'
import { z } from '../platform/http/schema.ts'
import { BatchResponse, batchedCalls } from '../platform/rpc/batch-contract.ts'
import { PRINCIPAL_ID } from '../platform/telemetry/trace.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'
import { changeableDetails, orderDetails, shownDetails } from './details.ts'
import { ORDER_ERRORS } from './errors.ts'

export const OrderStatus = z.enum(['CREATED', 'CONFIRMED', 'CANCELED']).openapi('OrderStatus')

const Quantity = int32(1, 1_000_000).meta({ example: 2 })

const NewOrderItem = z.strictObject({ product_id: Id.meta({ example: 1 }), qty: Quantity }).openapi('NewOrderItem')

const NewOrderItems = z
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
    ...orderDetails,
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

const WHEN_PLACED = 'when the order was placed; null where a version before 0.2 placed it'

export const OrderItem = z
  .object({
    product_id: Id.meta({ example: 1 }),
    qty: Quantity,
    unit_price_cents: Cents.meta({ example: 129900 }),
    subtotal_cents: Cents.meta({ example: 259800 }),
    line: int32(1, 200).meta({ description: 'The number of the line in its order', example: 1 }),
    sku: z
      .string()
      .nullable()
      .meta({ description: `Of the product ${WHEN_PLACED}`, example: 'LAP-15' }),
    name: z
      .string()
      .nullable()
      .meta({ description: `Of the product ${WHEN_PLACED}`, example: 'Laptop 15"' }),
  })
  .openapi('OrderItem')

const beforeItems = {
  id: Id.meta({ example: 5 }),
  customer_id: Id.meta({ example: 1 }),
  status: OrderStatus,
  total_cents: Cents.meta({ example: 259800 }),
}
const afterItems = {
  created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
  confirmed_at: Timestamp.nullable().meta({ example: null }),
  canceled_at: Timestamp.nullable().meta({ example: null }),
  expires_at: Timestamp.nullable().meta({
    description: 'When the hold of an unconfirmed order ends. Null after it is confirmed.',
    example: '2026-01-06T09:00:00.000Z',
  }),
  ...shownDetails,
  placed_by: z.string().nullable().meta({
    description: 'The principal that placed it; null where a version before 0.1 placed it',
    example: 'client:demo',
  }),
  version: Version.meta({ description: 'Rises with every change; the `ETag`', example: 1 }),
}

export const OrderSummary = z
  .object({
    ...beforeItems,
    items: z.array(OrderItem).optional().openapi({ description: 'With `expand=items` only', example: undefined }),
    ...afterItems,
  })
  .openapi('OrderSummary')

export const Order = z.object({ ...beforeItems, items: z.array(OrderItem), ...afterItems }).openapi('Order')

const OrderPage = pageOf(OrderSummary).openapi('OrderPage')

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
  po_number: emptyIsAbsent(visible(64)).openapi({
    description: 'Orders with this PO number, without regard to case. With `customer_id`, those of one customer.',
  }),
  expand: emptyIsAbsent(z.enum(['items'])).openapi({ description: '`items` shows the lines of each order' }),
})

/** The end of a page of orders: the time and id of its last order. */
export const OrderCursor = z.tuple([Timestamp, Id])

export const CancelOrder = z
  .strictObject({})
  // Generated Java clients send `null` when the caller gives no body.
  .nullable()
  .transform((order) => order ?? {})
  .openapi('CancelOrder')

export const OrderChange = z
  .strictObject(changeableDetails)
  .refine((change) => Object.values(change).some((value) => value !== undefined), 'Name at least one field to change')
  .openapi('OrderChange', {
    minProperties: 1,
    not: { additionalProperties: { enum: [null] } },
  })

const ProblemLine = z
  .object({
    product_id: Id.meta({ example: 1 }),
    requested: int64(1).meta({ example: 13 }),
    available: int64(0).optional().meta({ example: 2 }),
    min_qty: int32(1, MAX_INT32).optional().meta({ example: 12 }),
    qty_step: int32(1, MAX_INT32).optional().meta({ example: 12 }),
    max_qty: int32(1, MAX_INT32).nullable().optional().meta({ example: null }),
    nearest: z
      .array(int32(1, MAX_INT32).nullable())
      .optional()
      .meta({
        description: 'The nearest right quantities: below and above. Null where there is none.',
        example: [12, 24],
      }),
  })
  .openapi('OrderProblemLine')

/** A refusal of an order, with the facts that come with it. */
export const OrderProblem = z
  .object({
    ...Problem.shape,
    lines: z.array(ProblemLine).optional(),
    product_ids: z.array(Id).optional(),
    order_id: Id.optional().meta({ description: 'The order that has the PO number' }),
    max_open_holds: int32(1, MAX_INT32).optional(),
    currency: z.string().optional(),
  })
  .openapi('OrderProblem')

export const OrderPreview = z
  .object({
    acceptable: z.boolean().meta({ description: 'Whether the order would be placed now', example: true }),
    total_cents: Cents.nullable().meta({ description: 'Null if it is larger than 2^53-1', example: 259800 }),
    items: z
      .array(OrderItem)
      .meta({ description: 'The lines of products that exist, without those whose subtotal is larger than 2^53-1' }),
    problems: z.array(OrderProblem).meta({
      description:
        'All that stands against the order, each as its refusal would be. The first is what placing answers.',
      example: [],
    }),
  })
  .openapi('OrderPreview')

const tags = ['Orders']

/** A replay of a response that an earlier version stored has none. */
const OptionalETag = { ETag: { ...ETag.ETag, required: false } }

/** The refusals of placing an order that depend on what it asks for. */
const placementProblems = [
  ORDER_ERRORS.too_many_holds,
  ORDER_ERRORS.po_number_taken,
  PRODUCT_ERRORS.insufficient_stock,
  CUSTOMER_ERRORS.customer_not_found,
  ORDER_ERRORS.po_number_required,
  ORDER_ERRORS.currency_mismatch,
  PRODUCT_ERRORS.product_not_found,
  PRODUCT_ERRORS.product_inactive,
  PRODUCT_ERRORS.quantity_not_allowed,
  PLATFORM_ERRORS.amount_too_large,
] as const

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
    201: jsonResponse(Order, 'The order', { ...locationLike('orders/5'), ...ETag, ...Replayed }),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.idempotency_key_required,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      ...placementProblems,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.upstream_failed,
      PLATFORM_ERRORS.unavailable,
      PLATFORM_ERRORS.overloaded,
      PLATFORM_ERRORS.deadline_exceeded,
    ),
  },
})

/** It has another PO number than the example of placing: that one may be taken by now. */
const PREVIEWED = { customer_id: 1, items: [{ product_id: 1, qty: 2 }], po_number: 'PO-2026-0816', currency: 'USD' }

export const previewOrder = defineRoute({
  scope: 'orders:write',
  method: 'post',
  path: '/orders/preview',
  operationId: 'previewOrder',
  tags,
  summary: 'Try an order without placing it',
  description:
    'Takes the body of `POST /orders` and tells what it would cost and all that stands against it. Nothing is taken, ' +
    'locked or remembered. What is acceptable here is accepted there, if nothing changes between.',
  request: { body: jsonBody(NewOrder, PREVIEWED) },
  responses: {
    200: jsonResponse(OrderPreview, 'The lines, their total, and what stands against the order'),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

/** What an order of the demo data has besides its lines and times. */
const NO_DETAILS = {
  po_number: null,
  requested_delivery_date: null,
  ship_to: null,
  notes: null,
  metadata: null,
  currency: null,
  placed_by: null,
}

/** Orders 2 and 4 of the demo data, as they are after the examples of these routes have run. */
const CREATED = {
  id: 2,
  customer_id: 2,
  status: 'CREATED' as const,
  total_cents: 69800,
  items: [
    {
      product_id: 2,
      qty: 2,
      unit_price_cents: 34900,
      subtotal_cents: 69800,
      line: 1,
      sku: 'MON-27',
      name: 'Monitor 27"',
    },
  ],
  created_at: '2026-01-08T11:30:00.000Z',
  confirmed_at: null,
  canceled_at: null,
  expires_at: '2099-12-31T23:59:59.000Z',
  ...NO_DETAILS,
  version: 1,
}
const UPDATED = { ...CREATED, notes: 'Ring at gate 3.', version: 2 }
const CONFIRMED = {
  ...UPDATED,
  status: 'CONFIRMED' as const,
  confirmed_at: '2026-01-08T11:32:00.000Z',
  expires_at: null,
  version: 3,
}
const CANCELED = {
  id: 4,
  customer_id: 1,
  status: 'CANCELED' as const,
  total_cents: 389700,
  items: [
    {
      product_id: 1,
      qty: 3,
      unit_price_cents: 129900,
      subtotal_cents: 389700,
      line: 1,
      sku: 'LAP-15',
      name: 'Laptop 15"',
    },
  ],
  created_at: '2026-01-12T08:05:00.000Z',
  confirmed_at: null,
  canceled_at: '2026-01-12T08:06:00.000Z',
  expires_at: '2099-12-31T23:59:59.000Z',
  ...NO_DETAILS,
  version: 2,
}

export const updateOrder = defineRoute({
  scope: 'orders:write',
  method: 'patch',
  path: '/orders/{id}',
  operationId: 'updateOrder',
  tags,
  summary: 'Change the notes, metadata, date or ship-to of an order',
  description:
    'Fields that are not sent, or are null, keep their values. Lines and prices never change. A canceled order does not ' +
    'change any more.',
  parameters: [...idempotencyHeadersLike('order-2-notes'), ...preconditionHeaders],
  request: { params: idParamsLike(2), body: jsonBody(OrderChange, { notes: 'Ring at gate 3.' }) },
  responses: {
    200: jsonResponse(Order, 'The order', { ...ETag, ...Replayed }, UPDATED),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      ORDER_ERRORS.order_canceled,
      PLATFORM_ERRORS.precondition_failed,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
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
  parameters: ifNoneMatchHeader,
  request: { params: IdParams },
  responses: {
    200: jsonResponse(Order, 'The order', ETag),
    ...notModified,
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
    200: jsonResponse(Order, 'The order', { ...OptionalETag, ...Replayed }, CONFIRMED),
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
    200: jsonResponse(Order, 'The order', { ...OptionalETag, ...Replayed }, CANCELED),
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
    operation: z.string().meta({
      description: '`orders.place`, `orders.confirm`, `orders.update` or `orders.cancel`',
      example: 'orders.place',
    }),
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

import { CustomerBrief } from '../customers/contract.ts'
import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import { NewOrder, Order, OrderItem } from '../orders/contract.ts'
import { ORDER_ERRORS } from '../orders/errors.ts'
import { PLATFORM_ERRORS } from '../platform/core/errors.ts'
import {
  declareProblems,
  defineRoute,
  idempotencyHeadersLike,
  jsonBody,
  jsonResponse,
  KEYS,
  optional,
  Replayed,
} from '../platform/http/contract.ts'
import { Problem, type ProblemShape, problemDocument } from '../platform/http/problem-document.ts'
import { z } from '../platform/http/schema.ts'
import { CORRELATION_ID } from '../platform/telemetry/trace.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'

export const CreateAndConfirm = z
  .strictObject({
    ...NewOrder.omit({ hold_minutes: true, confirm: true }).shape,
    idempotency_key: optional(z.string()).openapi({
      ...KEYS,
      description:
        'The same key always means the same order, so the request can be sent again. It can be a header instead. ' +
        'Without a key the order is placed once for this request alone: send a key if you may send the request again.',
      example: 'abc-123',
    }),
    correlation_id: optional(z.string().regex(CORRELATION_ID)).meta({ example: 'req-789' }),
  })
  .openapi('CreateAndConfirm')

const OrderBrief = z
  .object({
    ...Order.pick({ id: true, status: true, total_cents: true }).shape,
    items: z.array(OrderItem.omit({ line: true, sku: true, name: true }).openapi('OrderBriefItem')),
    po_number: z.string().optional().meta({ description: 'Only if the request has one', example: undefined }),
  })
  .openapi('OrderBrief')

const ConfirmedOrderData = z
  .object({
    customer: CustomerBrief,
    order: OrderBrief,
  })
  .openapi('ConfirmedOrderData')

/** A plain boolean: for a literal, generated Python clients make an enum of strings and refuse every response. */
const success = (value: boolean) => z.boolean().meta({ description: `Always ${value}`, example: value })

export const ConfirmedOrder = z
  .object({
    success: success(true),
    correlationId: z.string().meta({ example: 'req-789' }),
    data: ConfirmedOrderData,
  })
  .openapi('ConfirmedOrder', {
    example: {
      success: true,
      correlationId: 'req-789',
      data: {
        customer: { id: 1, name: 'ACME Corp', email: 'ops@acme.com', phone: '555-1234' },
        order: {
          id: 5,
          status: 'CONFIRMED',
          total_cents: 259800,
          items: [{ product_id: 1, qty: 2, unit_price_cents: 129900, subtotal_cents: 259800 }],
        },
      },
    },
  })

const FailureReason = z
  .looseObject({
    code: z.string().meta({ description: 'Stable. Programs decide by this one.' }),
    message: z.string(),
    retryable: z.boolean().meta({ description: 'Whether the same request, with the same key, may succeed later' }),
  })
  .openapi('FailureReason')

/**
 * A problem document with the orchestrator's envelope, for callers that know only the envelope. It is one object
 * without `allOf`: Go clients can't be generated from two parts that both have `additionalProperties`.
 */
export const Failure = z
  .looseObject({ ...Problem.shape, success: success(false), correlationId: z.string(), error: FailureReason })
  .openapi('OrchestrationFailure')

export const failureShape: ProblemShape = {
  schema: Failure,
  of(error, correlationId) {
    const { code, message, retryable, extra } = error
    const envelope = { success: false, correlationId, error: { code, message, retryable, ...extra } }
    return { ...envelope, ...problemDocument(error, correlationId) }
  },
}

/** The request that the README prints. Details of an order are optional, and a PO number is used once. */
const EXAMPLE = {
  customer_id: 1,
  items: [{ product_id: 1, qty: 2 }],
  idempotency_key: 'abc-123',
  correlation_id: 'req-789',
}

export const createAndConfirmOrder = defineRoute({
  scope: 'orders:write',
  method: 'post',
  path: '/orchestrator/create-and-confirm-order',
  operationId: 'createAndConfirmOrder',
  tags: ['Orchestrator'],
  summary: 'Create and confirm an order in one call',
  description:
    'May be sent again at any moment with the same key, until it answers: it is one order. Open to anonymous callers only ' +
    'where `ORCHESTRATOR_PUBLIC=true`.',
  parameters: idempotencyHeadersLike('abc-123'),
  request: { body: jsonBody(CreateAndConfirm, EXAMPLE) },
  responses: {
    201: jsonResponse(ConfirmedOrder, 'The confirmed order', Replayed),
    ...declareProblems(failureShape, [
      PLATFORM_ERRORS.malformed_json,
      PLATFORM_ERRORS.validation_failed,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.unauthorized,
      PLATFORM_ERRORS.invalid_token,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PRODUCT_ERRORS.insufficient_stock,
      ORDER_ERRORS.po_number_taken,
      PLATFORM_ERRORS.payload_too_large,
      PLATFORM_ERRORS.unsupported_media_type,
      CUSTOMER_ERRORS.customer_not_found,
      PRODUCT_ERRORS.product_not_found,
      PRODUCT_ERRORS.product_inactive,
      PRODUCT_ERRORS.quantity_not_allowed,
      ORDER_ERRORS.po_number_required,
      ORDER_ERRORS.currency_mismatch,
      PLATFORM_ERRORS.amount_too_large,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.rate_limited,
      PLATFORM_ERRORS.internal_error,
      PLATFORM_ERRORS.upstream_failed,
      PLATFORM_ERRORS.unavailable,
      PLATFORM_ERRORS.overloaded,
      PLATFORM_ERRORS.deadline_exceeded,
    ]),
  },
})

import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import { eventFields } from '../events/contract.ts'
import { EVENT_PATTERNS } from '../events/types.ts'
import { PLATFORM_ERRORS } from '../platform/core/errors.ts'
import {
  bodyProblems,
  defineRoute,
  ETag,
  emptyIsAbsent,
  Id,
  IdParams,
  idempotencyHeadersLike,
  idParamsLike,
  jsonBody,
  jsonResponse,
  line,
  lineOrEmpty,
  locationLike,
  optional,
  preconditionHeaders,
  protectedProblems,
  Replayed,
  Timestamp,
  Version,
} from '../platform/http/contract.ts'
import { Instant } from '../platform/http/instant.ts'
import { int32, int64 } from '../platform/http/integers.ts'
import { NextLink, PageQuery, pageOf } from '../platform/http/pagination.ts'
import { z } from '../platform/http/schema.ts'
import { WEBHOOK_ERRORS } from './errors.ts'

/** Where `npm run webhooks:listen` listens. */
const EXAMPLE_URL = 'http://127.0.0.1:4000'

const Url = line(2048).meta({
  description:
    'Where events are posted: https, without user name and fragment. Its host must have public addresses only, or such ' +
    'that `WEBHOOK_ALLOWED_NETWORKS` names. With `npm start` outside production, also http and this machine.',
  example: EXAMPLE_URL,
})

const EventTypes = z
  .array(z.enum(EVENT_PATTERNS))
  .min(1)
  .max(EVENT_PATTERNS.length)
  .meta({
    description: 'Which events are sent: types, all of a resource such as `order.*`, or `*`',
    example: ['order.*'],
  })

const Description = line(500).meta({ example: 'Orders to the ERP' })

export const NewWebhookEndpoint = z
  .strictObject({
    url: Url,
    event_types: EventTypes,
    description: optional(Description),
    customer_id: optional(Id).meta({
      description:
        'Only events of this customer’s orders, and of products. A client that is bound to a customer makes endpoints ' +
        'for that one only.',
      example: 1,
    }),
  })
  .openapi('NewWebhookEndpoint')

const Status = z.enum(['enabled', 'disabled']).openapi('WebhookEndpointStatus')

export const WebhookEndpointChange = z
  .strictObject({
    url: optional(Url),
    event_types: optional(EventTypes),
    description: optional(lineOrEmpty(500)).meta({
      description: 'An empty text removes it.',
      example: 'Orders to the ERP',
    }),
    status: optional(Status).meta({
      description: 'An endpoint that is enabled again goes on from where it stood: nothing is lost.',
      example: 'enabled',
    }),
  })
  .refine((change) => Object.values(change).some((value) => value !== undefined), 'Name at least one field to change')
  .openapi('WebhookEndpointChange', { minProperties: 1, not: { additionalProperties: { enum: [null] } } })

const endpointFields = {
  id: Id.meta({ example: 1 }),
  url: z.string().meta({ example: EXAMPLE_URL }),
  description: z.string().nullable().meta({ example: 'Orders to the ERP' }),
  event_types: z.array(z.string()).meta({ example: ['order.*'] }),
  customer_id: Id.nullable().meta({ description: 'Only events that this customer may see; null: all', example: null }),
  status: Status.meta({ example: 'enabled' }),
  disabled_reason: z.enum(['requested', 'gone', 'failing']).nullable().meta({
    description: '`gone`: it answered 410. `failing`: nothing has reached it for `WEBHOOK_DISABLE_AFTER_HOURS`',
    example: null,
  }),
  paused_until: Timestamp.nullable().meta({
    description: 'It asked for a pause (`Retry-After`), or nothing could be signed',
    example: null,
  }),
  last_success_at: Timestamp.nullable().meta({ example: null }),
  old_secret_until: Timestamp.nullable().meta({ description: 'The secret before this one signs too', example: null }),
  created_at: Timestamp.meta({ example: '2026-01-07T09:00:00.000Z' }),
  updated_at: Timestamp.meta({ example: '2026-01-07T09:00:00.000Z' }),
  version: Version.meta({ description: 'Rises with every change that a caller makes', example: 1 }),
}

export const WebhookEndpoint = z.object(endpointFields).openapi('WebhookEndpoint')

export const WebhookEndpointWithSecret = z
  .object({
    ...endpointFields,
    secret: z.string().nullable().meta({
      description: 'Signs what is sent (Standard Webhooks). It is shown this once: a replay has null.',
      example: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=',
    }),
  })
  .openapi('WebhookEndpointWithSecret')

const WebhookEndpointPage = pageOf(WebhookEndpoint).openapi('WebhookEndpointPage')

export const SecretRotation = z
  .strictObject({
    grace_seconds: optional(int32(0, 604_800)).meta({
      description: 'How long the old secret signs too. Default: 86400',
      example: 86400,
    }),
    force: optional(z.boolean()).meta({
      description: 'Also while an older secret still signs: that one ends at once.',
      example: false,
    }),
  })
  .nullable()
  .transform((rotation) => rotation ?? { grace_seconds: undefined, force: undefined })
  .openapi('SecretRotation')

export const NoBody = z
  .strictObject({})
  .nullable()
  .transform((body) => body ?? {})
  .openapi('NoBody')

const DeliveryStatus = z.enum(['pending', 'succeeded', 'failed']).openapi('WebhookDeliveryStatus')

export const WebhookAttempt = z
  .object({
    attempted_at: Timestamp.meta({ example: '2026-01-07T10:15:02.000Z' }),
    status: int32(100, 999).nullable().meta({ description: 'Of the response; null: none came', example: 200 }),
    duration_ms: int64(0).meta({ example: 31 }),
    error: z
      .string()
      .nullable()
      .meta({
        description:
          'Why no response came: `timeout`, `connection_refused`, `address_not_allowed`, `tls`, … `not_signed`: a key of ' +
          'the operator is missing. `event_deleted`: the event is older than events are kept.',
        example: null,
      }),
    response: z.string().meta({ description: 'The first 1 KiB of the response', example: 'ok' }),
  })
  .openapi('WebhookAttempt')

const deliveryFields = {
  id: Id.meta({ example: 1 }),
  endpoint_id: Id.meta({ example: 1 }),
  event_id: z.string().meta({ description: 'The `webhook-id`', example: 'evt_812' }),
  event_type: z.string().meta({ example: 'order.confirmed' }),
  resource: z
    .object({ type: z.string().meta({ example: 'order' }), id: Id.meta({ example: 1 }) })
    .openapi('WebhookDeliveryResource'),
  position: int64(1).meta({ description: 'Of the event in the feed', example: 2 }),
  status: DeliveryStatus.meta({
    description: '`failed`: all attempts are used up. `redeliver` and `recover` send it again',
    example: 'succeeded',
  }),
  tries: int32(0, 2 ** 31 - 1).meta({ description: 'Attempts since it was last asked to be sent', example: 1 }),
  next_attempt_at: Timestamp.nullable().meta({
    description: 'Null when it is done, and while it waits for an earlier one of its resource',
    example: null,
  }),
  created_at: Timestamp.meta({ example: '2026-01-07T10:15:01.900Z' }),
  finished_at: Timestamp.nullable().meta({ example: '2026-01-07T10:15:02.031Z' }),
}

export const WebhookDelivery = z.object(deliveryFields).openapi('WebhookDelivery')

export const WebhookDeliveryDetail = z
  .object({ ...deliveryFields, attempts: z.array(WebhookAttempt).meta({ description: 'The last 100, oldest first' }) })
  .openapi('WebhookDeliveryDetail')

const WebhookDeliveryPage = pageOf(WebhookDelivery).openapi('WebhookDeliveryPage')

export const DeliveryQuery = PageQuery.extend({
  status: emptyIsAbsent(DeliveryStatus).openapi({ description: 'Empty: of every status' }),
  from: emptyIsAbsent(Instant).openapi({
    description: 'Made at this time or later: an RFC 3339 time, or a date in UTC. A `+` in it is written `%2B`.',
    example: '2026-01-01T00:00:00Z',
  }),
})

/** The end of a page of deliveries: the time and id of its last one. */
export const DeliveryCursor = z.tuple([Timestamp, Id])

export const Recovery = z
  .strictObject({
    since: Instant.openapi({ description: 'Made at this time or later', example: '2026-01-01T00:00:00Z' }),
    until: optional(Instant).meta({ description: 'Default: now', example: '2026-02-01T00:00:00Z' }),
    status: optional(z.enum(['failed', 'succeeded'])).meta({
      description: 'Which deliveries are sent again. Default: `failed`',
      example: 'failed',
    }),
  })
  .openapi('Recovery')

export const Recovered = z
  .object({ recovered: int64(0).meta({ description: 'Deliveries that are sent again', example: 3 }) })
  .openapi('Recovered')

const PingEvent = z
  .object({
    ...eventFields,
    id: z.string().meta({ example: 'ping_0d9cbb4e-8f5e-4b8e-9c7a-3c1f6c3a2f10' }),
    type: z.string().meta({ example: 'ping' }),
    position: int64(1).nullable().meta({ description: 'Null: it is not in the feed.', example: null }),
  })
  .openapi('PingEvent')

export const PingResult = z.object({ event: PingEvent, attempt: WebhookAttempt }).openapi('PingResult')

/** The end of a page of endpoints. */
export const EndpointCursor = z.tuple([Id])

const tags = ['Webhooks']

const readProblems = [
  PLATFORM_ERRORS.invalid_id,
  PLATFORM_ERRORS.insufficient_scope,
  PLATFORM_ERRORS.not_found,
  PLATFORM_ERRORS.unavailable,
] as const

const writeProblems = [
  ...bodyProblems,
  ...readProblems,
  PLATFORM_ERRORS.invalid_idempotency_key,
  PLATFORM_ERRORS.idempotency_key_reused,
] as const

export const createWebhookEndpoint = defineRoute({
  scope: 'webhooks:write',
  method: 'post',
  path: '/webhook-endpoints',
  operationId: 'createWebhookEndpoint',
  tags,
  summary: 'Have events posted to a URL',
  description:
    'From now on, each event of these types is posted to the URL, signed by Standard Webhooks 1.0, until it is answered ' +
    'with a 2xx: ten attempts over 75 hours. Events of one order are sent one after another.',
  parameters: idempotencyHeadersLike('endpoint-erp'),
  request: { body: jsonBody(NewWebhookEndpoint, { url: EXAMPLE_URL, event_types: ['order.*'] }) },
  responses: {
    201: jsonResponse(WebhookEndpointWithSecret, 'The endpoint, with its secret', {
      ...locationLike('webhook-endpoints/3'),
      ...ETag,
      ...Replayed,
    }),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      CUSTOMER_ERRORS.customer_not_found,
      WEBHOOK_ERRORS.url_not_allowed,
      WEBHOOK_ERRORS.too_many_endpoints,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const listWebhookEndpoints = defineRoute({
  scope: 'webhooks:read',
  method: 'get',
  path: '/webhook-endpoints',
  operationId: 'listWebhookEndpoints',
  tags,
  summary: 'List webhook endpoints',
  request: { query: PageQuery },
  responses: {
    200: jsonResponse(WebhookEndpointPage, 'A page', NextLink),
    ...protectedProblems(
      PLATFORM_ERRORS.validation_failed,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const getWebhookEndpoint = defineRoute({
  scope: 'webhooks:read',
  method: 'get',
  path: '/webhook-endpoints/{id}',
  operationId: 'getWebhookEndpoint',
  tags,
  summary: 'Get a webhook endpoint, without its secret',
  description:
    'Its `ETag` is for `If-Match`: it stays when only `last_success_at`, `paused_until` or `old_secret_until` change.',
  request: { params: IdParams },
  responses: {
    200: jsonResponse(WebhookEndpoint, 'The endpoint', ETag),
    ...protectedProblems(...readProblems),
  },
})

export const changeWebhookEndpoint = defineRoute({
  scope: 'webhooks:write',
  method: 'patch',
  path: '/webhook-endpoints/{id}',
  operationId: 'changeWebhookEndpoint',
  tags,
  summary: 'Change, disable or enable a webhook endpoint',
  parameters: [...idempotencyHeadersLike('endpoint-1-all-events'), ...preconditionHeaders],
  request: { params: IdParams, body: jsonBody(WebhookEndpointChange, { event_types: ['*'] }) },
  responses: {
    200: jsonResponse(WebhookEndpoint, 'The endpoint', { ...ETag, ...Replayed }),
    ...protectedProblems(...writeProblems, WEBHOOK_ERRORS.url_not_allowed, PLATFORM_ERRORS.precondition_failed),
  },
})

export const deleteWebhookEndpoint = defineRoute({
  scope: 'webhooks:write',
  method: 'delete',
  path: '/webhook-endpoints/{id}',
  operationId: 'deleteWebhookEndpoint',
  tags,
  summary: 'Delete a webhook endpoint, with its deliveries',
  parameters: [...idempotencyHeadersLike('endpoint-2-delete'), ...preconditionHeaders],
  request: { params: idParamsLike(2) },
  responses: {
    204: { description: 'It is deleted', headers: Replayed },
    ...protectedProblems(
      ...readProblems,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.precondition_failed,
    ),
  },
})

export const rotateWebhookSecret = defineRoute({
  scope: 'webhooks:write',
  method: 'post',
  path: '/webhook-endpoints/{id}/rotate-secret',
  operationId: 'rotateWebhookSecret',
  tags,
  summary: 'Replace the secret of a webhook endpoint',
  description: 'The old secret signs too, until the grace ends.',
  parameters: idempotencyHeadersLike('endpoint-1-rotate'),
  request: { params: IdParams, body: { content: { 'application/json': { schema: SecretRotation } } } },
  responses: {
    200: jsonResponse(WebhookEndpointWithSecret, 'The endpoint, with its new secret', { ...ETag, ...Replayed }),
    ...protectedProblems(...writeProblems, WEBHOOK_ERRORS.rotation_in_progress),
  },
})

export const pingWebhookEndpoint = defineRoute({
  scope: 'webhooks:write',
  method: 'post',
  path: '/webhook-endpoints/{id}/ping',
  operationId: 'pingWebhookEndpoint',
  tags,
  summary: 'Send a signed event `ping` now, and answer with what came',
  description: 'It is sent once, also to an endpoint that is disabled, and is not in the feed.',
  request: { params: IdParams, body: { content: { 'application/json': { schema: NoBody } } } },
  responses: {
    200: jsonResponse(PingResult, 'What was sent, and what came'),
    ...protectedProblems(...bodyProblems, ...readProblems),
  },
})

export const listWebhookDeliveries = defineRoute({
  scope: 'webhooks:read',
  method: 'get',
  path: '/webhook-endpoints/{id}/deliveries',
  operationId: 'listWebhookDeliveries',
  tags,
  summary: 'List the deliveries of a webhook endpoint, newest first',
  request: { params: IdParams, query: DeliveryQuery },
  responses: {
    200: jsonResponse(WebhookDeliveryPage, 'A page', NextLink),
    ...protectedProblems(PLATFORM_ERRORS.validation_failed, ...readProblems),
  },
})

export const getWebhookDelivery = defineRoute({
  scope: 'webhooks:read',
  method: 'get',
  path: '/webhook-deliveries/{id}',
  operationId: 'getWebhookDelivery',
  tags,
  summary: 'Get a delivery with its attempts',
  request: { params: IdParams },
  responses: {
    200: jsonResponse(WebhookDeliveryDetail, 'The delivery'),
    ...protectedProblems(...readProblems),
  },
})

export const redeliverWebhook = defineRoute({
  scope: 'webhooks:write',
  method: 'post',
  path: '/webhook-deliveries/{id}/redeliver',
  operationId: 'redeliverWebhook',
  tags,
  summary: 'Send a delivery again',
  description: 'With the same `webhook-id`, a new timestamp and a new signature. One that is pending is sent at once.',
  request: { params: IdParams, body: { content: { 'application/json': { schema: NoBody } } } },
  responses: {
    202: jsonResponse(WebhookDelivery, 'The delivery, which is pending'),
    ...protectedProblems(...bodyProblems, ...readProblems),
  },
})

export const recoverWebhooks = defineRoute({
  scope: 'webhooks:write',
  method: 'post',
  path: '/webhook-endpoints/{id}/recover',
  operationId: 'recoverWebhooks',
  tags,
  summary: 'Send the deliveries of a time again',
  description: 'Those that failed, or those that succeeded. Events of one order keep their order.',
  request: { params: IdParams, body: jsonBody(Recovery) },
  responses: {
    202: jsonResponse(Recovered, 'How many deliveries are pending now'),
    ...protectedProblems(...bodyProblems, ...readProblems),
  },
})

import { PLATFORM_ERRORS } from '../platform/core/errors.ts'
import {
  defineRoute,
  emptyIsAbsent,
  Id,
  IdParams,
  jsonResponse,
  protectedProblems,
  Timestamp,
  Version,
} from '../platform/http/contract.ts'
import { int64 } from '../platform/http/integers.ts'
import { NextLink, PageQuery, pageOf } from '../platform/http/pagination.ts'
import { z } from '../platform/http/schema.ts'
import { EVENT_ERRORS } from './errors.ts'
import { EVENT_PATTERNS, EVENT_TYPES, RESOURCE_TYPES } from './types.ts'

type Json = string | number | boolean | null | Json[] | { [name: string]: Json }

export type ActorType = 'client' | 'service' | 'system'

export const eventFields = {
  id: z.string().meta({ description: 'Unique. Whoever may get an event twice keeps these.', example: 'evt_10' }),
  type: z.string().meta({ description: `One of: ${EVENT_TYPES.join(', ')}`, example: 'order.confirmed' }),
  timestamp: Timestamp.meta({ example: '2026-01-07T10:15:01.000Z' }),
  position: int64(1).meta({ description: 'Its place in the feed: 1, 2, 3, … without gaps', example: 10 }),
  resource: z
    .object({
      type: z.string().meta({ example: 'order' }),
      id: Id.meta({ example: 1 }),
      version: Version.meta({ description: 'Of the resource after the change', example: 2 }),
    })
    .openapi('EventResource'),
  actor: z
    .object({
      // No enumeration: constants of its names would clash with types of clients generated for Go.
      type: z.string().meta({ description: '`client`, `service` or `system`', example: 'client' }),
      id: z.string().nullable().meta({
        description: 'Null for a caller that is bound to a customer, who may not know',
        example: 'demo',
      }),
    })
    .openapi('EventActor', { description: 'Who did it' }),
  correlation_id: z.string().nullable().meta({
    description: 'Of the request that did it; null where none did, or where a bound caller may not know',
    example: 'req-789',
  }),
  data: z.record(z.string(), z.custom<Json>()).openapi({
    type: 'object',
    description:
      'The resource after the change, under its name: `order` (with `items`), `product` or `customer`. With it, ' +
      '`previous`: the old values of what changed; `reason`; `adjustment`, of a stock. Members may be added.',
    example: {
      order: { id: 1, customer_id: 1, status: 'CONFIRMED', total_cents: 259800, version: 2 },
      previous: { status: 'CREATED', confirmed_at: null },
    },
  }),
}

export const Event = z.object(eventFields).openapi('Event')

const PATTERN = EVENT_PATTERNS.map((pattern) => pattern.replace(/[.*]/g, '\\$&')).join('|')
const TYPES = new RegExp(`^ *(${PATTERN}) *(, *(${PATTERN}) *)*$`)
const RESOURCE = new RegExp(`^(${RESOURCE_TYPES.join('|')}):[1-9]\\d{0,15}$`)

function unknownTypes(text: string): string {
  const unknown = text.split(',').filter((pattern) => !EVENT_PATTERNS.includes(pattern.trim()))
  return `Unknown: ${unknown.map((name) => `"${name.trim()}"`).join(', ')}. Known are ${EVENT_PATTERNS.join(', ')}`
}

function unknownResource(text: string): string {
  const [, type] = /^([a-z_]{1,20}):[1-9]\d{0,15}$/.exec(text) ?? []
  if (type === undefined) return 'Must be a type and an id, such as order:5'
  return `Unknown: "${type}". Known are ${RESOURCE_TYPES.join(', ')}`
}

export const EventQuery = z.strictObject({
  after: emptyIsAbsent(z.string().max(500)).openapi({
    description:
      '`next_cursor` of the page before. `latest`: only what comes from now on. Empty: from the oldest event that is kept.',
    example: '',
  }),
  types: emptyIsAbsent(
    z
      .string()
      .max(1000)
      .regex(TYPES, { error: ({ input }) => unknownTypes(String(input)) }),
  ).openapi({
    description: 'Only these, with commas between them, such as `order.*,product.out_of_stock`. Empty: all.',
    example: 'order.*',
  }),
  resource: emptyIsAbsent(z.string().regex(RESOURCE, { error: ({ input }) => unknownResource(String(input)) })).openapi(
    { description: 'Only events of this resource, such as `order:5`. Empty: of all.' },
  ),
  limit: z
    .string()
    .regex(/^(500|[1-4]\d\d|[1-9]\d?)$/, 'Must be an integer from 1 to 500')
    .transform(Number)
    .default(100)
    .openapi({ type: 'integer', format: 'int32', minimum: 1, maximum: 500, default: 100 }),
})

export const EventPage = z
  .object({
    data: z.array(Event),
    next_cursor: z.string().meta({
      description: 'Never null. Keep it, and send it as `after` the next time, also when `data` is empty.',
      example: 'WyJldmVudHMiLDEwXQ',
    }),
    has_more: z.boolean().meta({ description: 'Whether to read on at once. A page may be empty and more may follow.' }),
  })
  .openapi('EventPage')

/** The end of a page of the feed: its position. */
export const EventCursor = z.tuple([int64(0)])

const HistoryPage = pageOf(Event).openapi('HistoryPage')

/** The end of a page of a history: the version and type of its last event. */
export const HistoryCursor = z.tuple([int64(1), z.string().regex(/^[a-z._]{1,40}$/)])

const tags = ['Events']

export const listEvents = defineRoute({
  scope: 'events:read',
  method: 'get',
  path: '/events',
  operationId: 'listEvents',
  tags,
  summary: 'Read the feed of events, oldest first',
  description:
    'What happened, all of it, in one order. No reader misses an event: positions are given after the commit. An order ' +
    'whose 201 you hold is in the feed that you read next. A client that is bound to a customer sees the events of its ' +
    'orders and of products.',
  request: { query: EventQuery },
  responses: {
    200: jsonResponse(EventPage, 'A page'),
    ...protectedProblems(
      PLATFORM_ERRORS.validation_failed,
      PLATFORM_ERRORS.insufficient_scope,
      EVENT_ERRORS.cursor_expired,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const getOrderHistory = defineRoute({
  scope: 'events:read',
  method: 'get',
  path: '/orders/{id}/history',
  operationId: 'getOrderHistory',
  tags,
  summary: 'List the events of an order, oldest first',
  request: { params: IdParams, query: PageQuery },
  responses: {
    200: jsonResponse(HistoryPage, 'A page', NextLink),
    ...protectedProblems(
      PLATFORM_ERRORS.validation_failed,
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

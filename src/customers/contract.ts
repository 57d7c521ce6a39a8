import { IDENTITY_ERRORS } from '../identity/errors.ts'
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
  ifNoneMatchHeader,
  jsonBody,
  jsonResponse,
  line,
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
  visibleOrEmpty,
} from '../platform/http/contract.ts'
import { NextLink, pageOf, SearchQuery } from '../platform/http/pagination.ts'
import { z } from '../platform/http/schema.ts'
import { BatchResponse, batchedCalls } from '../platform/rpc/batch-contract.ts'
import { CUSTOMER_ERRORS } from './errors.ts'
import { PO_POLICIES } from './tables.ts'

/** RFC 5322's dot-atom, at a DNS name. */
const EMAIL =
  /^\s*[\w~!#$%&\x27*+/=?^\x60{|}-]+(\.[\w~!#$%&\x27*+/=?^\x60{|}-]+)*@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?\s*$/

const MAX_EXTERNAL_ID = 64

const PO_POLICY =
  'The rule for PO numbers of its orders. `unique`: two orders that are not canceled never have the same one; `free`: ' +
  'they may; `required`: as `unique`, and each order needs one.'

const PoPolicy = z.enum(PO_POLICIES)

const REPLACED_FIELDS = {
  name: line(200).meta({ example: 'Initech' }),
  email: text(254).regex(EMAIL, 'Must be an e-mail address').trim().meta({ example: 'orders@initech.example' }),
  phone: line(32).nullish().meta({ example: '555-0142' }),
}

export const NewCustomer = z
  .strictObject({
    ...REPLACED_FIELDS,
    external_id: optional(visible(MAX_EXTERNAL_ID)).openapi({
      description: 'The id in another system, compared exactly. Unique among customers that are not removed.',
      example: 'ERP-10042',
    }),
    po_policy: optional(PoPolicy).openapi({
      description: `${PO_POLICY} Absent or null: \`unique\`.`,
      example: 'unique',
    }),
  })
  .openapi('NewCustomer')

/** Callers of the first version know only the replaced fields: what they don't send must stay. */
export const CustomerReplacement = z
  .strictObject({
    ...REPLACED_FIELDS,
    external_id: optional(visibleOrEmpty(MAX_EXTERNAL_ID)).openapi({
      description: 'The id in another system. Absent or null: stays as it is. The empty text removes it.',
      example: 'ERP-10042',
    }),
    po_policy: optional(PoPolicy).openapi({
      description: `${PO_POLICY} Absent or null: stays as it is.`,
      example: 'unique',
    }),
  })
  .openapi('CustomerReplacement')

export const Customer = z
  .object({
    id: Id.meta({ example: 1 }),
    name: z.string().meta({ example: 'ACME Corp' }),
    email: z.string().meta({ example: 'ops@acme.com' }),
    phone: z.string().nullable().meta({ example: '555-1234' }),
    external_id: z
      .string()
      .nullable()
      .meta({ description: 'The id in another system; null: none', example: 'ERP-10001' }),
    po_policy: PoPolicy.openapi({ description: PO_POLICY, example: 'unique' }),
    created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    updated_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    version: Version.meta({ description: 'Rises with every change; the `ETag`', example: 1 }),
  })
  .openapi('Customer')

/** What an order's response shows of its customer. */
export const CustomerBrief = Customer.pick({ id: true, name: true, email: true, phone: true }).openapi('CustomerBrief')

const CustomerPage = pageOf(Customer).openapi('CustomerPage')

const EXACT = 'One page with that customer, or without any. Not with `search` or `cursor`. Empty: absent.'

const CustomerQuery = SearchQuery.extend({
  email: emptyIsAbsent(
    text(254)
      .regex(new RegExp(`^$|${EMAIL.source}`), 'Must be an e-mail address')
      .trim(),
  ).openapi({
    description: `The customer with this e-mail, in upper or lower case; write \`+\` as \`%2B\`. ${EXACT}`,
    example: '',
  }),
  external_id: emptyIsAbsent(visibleOrEmpty(MAX_EXTERNAL_ID)).openapi({
    description: `The customer with exactly this external id. With \`email\`, both must match. ${EXACT}`,
    example: '',
  }),
}).superRefine(({ email, external_id, search, cursor }, context) => {
  if (email === undefined && external_id === undefined) return
  const lookUp = email === undefined ? 'external_id' : 'email'
  for (const [name, value] of Object.entries({ search: search?.trim(), cursor })) {
    if (value) context.addIssue({ code: 'custom', path: [name], message: `Can't be combined with ${lookUp}` })
  }
})

const tags = ['Customers']

const CREATED = {
  id: 5,
  name: 'Initech',
  email: 'orders@initech.example',
  phone: '555-0142',
  external_id: 'ERP-10042',
  po_policy: 'unique' as const,
  created_at: '2026-01-07T09:00:00.000Z',
  updated_at: '2026-01-07T09:00:00.000Z',
  version: 1,
}

export const createCustomer = defineRoute({
  scope: 'customers:write',
  method: 'post',
  path: '/customers',
  operationId: 'createCustomer',
  tags,
  summary: 'Add a customer',
  parameters: idempotencyHeadersLike('new-customer-initech'),
  request: { body: jsonBody(NewCustomer) },
  responses: {
    201: jsonResponse(Customer, 'The customer', { ...locationLike('customers/5'), ...ETag, ...Replayed }, CREATED),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      IDENTITY_ERRORS.bound_client,
      CUSTOMER_ERRORS.email_taken,
      CUSTOMER_ERRORS.external_id_taken,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const getCustomer = defineRoute({
  scope: 'customers:read',
  method: 'get',
  path: '/customers/{id}',
  operationId: 'getCustomer',
  tags,
  summary: 'Get a customer',
  parameters: ifNoneMatchHeader,
  request: { params: IdParams },
  responses: {
    200: jsonResponse(Customer, 'The customer', ETag),
    ...notModified,
    ...protectedProblems(
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const listCustomers = defineRoute({
  scope: 'customers:read',
  method: 'get',
  path: '/customers',
  operationId: 'listCustomers',
  tags,
  summary: 'List or search customers, or look one up',
  request: { query: CustomerQuery },
  responses: {
    200: jsonResponse(CustomerPage, 'A page', NextLink),
    ...protectedProblems(
      PLATFORM_ERRORS.validation_failed,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

/** Customer 3 of the demo data, with another phone. */
const OTHER_PHONE = { name: 'Globex Wholesale', email: 'orders@globex.example', phone: '555-9877' }
const REPLACED = {
  id: 3,
  ...OTHER_PHONE,
  external_id: null,
  po_policy: 'unique' as const,
  created_at: '2026-01-05T09:00:00.000Z',
  updated_at: '2026-01-07T09:00:00.000Z',
  version: 2,
}

export const replaceCustomer = defineRoute({
  scope: 'customers:write',
  method: 'put',
  path: '/customers/{id}',
  operationId: 'replaceCustomer',
  tags,
  summary: 'Change a customer',
  description:
    'Replaces name, e-mail and phone: a `phone` that is not sent, or is null, is removed. `external_id` and `po_policy` ' +
    'stay as they are if they are not sent, or are null, so that a caller who does not know them loses nothing. The ' +
    'empty text removes the external id.',
  parameters: [...idempotencyHeadersLike('customer-3-new-phone'), ...preconditionHeaders],
  request: { params: idParamsLike(3), body: jsonBody(CustomerReplacement, OTHER_PHONE) },
  responses: {
    200: jsonResponse(Customer, 'The customer', { ...ETag, ...Replayed }, REPLACED),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      IDENTITY_ERRORS.bound_client,
      PLATFORM_ERRORS.not_found,
      CUSTOMER_ERRORS.email_taken,
      CUSTOMER_ERRORS.external_id_taken,
      PLATFORM_ERRORS.precondition_failed,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const deleteCustomer = defineRoute({
  scope: 'customers:write',
  method: 'delete',
  path: '/customers/{id}',
  operationId: 'deleteCustomer',
  tags,
  summary: 'Remove a customer',
  description:
    'Orders keep their history. After this the id is not found, and the e-mail and the external id can be used again.',
  parameters: [...idempotencyHeadersLike('customer-4-removal'), ...preconditionHeaders],
  request: { params: idParamsLike(4) },
  responses: {
    204: { description: 'Removed', headers: Replayed },
    ...protectedProblems(
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      IDENTITY_ERRORS.bound_client,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.precondition_failed,
      PLATFORM_ERRORS.payload_too_large,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const eraseCustomer = defineRoute({
  scope: 'customers:write',
  method: 'post',
  path: '/customers/{id}/erase',
  operationId: 'eraseCustomer',
  tags,
  summary: "Erase a customer's personal data",
  description:
    'Name, e-mail, phone and external id are replaced (`Erased customer`, `erased-1@invalid`, null, null), also in ' +
    'stored answers to earlier requests, and searches no longer find the customer. Orders keep their history. A ' +
    'deleted customer can be erased too. Erasing twice changes nothing more.',
  parameters: idempotencyHeadersLike('customer-4-erasure'),
  request: { params: idParamsLike(4) },
  responses: {
    204: { description: 'Erased', headers: Replayed },
    ...protectedProblems(
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      IDENTITY_ERRORS.bound_client,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.payload_too_large,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const getInternalCustomers = defineRoute({
  internal: true,
  method: 'post',
  path: '/internal/customers/lookups',
  operationId: 'getInternalCustomers',
  tags: ['Internal'],
  summary: 'Get several customers in one request, for the other services',
  request: { body: jsonBody(batchedCalls('CustomerLookups', { id: Id.meta({ example: 1 }) })) },
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

export const getInternalCustomer = defineRoute({
  internal: true,
  method: 'get',
  path: '/internal/customers/{id}',
  operationId: 'getInternalCustomer',
  tags: ['Internal'],
  summary: 'Get a customer, for the other services',
  parameters: ifNoneMatchHeader,
  request: { params: IdParams },
  responses: {
    200: jsonResponse(Customer, 'The customer', ETag),
    ...notModified,
    ...problems(
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.unauthorized,
      PLATFORM_ERRORS.invalid_token,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

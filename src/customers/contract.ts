import { IDENTITY_ERRORS } from '../identity/errors.ts'
import { PLATFORM_ERRORS } from '../platform/core/errors.ts'
import {
  bodyProblems,
  defineRoute,
  ETag,
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
  preconditionHeaders,
  problems,
  protectedProblems,
  Replayed,
  Timestamp,
  text,
  Version,
} from '../platform/http/contract.ts'
import { NextLink, pageOf, SearchQuery } from '../platform/http/pagination.ts'
import { z } from '../platform/http/schema.ts'
import { BatchResponse, batchedCalls } from '../platform/rpc/batch-contract.ts'
import { CUSTOMER_ERRORS } from './errors.ts'

/** RFC 5322's dot-atom, at a DNS name. */
const EMAIL =
  /^\s*[\w~!#$%&\x27*+/=?^\x60{|}-]+(\.[\w~!#$%&\x27*+/=?^\x60{|}-]+)*@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?\s*$/

export const NewCustomer = z
  .strictObject({
    name: line(200).meta({ example: 'Initech' }),
    email: text(254).regex(EMAIL, 'Must be an e-mail address').trim().meta({ example: 'orders@initech.example' }),
    phone: line(32).nullish().meta({ example: '555-0142' }),
  })
  .openapi('NewCustomer')

export const Customer = z
  .object({
    id: Id.meta({ example: 1 }),
    name: z.string().meta({ example: 'ACME Corp' }),
    email: z.string().meta({ example: 'ops@acme.com' }),
    phone: z.string().nullable().meta({ example: '555-1234' }),
    created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    updated_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    version: Version.meta({ description: 'Rises with every change; the `ETag`', example: 1 }),
  })
  .openapi('Customer')

/** What an order's response shows of its customer. */
export const CustomerBrief = Customer.pick({ id: true, name: true, email: true, phone: true }).openapi('CustomerBrief')

const CustomerPage = pageOf(Customer).openapi('CustomerPage')

const tags = ['Customers']

const CREATED = {
  id: 5,
  name: 'Initech',
  email: 'orders@initech.example',
  phone: '555-0142',
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
  summary: 'List or search customers',
  request: { query: SearchQuery },
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
  description: 'Replaces all fields: a `phone` that is not sent, or is null, is removed.',
  parameters: [...idempotencyHeadersLike('customer-3-new-phone'), ...preconditionHeaders],
  request: { params: idParamsLike(3), body: jsonBody(NewCustomer, OTHER_PHONE) },
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
  description: 'Orders keep their history. After this the id is not found, and the e-mail can be used again.',
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
    'Name, e-mail and phone are replaced (`Erased customer`, `erased-1@invalid`, null), also in stored answers to ' +
    'earlier requests, and searches no longer find the customer. Orders keep their history. A deleted customer can be ' +
    'erased too. Erasing twice changes nothing more.',
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

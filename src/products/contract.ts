import { PLATFORM_ERRORS } from '../platform/core/errors.ts'
import {
  bodyProblems,
  Cents,
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
  optional,
  preconditionHeaders,
  protectedProblems,
  Replayed,
  Timestamp,
  Version,
} from '../platform/http/contract.ts'
import { int32, int64 } from '../platform/http/integers.ts'
import { NextLink, pageOf, SearchQuery } from '../platform/http/pagination.ts'
import { z } from '../platform/http/schema.ts'
import { PRODUCT_ERRORS } from './errors.ts'

const Price = Cents.max(100_000_000_000).openapi({ maximum: 100_000_000_000 })
const Stock = int64(0).max(1_000_000_000_000).openapi({ maximum: 1_000_000_000_000 })
const Delta = int32(-1_000_000_000, 1_000_000_000).meta({ example: -3 })

export const NewProduct = z
  .strictObject({
    sku: z
      .string()
      .regex(/^\s*[\w./-]{1,64}\s*$/, 'Must be 1 to 64 letters, digits, or any of _ . / -')
      .trim()
      .meta({ example: 'KEY-ISO' }),
    name: line(200).meta({ example: 'Keyboard ISO' }),
    price_cents: Price.meta({ example: 4900 }),
    stock: Stock.meta({ example: 250 }),
  })
  .openapi('NewProduct')

export const ProductChange = z
  .strictObject({
    name: optional(NewProduct.shape.name),
    price_cents: optional(NewProduct.shape.price_cents),
    stock: optional(NewProduct.shape.stock).meta({
      description: 'The new count. The ledger of adjustments records the difference.',
      example: 240,
    }),
  })
  .refine((change) => Object.values(change).some((value) => value !== undefined), 'Name at least one field to change')
  .openapi('ProductChange', {
    minProperties: 1,
    // At least one given field must not be null. This uses neither `type` nor `properties`, because generators would
    // make a model of either.
    not: { additionalProperties: { enum: [null] } },
  })

export const Product = z
  .object({
    id: Id.meta({ example: 1 }),
    sku: z.string().meta({ example: 'LAP-15' }),
    name: z.string().meta({ example: 'Laptop 15"' }),
    price_cents: Cents.meta({ example: 129900 }),
    stock: int64(0).meta({ description: 'Pieces that can be sold now', example: 4995 }),
    created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    updated_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    version: Version.meta({ description: 'Rises with every change, of the stock too; the `ETag`', example: 1 }),
  })
  .openapi('Product')

const ProductPage = pageOf(Product).openapi('ProductPage')

export const NewStockAdjustment = z
  .strictObject({
    delta: Delta.refine((delta) => delta !== 0, 'Must not be 0').openapi({ not: { enum: [0] } }),
    reason: line(200).meta({ example: 'Broken in the warehouse' }),
  })
  .openapi('NewStockAdjustment')

export const StockAdjustment = z
  .object({
    id: Id.meta({ example: 4 }),
    product_id: Id.meta({ example: 1 }),
    delta: Delta,
    reason: z.string().meta({ example: 'Broken in the warehouse' }),
    stock: int64(0).meta({ description: 'The stock after the adjustment', example: 4992 }),
    created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
  })
  .openapi('StockAdjustment')

const tags = ['Products']

const CREATED = {
  id: 4,
  sku: 'KEY-ISO',
  name: 'Keyboard ISO',
  price_cents: 4900,
  stock: 250,
  created_at: '2026-01-07T09:00:00.000Z',
  updated_at: '2026-01-07T09:00:00.000Z',
  version: 1,
}

export const createProduct = defineRoute({
  scope: 'products:write',
  method: 'post',
  path: '/products',
  operationId: 'createProduct',
  tags,
  summary: 'Add a product',
  parameters: idempotencyHeadersLike('new-product-key-iso'),
  request: { body: jsonBody(NewProduct) },
  responses: {
    201: jsonResponse(Product, 'The product', { ...locationLike('products/4'), ...ETag, ...Replayed }, CREATED),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PRODUCT_ERRORS.sku_taken,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const getProduct = defineRoute({
  scope: 'products:read',
  method: 'get',
  path: '/products/{id}',
  operationId: 'getProduct',
  tags,
  summary: 'Get a product',
  parameters: ifNoneMatchHeader,
  request: { params: IdParams },
  responses: {
    200: jsonResponse(Product, 'The product', ETag),
    ...notModified,
    ...protectedProblems(
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const listProducts = defineRoute({
  scope: 'products:read',
  method: 'get',
  path: '/products',
  operationId: 'listProducts',
  tags,
  summary: 'List or search products',
  request: { query: SearchQuery },
  responses: {
    200: jsonResponse(ProductPage, 'A page', NextLink),
    ...protectedProblems(
      PLATFORM_ERRORS.validation_failed,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

/** Product 3 of the demo data, at another price. */
const CHANGED = {
  id: 3,
  sku: 'CAB-USBC',
  name: 'Cable USB-C 2 m',
  price_cents: 1090,
  stock: 20000,
  created_at: '2026-01-05T09:00:00.000Z',
  updated_at: '2026-01-07T09:00:00.000Z',
  version: 2,
}

export const changeProduct = defineRoute({
  scope: 'products:write',
  method: 'patch',
  path: '/products/{id}',
  operationId: 'changeProduct',
  tags,
  summary: 'Change a product',
  description:
    'Fields that are not sent keep their values. `stock` without `If-Match` overwrites what orders took since you read ' +
    'the product. To add or remove pieces, use a stock adjustment.',
  parameters: [...idempotencyHeadersLike('product-3-new-price'), ...preconditionHeaders],
  request: { params: idParamsLike(3), body: jsonBody(ProductChange, { price_cents: 1090 }) },
  responses: {
    200: jsonResponse(Product, 'The product', { ...ETag, ...Replayed }, CHANGED),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.precondition_failed,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

export const adjustStock = defineRoute({
  scope: 'products:write',
  method: 'post',
  path: '/products/{id}/stock-adjustments',
  operationId: 'adjustStock',
  tags,
  summary: 'Add or remove stock',
  description: '`If-Match` and `If-None-Match` take the `ETag` of the product, whose version rises with its stock.',
  parameters: [...idempotencyHeadersLike('product-1-broken-pieces'), ...preconditionHeaders],
  request: { params: IdParams, body: jsonBody(NewStockAdjustment) },
  responses: {
    201: jsonResponse(StockAdjustment, 'The adjustment', Replayed),
    ...protectedProblems(
      ...bodyProblems,
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.invalid_idempotency_key,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PRODUCT_ERRORS.insufficient_stock,
      PLATFORM_ERRORS.precondition_failed,
      PLATFORM_ERRORS.amount_too_large,
      PLATFORM_ERRORS.idempotency_key_reused,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

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
  text,
  Version,
} from '../platform/http/contract.ts'
import { int32, int64 } from '../platform/http/integers.ts'
import { NextLink, PageQuery, pageOf, SearchQuery } from '../platform/http/pagination.ts'
import { z } from '../platform/http/schema.ts'
import { PRODUCT_ERRORS } from './errors.ts'

const Price = Cents.max(100_000_000_000).openapi({ maximum: 100_000_000_000 })
const Stock = int64(0).max(1_000_000_000_000).openapi({ maximum: 1_000_000_000_000 })
const Delta = int32(-1_000_000_000, 1_000_000_000).meta({ example: -3 })

const MAX_SKU = 64
const MAX_SKUS = 100

/**
 * No white space, no control, zero-width or bidi characters, and none of `! " $ % * ; < = > ? @ [ \ ] ^ { | } ~` and the
 * backtick, nor what NFC makes `;` or a backtick of. The document shows it, and not every tool knows `\p{Cf}`.
 */
const IN_SKU =
  '[^\\s\\x00-\\x1f!"$%*;<-@\\[-\\^`{-\\x9f\\u00ad\\u037e\\u061c\\u180e\\u1fef\\u200b-\\u200f\\u202a-\\u202e' +
  '\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]'
const SKU = new RegExp(`^\\s*${IN_SKU}+( ${IN_SKU}+)*\\s*$`)

const Sku = z
  .string()
  .refine((sku) => [sku, sku.normalize('NFC')].every(fitsSku), `Too big: at most ${MAX_SKU} characters`)
  .openapi({ maxLength: MAX_SKU })
  .regex(SKU, "Must be letters, digits, or any of _ . / - # + , : ( ) & ' with single spaces between them")
  .refine((sku) => sku.isWellFormed(), 'Must be valid Unicode text')
  .trim()
  .normalize('NFC')

function fitsSku(sku: string): boolean {
  return [...sku].length <= MAX_SKU
}

const OrderedQuantity = int32(1, 1_000_000)

/** What an order of the product must fulfil. All are optional: products had none of these fields at first. */
const orderRules = {
  active: z.boolean().meta({ description: 'Whether it can be ordered. Default: true', example: true }),
  min_qty: OrderedQuantity.meta({ description: 'The smallest quantity of an order. Default: 1', example: 1 }),
  qty_step: OrderedQuantity.meta({ description: 'Orders have multiples of this quantity. Default: 1', example: 1 }),
  max_qty: int32(0, 200_000_000).meta({
    description: 'The largest quantity of an order. 0 or absent: no maximum',
    example: 1000,
  }),
  unit: line(20).meta({ description: 'What a piece is. Default: `pc`', example: 'pc' }),
  stock_low_at: Stock.meta({
    description: 'When the stock falls to this, there is an event `product.stock_low`. Default: never',
    example: 25,
  }),
}

export const NewProduct = z
  .strictObject({
    sku: Sku.meta({
      description: 'Unique without regard to case. Unicode in its composed form (NFC)',
      example: 'KEY-ISO',
    }),
    name: line(200).meta({ example: 'Keyboard ISO' }),
    price_cents: Price.meta({ example: 4900 }),
    stock: Stock.meta({ example: 250 }),
    active: optional(orderRules.active),
    min_qty: optional(orderRules.min_qty),
    qty_step: optional(orderRules.qty_step),
    max_qty: optional(orderRules.max_qty),
    unit: optional(orderRules.unit),
    stock_low_at: optional(orderRules.stock_low_at),
  })
  .openapi('NewProduct', {
    description: 'Some quantity must be possible: a multiple of `qty_step`, from `min_qty` to `max_qty`.',
  })

export const ProductChange = z
  .strictObject({
    sku: optional(NewProduct.shape.sku),
    name: optional(NewProduct.shape.name),
    price_cents: optional(NewProduct.shape.price_cents),
    stock: optional(NewProduct.shape.stock).meta({
      description: 'The new count. The ledger of adjustments records the difference.',
      example: 240,
    }),
    active: optional(orderRules.active).meta({ description: 'Whether it can be ordered', example: true }),
    min_qty: optional(orderRules.min_qty).meta({ description: 'The smallest quantity of an order', example: 1 }),
    qty_step: optional(orderRules.qty_step).meta({
      description: 'Orders have multiples of this quantity',
      example: 1,
    }),
    max_qty: optional(orderRules.max_qty).meta({
      description: 'The largest quantity of an order. 0 removes the maximum, which is null from then on',
      example: 1000,
    }),
    unit: optional(orderRules.unit).meta({ description: 'What a piece is', example: 'pc' }),
    stock_low_at: optional(int64(-1).max(1_000_000_000_000).openapi({ maximum: 1_000_000_000_000 })).meta({
      description: 'When the stock falls to this, there is an event `product.stock_low`. -1: never again',
      example: 25,
    }),
  })
  .refine((change) => Object.values(change).some((value) => value !== undefined), 'Name at least one field to change')
  .openapi('ProductChange', {
    description:
      'A field that is `null` or absent keeps its value. Some quantity must be possible after the change: a multiple of ' +
      '`qty_step`, from `min_qty` to `max_qty`.',
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
    active: z.boolean().meta({ description: 'Whether it can be ordered', example: true }),
    min_qty: OrderedQuantity.meta({ description: 'The smallest quantity of an order', example: 1 }),
    qty_step: OrderedQuantity.meta({ description: 'Orders have multiples of this quantity', example: 1 }),
    max_qty: int32(1, 200_000_000)
      .nullable()
      .meta({ description: 'The largest quantity of an order; null: no maximum', example: null }),
    unit: z.string().meta({ description: 'What a piece is', example: 'pc' }),
    stock_low_at: int64(0).nullable().meta({
      description: 'When the stock falls to this, there is an event `product.stock_low`; null: never',
      example: null,
    }),
    created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    updated_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
    version: Version.meta({ description: 'Rises with every change, of the stock too; the `ETag`', example: 1 }),
  })
  .openapi('Product')

const ProductPage = pageOf(Product).openapi('ProductPage')

export const ProductQuery = SearchQuery.extend({
  limit: PageQuery.shape.limit.unwrap().optional().openapi({
    type: 'integer',
    format: 'int32',
    minimum: 1,
    maximum: 100,
    description: 'Default: 20, and 100 with `sku`',
  }),
  sku: z.preprocess(givenValues, z.array(text(200)).max(MAX_SKUS).optional()).openapi({
    param: { style: 'form', explode: true },
    description:
      'Only products with this SKU, without regard to case. For many at once, give it up to 100 times: ' +
      '`?sku=LAP-15&sku=MON-27`. With `search`, both hold. Empty: all rows.',
  }),
})

/** A parameter that may be repeated: one value, or a list of them. Empty values count as absent. */
function givenValues(given: unknown): unknown {
  const values = [given].flat().filter((value) => value !== undefined && value !== '')
  return values.length === 0 ? undefined : values
}

export const NewStockAdjustment = z
  .strictObject({
    delta: Delta.refine((delta) => delta !== 0, 'Must not be 0').openapi({ not: { enum: [0] } }),
    reason: line(200).meta({ example: 'Broken in the warehouse' }),
  })
  .openapi('NewStockAdjustment')

export const StockAdjustment = z
  .object({
    id: Id.meta({ example: 5 }),
    product_id: Id.meta({ example: 1 }),
    delta: Delta,
    reason: z.string().meta({ example: 'Broken in the warehouse' }),
    stock: int64(0).meta({ description: 'The stock after the adjustment', example: 4992 }),
    created_at: Timestamp.meta({ example: '2026-01-05T09:00:00.000Z' }),
  })
  .openapi('StockAdjustment')

/** A row of the ledger. */
export const LedgerEntry = z
  .object({
    id: StockAdjustment.shape.id,
    product_id: StockAdjustment.shape.product_id,
    delta: int64(-Number.MAX_SAFE_INTEGER).meta({ description: 'Pieces added, or removed if below 0', example: -3 }),
    reason: StockAdjustment.shape.reason,
    principal: z.string().nullable().meta({
      description: 'Who did it; null for a caller that is bound to a customer, who may not know',
      example: 'client:erp',
    }),
    created_at: StockAdjustment.shape.created_at,
  })
  .openapi('LedgerEntry')

const LedgerPage = pageOf(LedgerEntry).openapi('LedgerPage')

const tags = ['Products']

const CREATED = {
  id: 5,
  sku: 'KEY-ISO',
  name: 'Keyboard ISO',
  price_cents: 4900,
  stock: 250,
  active: true,
  min_qty: 1,
  qty_step: 1,
  max_qty: 1000,
  unit: 'pc',
  stock_low_at: 25,
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
    201: jsonResponse(Product, 'The product', { ...locationLike('products/5'), ...ETag, ...Replayed }, CREATED),
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
  request: { query: ProductQuery },
  responses: {
    200: jsonResponse(ProductPage, 'A page', NextLink),
    ...protectedProblems(
      PLATFORM_ERRORS.validation_failed,
      // 100 long SKUs of a script with many bytes a letter make a longer URL than HTTP takes.
      PLATFORM_ERRORS.headers_too_large,
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
  active: true,
  min_qty: 1,
  qty_step: 1,
  max_qty: null,
  unit: 'pc',
  stock_low_at: null,
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
      PRODUCT_ERRORS.sku_taken,
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

export const listStockAdjustments = defineRoute({
  scope: 'products:read',
  method: 'get',
  path: '/products/{id}/stock-adjustments',
  operationId: 'listStockAdjustments',
  tags,
  summary: 'List the stock adjustments of a product, newest first',
  description:
    'The ledger: every change of the stock that no order made. With the quantities of orders that are not canceled, it ' +
    'explains the stock. When old orders are archived, an entry replaces what they took.',
  request: { params: IdParams, query: PageQuery },
  responses: {
    200: jsonResponse(LedgerPage, 'A page', NextLink),
    ...protectedProblems(
      PLATFORM_ERRORS.validation_failed,
      PLATFORM_ERRORS.invalid_id,
      PLATFORM_ERRORS.insufficient_scope,
      PLATFORM_ERRORS.not_found,
      PLATFORM_ERRORS.unavailable,
    ),
  },
})

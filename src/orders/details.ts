import { COUNTRY } from '../platform/core/countries.ts'
import { line, optional, text, visible } from '../platform/http/contract.ts'
import { DATE } from '../platform/http/instant.ts'
import { z } from '../platform/http/schema.ts'

// The details that a caller may give an order, as pure data: the contracts of Orders and of the orchestrator share them.

/** All control characters but tab and line ends. */
const CONTROL = '\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f'

/** Text of several lines. */
const Notes = text(2000)
  .regex(new RegExp(`^[^${CONTROL}]*$`), 'Must be text without control characters')
  .refine((notes) => notes.isWellFormed(), 'Must be valid Unicode text')
  .meta({ description: 'At most 2,000 characters', example: 'Ring at gate 3.' })

const KEY = '[A-Za-z0-9_.\\-]{1,40}'
const METADATA_KEY = new RegExp(`^${KEY}$`)
const MAX_METADATA_KEYS = 20
const MetadataValue = text(500)

const METADATA_SCHEMA = {
  type: ['object' as const, 'null' as const],
  additionalProperties: { type: 'string' as const, maxLength: 500 },
  propertyNames: { pattern: `^${KEY}$` },
  maxProperties: MAX_METADATA_KEYS,
  description: "The caller's own data: at most 20 keys, each with a text of at most 500 characters",
  example: { cost_center: '4711' },
}

/**
 * Text by keys. Zod's records drop a key `__proto__`, so the members are checked here one by one. They are sorted: the
 * same members in another order are the same request.
 */
const Metadata = z
  .custom<Record<string, string>>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), {
    error: 'Invalid input: expected record',
  })
  .superRefine((metadata, context) => {
    const entries = Object.entries(metadata)
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message })
    if (entries.length > MAX_METADATA_KEYS) refuse([], `Too big: at most ${MAX_METADATA_KEYS} keys`)
    for (const [key, value] of entries) {
      if (!METADATA_KEY.test(key)) refuse([key], 'Must be a key of 1 to 40 letters, digits, or any of _ . -')
      const { error } = MetadataValue.safeParse(value)
      for (const { message } of error?.issues ?? []) refuse([key], message)
      if (typeof value === 'string' && !value.isWellFormed()) refuse([key], 'Must be valid Unicode text')
    }
  })
  .transform((metadata) => Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1))))
  .openapi(METADATA_SCHEMA)

export const ShipTo = z
  .strictObject({
    name: line(200).meta({ example: 'ACME Corp, warehouse 2' }),
    line1: line(200).meta({ example: 'Dock Road 12' }),
    line2: optional(line(200)).meta({ example: 'Gate 3' }),
    city: line(100).meta({ example: 'Hamburg' }),
    region: optional(line(100)).meta({ example: 'HH' }),
    postal_code: line(20).meta({ example: '20457' }),
    country: z
      .string()
      .regex(COUNTRY, 'Must be an ISO 3166-1 alpha-2 code, such as DE')
      .meta({ description: 'ISO 3166-1 alpha-2', example: 'DE' }),
  })
  .nullable()
  .openapi('ShipTo', { description: 'Where the goods go. It is copied into the order.' })

const NOT_BEFORE_TODAY = 'The day is not before today in `TIME_ZONE`.'

/** The details of a new order. Each is optional. */
export const orderDetails = {
  po_number: optional(visible(64)).meta({
    description:
      "The number of the customer's purchase order. Unless the customer's `po_policy` is `free`, no other live order of " +
      'the customer may have it. Case does not matter.',
    example: 'PO-2026-0815',
  }),
  ship_to: optional(ShipTo),
  requested_delivery_date: optional(
    z.string().regex(new RegExp(`^${DATE}$`), 'Must be a date such as 2026-11-30'),
  ).openapi({ format: 'date', description: NOT_BEFORE_TODAY, example: '2099-11-30' }),
  notes: optional(Notes),
  metadata: optional(Metadata),
  currency: optional(z.string().regex(/^[A-Z]{3}$/, 'Must be an ISO 4217 code, such as USD')).meta({
    description: "The caller's assumption about the currency. Another currency than `CURRENCY` is refused.",
    example: 'USD',
  }),
}

export type OrderDetails = z.output<z.ZodObject<typeof orderDetails>>

/** The details that may change after the order was placed. An empty value clears, except that of `ship_to`. */
export const changeableDetails = {
  notes: orderDetails.notes.meta({ description: 'An empty text removes the notes.', example: 'Ring at gate 3.' }),
  metadata: orderDetails.metadata.openapi({
    description: 'Replaces all keys. An empty object removes them.',
    example: { cost_center: '4711' },
  }),
  requested_delivery_date: optional(
    z.string().regex(new RegExp(`^(${DATE})?$`), 'Must be a date such as 2026-11-30, or empty'),
  ).meta({ description: `${NOT_BEFORE_TODAY} An empty text removes it.`, example: '2099-11-30' }),
  ship_to: optional(ShipTo),
}

/** The details of an order as callers see it: null where absent. */
export const shownDetails = {
  po_number: z.string().nullable().meta({ example: null }),
  requested_delivery_date: z.string().nullable().openapi({ format: 'date', example: null }),
  ship_to: z
    .object({
      name: z.string(),
      line1: z.string(),
      line2: z.string().nullable(),
      city: z.string(),
      region: z.string().nullable(),
      postal_code: z.string(),
      country: z.string(),
    })
    .openapi('ShownShipTo')
    .nullable()
    .openapi({ example: null }),
  notes: z.string().nullable().meta({ example: null }),
  metadata: z.record(z.string(), z.string()).nullable().openapi({ example: null }),
  currency: z.string().nullable().meta({ description: 'As the caller named it', example: null }),
}

import fc from 'fast-check'
import { unsafeCast } from '../../src/platform/core/unsafe-cast.ts'
import { type OpenApiDocument, resolveRef } from '../../testing/openapi.ts'
import { ODD_CHARACTERS } from './hostile-values.ts'

/** The keywords of JSON Schema that the documents use for requests. */
export interface Schema {
  $ref?: string
  allOf?: Schema[]
  anyOf?: Schema[]
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  format?: string
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  items?: Schema
  minItems?: number
  maxItems?: number
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  propertyNames?: Schema
  maxProperties?: number
  required?: string[]
}

/** Likely values of a field, by its name: random ones would hardly ever name an existing row. */
export type Hints = Record<string, fc.Arbitrary<unknown>>

/** Resolves references and merges `allOf`. */
export function resolveSchema(document: OpenApiDocument, schema: Schema): Schema {
  const { $ref, allOf, ...rest } = schema
  const parts = [...($ref === undefined ? [] : [unsafeCast<Schema>(resolveRef(document, $ref))]), ...(allOf ?? [])]
  return Object.assign({}, ...parts.map((part) => resolveSchema(document, part)), rest)
}

/**
 * Values that a schema describes, often at its bounds. Its checker must still filter them: the schema may use keywords
 * that {@link Schema} lacks.
 */
export function valuesOf(document: OpenApiDocument, schema: Schema, hints: Hints, name = ''): fc.Arbitrary<unknown> {
  const own = plainValues(document, resolveSchema(document, schema), hints)
  const hint = hints[name]
  return hint === undefined ? own : fc.oneof({ arbitrary: hint, weight: 12 }, { arbitrary: own, weight: 1 })
}

function plainValues(document: OpenApiDocument, schema: Schema, hints: Hints): fc.Arbitrary<unknown> {
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map((one) => valuesOf(document, one, hints)))
  if (Array.isArray(schema.type)) {
    const { type, ...rest } = schema
    return fc.oneof(...type.map((one) => plainValues(document, { ...rest, type: one }, hints)))
  }
  switch (schema.type) {
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'integer':
      return integersOf(schema)
    case 'string':
      return textsOf(schema)
    case 'array':
      return arraysOf(valuesOf(document, schema.items ?? {}, hints), schema)
    case 'object': {
      if (isObject(schema.additionalProperties)) return dictionariesOf(document, schema, hints)
      const properties = Object.entries(schema.properties ?? {})
      const fields = properties.map(([name, part]) => [name, valuesOf(document, part, hints, name)])
      return fc.record(unsafeCast<Hints>(Object.fromEntries(fields)), { requiredKeys: schema.required ?? [] })
    }
  }
  throw new Error(`no inputs are known for ${JSON.stringify(schema)}`)
}

/** Objects whose keys the caller chooses. Some have odd names. */
function dictionariesOf(document: OpenApiDocument, schema: Schema, hints: Hints): fc.Arbitrary<unknown> {
  const { propertyNames = {}, additionalProperties, maxProperties = 10 } = schema
  const keys = fc.oneof(textsOf(propertyNames), fc.constantFrom('__proto__', 'constructor', 'a.b-c_D'))
  const values = valuesOf(document, isObject(additionalProperties) ? additionalProperties : {}, hints)
  return fc.dictionary(keys, values, { maxKeys: Math.min(maxProperties, 4), noNullPrototype: true })
}

/** Beyond safe integers: a document without a bound allows them. */
const HUGE = [2 ** 53, 2 ** 63, 1e21, 1e300]

function integersOf({ minimum, exclusiveMinimum, maximum }: Schema): fc.Arbitrary<number> {
  const min = minimum ?? (exclusiveMinimum === undefined ? Number.MIN_SAFE_INTEGER : exclusiveMinimum + 1)
  const max = maximum ?? Number.MAX_SAFE_INTEGER
  const bounds = [min, min + 1, max - 1, max, ...(maximum === undefined ? HUGE : [])]
  return fc.oneof(fc.integer({ min, max }), fc.constantFrom(...bounds))
}

function arraysOf(items: fc.Arbitrary<unknown>, { minItems = 0, maxItems = 10 }: Schema): fc.Arbitrary<unknown[]> {
  const few = fc.array(items, { minLength: minItems, maxLength: Math.min(maxItems, minItems + 4) })
  const full = fc.array(items, { minLength: maxItems, maxLength: maxItems, size: 'max' })
  return fc.oneof({ arbitrary: few, weight: 24 }, { arbitrary: full, weight: 1 })
}

const MAX_TEXT = 300

function textsOf({ pattern, format, minLength = 0, maxLength = MAX_TEXT }: Schema): fc.Arbitrary<string> {
  if (format === 'date-time') return timesOf()
  if (format === 'date') return timesOf().map((time) => time.slice(0, 10))
  const plain = textsOfLength(minLength, maxLength)
  // fast-check can't generate text for look-arounds and Unicode properties: the checker filters plain text instead.
  if (pattern === undefined || /\\[pP]|\(\?/.test(pattern)) return plain
  return fc.oneof({ arbitrary: fc.stringMatching(new RegExp(pattern)), weight: 3 }, { arbitrary: plain, weight: 1 })
}

function textsOfLength(minLength: number, maxLength: number): fc.Arbitrary<string> {
  const some = (unit: 'grapheme' | 'binary' | 'grapheme-ascii') =>
    fc.string({ unit, minLength, maxLength: Math.max(minLength, Math.min(maxLength, 40)) })
  const atBounds = fc
    .tuple(fc.constantFrom('x', ...ODD_CHARACTERS), fc.constantFrom(minLength, minLength + 1, maxLength - 1, maxLength))
    .map(([character, length]) => Array.from(character.repeat(length)).slice(0, length).join(''))
  const mixed = fc
    .array(fc.constantFrom('a', ' ', ...ODD_CHARACTERS), { minLength: 1, maxLength: 6 })
    .map((of) => of.join(''))
  return fc.oneof(some('grapheme'), some('grapheme-ascii'), some('binary'), atBounds, mixed)
}

/** Times of RFC 3339, in all its forms. */
function timesOf(): fc.Arbitrary<string> {
  const two = (least: number, most: number) =>
    fc.integer({ min: least, max: most }).map((n) => String(n).padStart(2, '0'))
  const year = fc.oneof(
    two(1970, 2100),
    two(0, 9999).map((n) => n.padStart(4, '0')),
    fc.constantFrom('0000', '1000', '9999'),
  )
  const fraction = fc.constantFrom('', '', '.0', '.123', '.123456789', `.${'9'.repeat(40)}`)
  const zone = fc.constantFrom('Z', 'Z', '+00:00', '-00:00', '+02:00', '-23:59', '+14:00', 'z')
  const t = fc.constantFrom('T', 'T', 'T', 'T', 't')
  return fc
    .tuple(year, two(1, 12), two(1, 31), t, two(0, 23), two(0, 59), two(0, 60), fraction, zone)
    .map(([y, mo, d, t, h, mi, s, f, z]) => `${y}-${mo}-${d}${t}${h}:${mi}:${s}${f}${z}`)
}

/** A value inside a body, and its schema. */
export interface Location {
  path: (string | number)[]
  schema: Schema
  value: unknown
}

const MAX_ITEMS_LOOKED_AT = 2

/** Every value inside this one that the schema describes, itself first. */
export function locationsOf(
  document: OpenApiDocument,
  schema: Schema,
  value: unknown,
  path: Location['path'] = [],
): Location[] {
  const resolved = branchOf(document, resolveSchema(document, schema), value)
  const inside = (part: Schema | undefined, one: unknown, key: string | number) =>
    part === undefined ? [] : locationsOf(document, part, one, [...path, key])
  const within = Array.isArray(value)
    ? value.slice(0, MAX_ITEMS_LOOKED_AT).flatMap((one, i) => inside(resolved.items, one, i))
    : Object.entries(isObject(value) ? value : {}).flatMap(([key, one]) => inside(resolved.properties?.[key], one, key))
  return [{ path, schema: resolved, value }, ...within]
}

function branchOf(document: OpenApiDocument, schema: Schema, value: unknown): Schema {
  const branches = (schema.anyOf ?? []).map((one) => resolveSchema(document, one))
  return branches.find(({ required = [] }) => isObject(value) && required.every((key) => key in value)) ?? schema
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const MARK = '\u{f0000}here\u{f0000}'

/** The JSON text of a value, with a literal at one location that may be invalid JSON. */
export function textWith(value: unknown, path: Location['path'], literal: string): string {
  const marked = (node: unknown, [key, ...rest]: Location['path']): unknown => {
    if (key === undefined) return MARK
    if (Array.isArray(node)) return node.map((one, i) => (i === key ? marked(one, rest) : one))
    if (!isObject(node)) return node
    return Object.fromEntries(Object.entries(node).map(([name, one]) => [name, name === key ? marked(one, rest) : one]))
  }
  return JSON.stringify(marked(value, path)).replace(JSON.stringify(MARK), () => literal)
}

/** JSON texts of values just outside the bounds of a schema. */
export function outsideOf({ type, enum: some, pattern, ...bounds }: Schema, value: unknown): string[] {
  const { minimum, exclusiveMinimum, maximum, minLength, maxLength, minItems, maxItems } = bounds
  const texts = [
    ...(maxLength === undefined ? [] : ['x', '😀', 'é', ' x'].map((one) => one.repeat(maxLength + 1))),
    ...(minLength === undefined ? [] : ['x'.repeat(minLength - 1)]),
    ...(some ? ['', ...some.map((one) => ` ${one}`), String(some[0]).toLowerCase()] : []),
    ...(pattern === undefined || typeof value !== 'string'
      ? []
      : [`${value} `, ` ${value}`, `${value}\n`, `${value}é`, '']),
    ...(pattern?.includes('@')
      ? [
          'a',
          '@',
          'a@',
          '@b.co',
          'a@b',
          'a@b..co',
          'a b@c.de',
          'a@b.co ',
          ' a@b.co',
          'a@b.co\n',
          'é@b.co',
          'a@é.co',
          `${'x'.repeat(250)}@b.co`,
        ]
      : []),
  ]
  const numbers = [
    ...(minimum === undefined ? [] : [minimum - 1]),
    ...(exclusiveMinimum === undefined ? [] : [exclusiveMinimum, exclusiveMinimum - 1]),
    ...(maximum === undefined ? [] : [maximum + 1]),
  ]
  const items = Array.isArray(value) ? JSON.stringify(value[0]) : 'null'
  const arrays = [minItems === undefined ? undefined : minItems - 1, maxItems === undefined ? undefined : maxItems + 1]
  return [
    ...texts.map((text) => JSON.stringify(text)),
    ...numbers.map(String),
    ...arrays.filter((count) => count !== undefined).map((count) => `[${Array(count).fill(items).join(',')}]`),
    ...(type === 'object' ? ['{}'] : []),
  ]
}

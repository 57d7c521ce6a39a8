import type { RouteConfig } from '@asteasolutions/zod-to-openapi'
import { AppError, type ErrorDefinition, type ErrorStatus, PLATFORM_ERRORS } from '../core/errors.ts'
import { int64, MAX_INT32 } from './integers.ts'
import { type ProblemShape, plainProblem } from './problem-document.ts'
import { z } from './schema.ts'

// The parts of contracts are pure data, so that a program that only describes or calls a service loads no server.

export const Id = int64(1)

export const Cents = int64(0).openapi({ description: 'Integer cents' })

/** The version of a resource, and its `ETag`. */
export const Version = int64(1)

export const Timestamp = z.iso.datetime({ precision: 3 }).meta({ description: 'RFC 3339, UTC, milliseconds' })

/** Text of at most `max` characters: Unicode code points, as JSON Schema and the database count, not UTF-16 units. */
export const text = (max: number) =>
  z
    .string()
    .refine((text) => text.length <= max || [...text].length <= max, `Too big: at most ${max} characters`)
    .openapi({ maxLength: max })

// The document shows this pattern, and not every tool knows `\p{Cc}`.
const CONTROL = '\\x00-\\x1f\\x7f-\\x9f'
const LINE = `^\\s*[^\\s${CONTROL}]([^${CONTROL}]*[^\\s${CONTROL}])?\\s*$`

/** One line of text, storable in UTF-8. White space around the text counts towards `max` but is trimmed. */
export const line = (max: number) => lineAs(LINE, max)

/** Like {@link line}, and takes the empty text too: the schema's owner says what it means. */
export const lineOrEmpty = (max: number) => lineAs(`^$|${LINE}`, max)

const lineAs = (pattern: string, max: number) =>
  text(max)
    .regex(new RegExp(pattern), 'Must be one line of text')
    .refine((text) => text.isWellFormed(), 'Must be valid Unicode text')
    .trim()

// Soft hyphen, zero-width characters, line separators and the controls of text direction.
const UNSEEN = '\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2064\\u2066-\\u206f\\ufeff'
// The first part may only be spaces, so that a long text is read once. Its spaces exclude U+FEFF, which `\s` includes.
const VISIBLE = `^[^\\S${CONTROL}${UNSEEN}]*[^\\s${CONTROL}${UNSEEN}][^${CONTROL}${UNSEEN}]*$`

/**
 * Like {@link line}, without characters that nobody sees: two texts that look alike would otherwise differ. For text by
 * which people and programs recognize a thing, such as a PO number.
 */
export const visible = (max: number) => visibleAs(VISIBLE, max)

/** Like {@link visible}, and takes the empty text too: the schema's owner says what it means. */
export const visibleOrEmpty = (max: number) => visibleAs(`^$|${VISIBLE}`, max)

const visibleAs = (pattern: string, max: number) =>
  text(max)
    .regex(new RegExp(pattern), 'Must be visible characters in one line')
    .refine((text) => text.isWellFormed(), 'Must be valid Unicode text')
    .trim()

/** An optional field of a JSON body. `null` means absent, because some clients write every field they know. */
export const optional = <T extends z.ZodType>(schema: T) =>
  schema
    .nullish()
    .transform((value) => value ?? undefined)
    .optional()

/** An optional query parameter. An empty value means absent. */
export const emptyIsAbsent = <T extends z.ZodType>(schema: T) =>
  z
    .preprocess((text) => (text === '' ? undefined : text), schema.optional())
    .openapi({ param: { allowEmptyValue: true } })

type Access =
  /** The scope that a caller's token must have. */
  | { scope: string; internal?: never }
  /** Only for other services. */
  | { internal: true; scope?: never }

/** A route as data: its description in the document, and who may call it. */
export type Route = RouteConfig & Access

/** Keeps the literal types of a route: the type of its handler depends on them. */
export function defineRoute<P extends string, R extends Route & { path: P }>(route: R): R {
  return route
}

export const IdParams = z.object({
  id: z
    .string()
    .regex(/^[1-9]\d{0,15}$/)
    .transform(Number)
    .pipe(Id)
    .openapi({
      param: { name: 'id', in: 'path' },
      type: 'integer',
      format: 'int64',
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      example: 1,
    }),
})

/** {@link IdParams} with an id of the demo data with which the route's example succeeds. */
export function idParamsLike(example: number) {
  return z.object({ id: IdParams.shape.id.openapi({ example }) })
}

// Request headers are only described here and read where they are used: a header validator would first copy them all.

interface TextSchema {
  pattern: string
  maxLength: number
}

/** `*`, or a list of entity tags (RFC 9110, section 8.8.3). */
const TAGS: TextSchema = {
  pattern: '^(\\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$',
  maxLength: 1024,
}

/** The value of a key header. A lone pair of quotes matches, but is an empty key and refused later. */
export const KEYS: TextSchema = {
  pattern: '^([!#-~][!-~]{0,254}|"([!-~]{0,253}[!#-~])?|"[!-~]{1,255}")$',
  maxLength: 257,
}

/** Preconditions of a write on the current version. */
export const preconditionHeaders = [
  header(
    'if-match',
    'The `ETag` last read, such as `"1"`. If the resource has changed since: 412. A replay ignores this header: ' +
      'the same key gets its first answer, whatever the version is now.',
    TAGS,
    '"1"',
  ),
  header('if-none-match', '`*`, or an `ETag`: if the resource exists, or has that version, 412.', TAGS, '*'),
]

/** The precondition of a read: the version that the caller already has. */
export const ifNoneMatchHeader = [
  header(
    'if-none-match',
    'The `ETag` last read, such as `"1"`. If the resource has not changed since: 304.',
    TAGS,
    '"1"',
  ),
]

// All examples show one key, because a key in a body and a key in a header must not differ.
const EXAMPLE_KEY = 'abc-123'

/** The headers that make a request safe to send again. */
export const idempotencyHeaders = [
  header(
    'idempotency-key',
    'Makes the request safe to send again: the same key and request get the first answer, byte for byte. ' +
      '1 to 255 visible ASCII characters, bare or in double quotes.',
    KEYS,
    EXAMPLE_KEY,
  ),
  header('x-idempotency-key', 'The same, by its older name.', KEYS, EXAMPLE_KEY),
]

/**
 * {@link idempotencyHeaders} with a key, so that running a route's example again gets a replay. Swagger UI sends only
 * the header with an `example` of its own; other tools send both headers, so both have the same key.
 */
export function idempotencyHeadersLike(example: string) {
  return idempotencyHeaders.map((header) => {
    const like = { ...header, schema: { ...header.schema, examples: [example] } }
    return header.name === 'idempotency-key' ? { ...like, example } : like
  })
}

/** Uses `examples`, which tools only show. A single `example` would make Swagger UI send every header each time. */
function header(name: string, description: string, schema: TextSchema, example: string) {
  const described = { type: 'string' as const, ...schema, examples: [example] }
  return { in: 'header' as const, name, required: false, description, schema: described }
}

export const ETag = {
  ETag: {
    description: 'The version, for `If-Match` and `If-None-Match`',
    required: true,
    schema: { type: 'string' as const },
    example: '"1"',
  },
}

export const notModified = { 304: { description: '`If-None-Match` names the current version', headers: ETag } }

/** An idempotency key, without quotes. */
export const KEY = /^[\x21-\x7e]{1,255}$/

export const IdempotencyKey = z.string().regex(KEY).meta({ example: EXAMPLE_KEY })

export const Replayed = {
  'Idempotent-Replayed': {
    description: '`true` when this is the stored first answer to an earlier request with the same key',
    schema: { type: 'string' as const, enum: ['true'] },
  },
}

export function locationLike(example: string) {
  const description = "Where the new resource is, relative to the request's URL"
  return { Location: { description, required: true, schema: { type: 'string' as const }, example } }
}

/** @param example replaces the example that the schema's parts make, where that is wrong for the route */
export function jsonBody<T extends z.ZodType>(schema: T, example?: z.input<T>) {
  const media = { schema, ...(example !== undefined && { example }) }
  return { required: true, content: { 'application/json': media } } as const
}

/** @param example as for {@link jsonBody} */
export function jsonResponse<T extends z.ZodType, H extends object>(
  schema: T,
  description: string,
  headers?: H,
  example?: z.output<T>,
) {
  const media = { schema, ...(example !== undefined && { example }) }
  return { description, content: { 'application/json': media }, ...(headers && { headers }) }
}

/** The refusals of every route, and below those of every route that needs a token. */
const ANY_ROUTE = [PLATFORM_ERRORS.validation_failed, PLATFORM_ERRORS.internal_error] as const
const ANY_PROTECTED_ROUTE = [
  PLATFORM_ERRORS.unauthorized,
  PLATFORM_ERRORS.invalid_token,
  PLATFORM_ERRORS.rate_limited,
  PLATFORM_ERRORS.overloaded,
] as const

/** The refusals of any route that takes a JSON body. */
export const bodyProblems = [
  PLATFORM_ERRORS.malformed_json,
  PLATFORM_ERRORS.validation_failed,
  PLATFORM_ERRORS.payload_too_large,
  PLATFORM_ERRORS.unsupported_media_type,
] as const

type ProblemResponse = ReturnType<typeof problemResponse>

/** Declares every refusal of a route, grouped by status, each with an example of its document. */
export function problems<const D extends readonly ErrorDefinition[]>(...definitions: D) {
  return declareProblems(plainProblem, [...definitions, ...ANY_ROUTE])
}

/** Like {@link problems}, for a route that needs a token. */
export function protectedProblems<const D extends readonly ErrorDefinition[]>(...definitions: D) {
  return declareProblems(plainProblem, [...definitions, ...ANY_ROUTE, ...ANY_PROTECTED_ROUTE])
}

/** Like {@link problems}, for a service with its own shape of problem documents. */
export function declareProblems<const D extends readonly ErrorDefinition[]>(
  shape: ProblemShape,
  definitions: D,
): Record<D[number]['status'], ProblemResponse> {
  const groups = new Map<ErrorStatus, ErrorDefinition[]>()
  for (const definition of new Set<ErrorDefinition>(definitions)) {
    groups.set(definition.status, [...(groups.get(definition.status) ?? []), definition])
  }
  const responses = [...groups].map(([status, group]) => [status, problemResponse(shape, status, group)])
  return Object.fromEntries(responses)
}

type HeaderDescription = {
  description: string
  required?: boolean
  schema: { type: 'string' } | { type: 'integer'; format: 'int32'; minimum: number; maximum: number }
  example?: string
}

const challenge: HeaderDescription = {
  description: 'How to authenticate, and what was wrong with the attempt (RFC 6750)',
  schema: { type: 'string' },
}
const retryAfter: HeaderDescription = {
  description: 'Seconds to wait',
  schema: { type: 'integer', format: 'int32', minimum: 0, maximum: MAX_INT32 },
}

/** The headers of refusals, by status. */
const PROBLEM_HEADERS: Partial<Record<ErrorStatus, Record<string, HeaderDescription>>> = {
  401: { 'WWW-Authenticate': { ...challenge, required: true } },
  403: { 'WWW-Authenticate': challenge },
  415: {
    'Accept-Encoding': {
      description: '`identity`, if the body had a Content-Encoding (RFC 9110)',
      schema: { type: 'string' },
    },
  },
  429: {
    'Retry-After': { ...retryAfter, required: true },
    RateLimit: {
      description: '`limit`, `remaining` and `reset` (seconds) of the current minute (IETF draft, version 7)',
      required: true,
      schema: { type: 'string' },
      example: 'limit=60, remaining=0, reset=12',
    },
    'RateLimit-Policy': {
      description: 'The number of requests, and the seconds in which they are allowed',
      required: true,
      schema: { type: 'string' },
      example: '60;w=60',
    },
  },
  503: { 'Retry-After': retryAfter },
}

function problemResponse({ schema, of }: ProblemShape, status: ErrorStatus, definitions: readonly ErrorDefinition[]) {
  const headers = PROBLEM_HEADERS[status]
  const exampleOf = (definition: ErrorDefinition) => {
    const error = new AppError(definition, definition.title, definition.example)
    return [definition.code, { value: of(error, '2f1c4b0e-7a39-4c54-9d0e-1f4a7a0f6c11') }]
  }
  return {
    description: [...new Set(definitions.map(({ title }) => title))].join('; '),
    ...(headers && { headers }),
    // A getter: only the document needs the examples, and few processes ever write their document.
    get content() {
      const examples = Object.fromEntries(definitions.map(exampleOf))
      return { 'application/problem+json': { schema, examples } }
    },
  }
}

import fc from 'fast-check'
import { type OpenApiDocument, type Operation, pointerTo } from '../../testing/openapi.ts'
import { checkerOf, FORM_TYPE, isStrict, type Parameter, parametersOf } from './classify-request.ts'
import { type Hints, type Schema, valuesOf } from './inputs.ts'
import type { RawRequest } from './raw-http.ts'

/** What there is to be named in requests. */
export interface World {
  documents: Record<Operation['service'], OpenApiDocument>
  tokens: { caller: string; bound: string; scopeless: string; stranger: string; service: string }
  /** Rows have the ids from 1 to this. */
  rows: { customers: number; products: number; orders: number }
  /** Pages that there are, by the operation that lists them. */
  pages: Record<string, { query: [string, string][]; cursor: string }[]>
}

/** A request in the terms of the document, and valid by it. */
export interface Draft {
  /** With its parameters filled in. */
  path: string
  query: [name: string, value: string][]
  headers: [name: string, value: string][]
  body: { mediaType: string; value: unknown } | undefined
}

/** What HTTP carries as it is: neither control characters nor spaces around it. */
const HEADER_TEXT = /^(?! )[ -~\u0080-\uffff]*(?<! )$/

/** Headers that name the same key. */
const KEY_HEADERS = ['idempotency-key', 'x-idempotency-key']

/** Requests that the document of an operation allows, cursors apart: those are not made up. */
export function draftsOf(operation: Operation, world: World): fc.Arbitrary<Draft> {
  const parameters = parametersOf(operation).filter(({ name }) => name !== 'cursor')
  const document = world.documents[operation.service]
  const { faultsAt } = checkerOf(document)
  const hints = hintsOf(operation, world)

  const fitting = (pointer: string, schema: Schema, name = '') =>
    valuesOf(document, schema, hints, name).filter((value) => faultsAt(pointer, value).length === 0)

  const textsFor = (parameter: Parameter) => {
    const index = parametersOf(operation).indexOf(parameter)
    const at = `${operation.pointer}${pointerTo('parameters', String(index), 'schema')}`
    const texts = fitting(at, parameter.schema, parameter.name).map(String)
    return parameter.allowEmptyValue ? fc.oneof({ arbitrary: texts, weight: 8 }, fc.constant('')) : texts
  }

  const some = (where: Parameter['in']) => {
    const of = parameters.filter((parameter) => parameter.in === where)
    const texts = Object.fromEntries(of.map((parameter) => [parameter.name, textsFor(parameter)]))
    const requiredKeys = of.filter(({ required }) => required).map(({ name }) => name)
    return fc
      .record(texts, { requiredKeys })
      .map((found): [string, string][] => Object.entries(found).map(([name, text]) => [name, text ?? '']))
  }

  const body = operation.requestBody
  const bodies = Object.entries(body?.content ?? {}).map(([mediaType, { schema }]) => {
    const at = `${operation.pointer}${pointerTo('requestBody', 'content', mediaType, 'schema')}`
    return fitting(at, schema).map((value): Draft['body'] => ({ mediaType, value }))
  })
  if (!body?.required) bodies.push(fc.constant(undefined))

  return fc.record({
    path: some('path')
      .filter((values) => values.every(([, text]) => !/^\.{0,2}$/.test(text)))
      .map((values) => fill(operation.path, values)),
    query: some('query'),
    headers: some('header').filter(
      (headers) => !saysTwice(headers) && headers.every(([, text]) => HEADER_TEXT.test(text)),
    ),
    body: fc.oneof(...bodies),
  })
}

function fill(path: string, values: [string, string][]): string {
  return values.reduce((filled, [name, text]) => filled.replace(`{${name}}`, () => encodeURIComponent(text)), path)
}

/** Two keys for one request are a contradiction that schemas can't forbid. */
function saysTwice(headers: [string, string][]): boolean {
  const keys = headers.filter(([name]) => KEY_HEADERS.includes(name)).map(([, key]) => key)
  return new Set(keys).size > 1
}

const NOBODY = [999_999_999, Number.MAX_SAFE_INTEGER]
/** Rows that are not deleted, so that there is always somebody to order. */
const KEPT_CUSTOMERS = 20

function idsOf(least: number, most: number): fc.Arbitrary<number> {
  return fc.oneof(
    { arbitrary: fc.integer({ min: least, max: most }), weight: 40 },
    { arbitrary: fc.constantFrom(...NOBODY), weight: 1 },
  )
}

const KEYS = fc.oneof(
  { arbitrary: fc.stringMatching(/^[\x21-\x7e]{16,40}$/), weight: 4 },
  { arbitrary: fc.constantFrom('k', 'key-1', '"key-1"', 'k'.repeat(255)), weight: 1 },
)
const WORDS = fc.stringMatching(/^[a-z]{8,12}$/)

function hintsOf({ operationId, path }: Operation, { rows }: World): Hints {
  const customers = idsOf(1, KEPT_CUSTOMERS)
  const [, resource = ''] = /(customers|products|orders|clients)/.exec(path) ?? []
  const own: Hints = {
    customers: operationId === 'deleteCustomer' ? idsOf(KEPT_CUSTOMERS + 1, rows.customers) : customers,
    products: idsOf(1, rows.products),
    orders: idsOf(1, rows.orders),
    clients: fc.constantFrom('demo', 'nobody', 'Demo', 'demo ', 'dém😀'),
  }
  return {
    ...(own[resource] && { id: own[resource] }),
    customer_id: customers,
    product_id: idsOf(1, rows.products),
    qty: fc.integer({ min: 1, max: 5 }),
    email: fc.tuple(WORDS, WORDS).map(([user, domain]) => `${user}@${domain}.example`),
    search: fc.constantFrom('customer', 'pro', 'a', '', ' ', 'a b c', 'ä', '😀', '%', '_', "'"),
    from: fc.constantFrom('2026-01-05T09:00:00Z', '1970-01-01T00:00:00.000Z'),
    to: fc.constantFrom('2026-01-09T09:00:00.123+02:00', '2100-01-01T00:00:00Z'),
    grant_type: fc.constant('client_credentials'),
    client_id: fc.constant('demo'),
    client_secret: fc.constant('demo-secret'),
    scope: fc.constantFrom('orders:read', 'orders:write customers:read', ''),
    key: KEYS,
    idempotency_key: KEYS,
    'idempotency-key': KEYS,
    'x-idempotency-key': KEYS,
    'if-match': fc.constantFrom('"1"', '*', '"1", "2"', 'W/"1"'),
    'if-none-match': fc.constantFrom('"1"', '*', '"999"', 'W/"2"'),
  }
}

/** A draft as it goes to a service. */
export function rawRequestOf(operation: Operation, { path, query, headers, body }: Draft, world: World): RawRequest {
  const token = tokenFor(operation, world)
  return {
    method: operation.method,
    target:
      query.length === 0 ? path : `${path}?${query.map((pair) => pair.map(encodeURIComponent).join('=')).join('&')}`,
    headers: [
      ['host', 'localhost'],
      ...(token === undefined ? [] : [['authorization', `Bearer ${token}`] satisfies [string, string]]),
      ...(body === undefined ? [] : [['content-type', body.mediaType] satisfies [string, string]]),
      ...headers.map(([name, value]): [string, string] => [name, Buffer.from(value).toString('latin1')]),
    ],
    body: body === undefined ? Buffer.alloc(0) : Buffer.from(encodeBody(body)),
  }
}

function tokenFor(operation: Operation, { tokens }: World): string | undefined {
  if (!isStrict(operation)) return undefined
  return operation.security.some(({ serviceToken }) => serviceToken) ? tokens.service : tokens.caller
}

function encodeBody({ mediaType, value }: { mediaType: string; value: unknown }): string {
  if (mediaType !== FORM_TYPE) return JSON.stringify(value)
  return new URLSearchParams(Object.entries(value ?? {}).map(([name, text]) => [name, String(text)])).toString()
}

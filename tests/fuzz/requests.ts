import fc from 'fast-check'
import { type OpenApiDocument, type Operation, pointerTo } from '../../testing/openapi.ts'
import {
  checkerOf,
  cursorOf,
  FORM_TYPE,
  isStrict,
  mixesLookUp,
  type Parameter,
  parametersOf,
} from './classify-request.ts'
import { type Hints, type Schema, valuesOf } from './inputs.ts'
import type { RawRequest } from './raw-http.ts'

/** What requests can refer to. */
export interface World {
  documents: Record<Operation['service'], OpenApiDocument>
  tokens: { caller: string; bound: string; scopeless: string; stranger: string; service: string }
  /** The highest ids; they start at 1. */
  rows: { customers: number; products: number; orders: number }
  /** Cursors of real pages, by the operation that lists them. */
  pages: Record<string, { path: string; query: [string, string][]; cursor: string }[]>
}

/** A valid request in the terms of the document. */
export interface Draft {
  /** With its parameters. */
  path: string
  query: [name: string, value: string][]
  headers: [name: string, value: string][]
  body: { mediaType: string; value: unknown } | undefined
}

/** Text that HTTP carries unchanged: no control characters, no spaces at the ends. */
const HEADER_TEXT = /^(?! )[ -~\u0080-\uffff]*(?<! )$/

/** Headers with the same meaning. */
const KEY_HEADERS = ['idempotency-key', 'x-idempotency-key']

/** Requests that the document allows, without cursors, which can't be made up. */
export function draftsOf(operation: Operation, world: World): fc.Arbitrary<Draft> {
  const parameters = parametersOf(operation).filter((parameter) => parameter !== cursorOf(operation))
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
    query: some('query').filter((query) => !mixesLookUp(new URLSearchParams(query))),
    headers: some('header').filter(
      (headers) => !saysTwice(headers) && headers.every(([, text]) => HEADER_TEXT.test(text)),
    ),
    body: fc.oneof(...bodies),
  })
}

function fill(path: string, values: [string, string][]): string {
  return values.reduce((filled, [name, text]) => filled.replace(`{${name}}`, () => encodeURIComponent(text)), path)
}

/** Two keys in one request contradict each other, which no schema can forbid. */
function saysTwice(headers: [string, string][]): boolean {
  const keys = headers.filter(([name]) => KEY_HEADERS.includes(name)).map(([, key]) => key)
  return new Set(keys).size > 1
}

const NOBODY = [999_999_999, Number.MAX_SAFE_INTEGER]
/** Customers that no request deletes, so that orders stay possible. */
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
    types: fc.constantFrom('*', 'order.*', 'product.*,order.canceled', 'product.out_of_stock', 'order.placed'),
    resource: fc.tuple(fc.constantFrom('order', 'product', 'customer'), idsOf(1, 40)).map((parts) => parts.join(':')),
    // Nothing listens there. Names are not among them: looking one up takes time.
    url: fc.constantFrom(
      'http://127.0.0.1:4000/',
      'http://127.0.0.1:4000/a?b=c',
      'http://[::1]:4000',
      'http://10.0.0.1/',
    ),
    stock_low_at: fc.constantFrom(0, 1, 50, 999_990, 1_000_000),
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

/** The request of a draft, as it is sent. */
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

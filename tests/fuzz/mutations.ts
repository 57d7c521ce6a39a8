import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { forgedCursor } from '../../testing/lists.ts'
import { type Operation, operationsOf } from '../../testing/openapi.ts'
import { cursorOf, FORM_TYPE, isStrict, JSON_TYPE, largestBodyOf, parametersOf } from './classify-request.ts'
import {
  BASICS,
  BROKEN_JSON,
  BROKEN_QUERIES,
  CODINGS,
  CONTENT_TYPES,
  CORRELATION_IDS,
  CREDENTIALS,
  DEEP_LITERALS,
  EXPECTATIONS,
  FORGED_CURSORS,
  FORM_ENDS,
  IF_MATCHES,
  IGNORED,
  LONG_LITERALS,
  METHODS,
  NO_CURSORS,
  NOT_UTF8,
  ODD_CHUNKS,
  ODD_CODINGS,
  ODD_FORMS,
  ODD_HEADER_NAMES,
  ODD_HEADS,
  ODD_HOSTS,
  ODD_IDS,
  ODD_KEYS,
  ODD_LENGTHS,
  ODD_NAMES,
  ODD_NUMBERS,
  ODD_PATHS,
  ODD_TARGETS,
  ODD_TEXTS,
  ODD_TRAILERS,
  ODD_VALUES,
  PROTOCOLS,
  REPEATED,
  TRACEPARENTS,
  UNKNOWN_NAMES,
  WRONG_LITERALS,
} from './hostile-values.ts'
import { isObject, type Location, locationsOf, outsideOf, textWith } from './inputs.ts'
import { bytesOf, headerOf, headOf, type RawRequest } from './raw-http.ts'
import { type Draft, draftsOf, rawRequestOf, type World } from './requests.ts'

/**
 * Which response a request must get. `judged`: the one that the document gives for it. `refused`: no success. `open`:
 * success or refusal, because the document says nothing about such a request.
 */
export type Due = 'judged' | 'refused' | 'open'

export interface Sent {
  operation: Operation
  kind: string
  due: Due
  request: RawRequest
}

/** One way to change a valid request into an odd one. */
interface Change {
  kind: string
  fits(operation: Operation): boolean
  of(target: Target): fc.Arbitrary<Sent>
}

/** An operation and its valid requests. */
interface Target {
  operation: Operation
  world: World
  drafts: fc.Arbitrary<Draft>
}

type Fits = Change['fits']
type Values<T> = fc.Arbitrary<T> | readonly T[]

const always: Fits = () => true
const takesBody: Fits = ({ requestBody }) => requestBody !== undefined
const takesJson: Fits = ({ requestBody }) => requestBody?.content[JSON_TYPE] !== undefined
const takesForm: Fits = ({ requestBody }) => requestBody?.content[FORM_TYPE] !== undefined
const takesNoBody: Fits = ({ requestBody }) => requestBody === undefined
const isProtected: Fits = isStrict
const isInternal: Fits = ({ security }) => security.some(({ serviceToken }) => serviceToken)
const isPublic: Fits = (operation) => isProtected(operation) && !isInternal(operation)
const hasParameter = (name: string): Fits => {
  return (operation) => parametersOf(operation).some((parameter) => parameter.name === name)
}
const isList: Fits = (operation) => cursorOf(operation) !== undefined
const takesKey = hasParameter('idempotency-key')
const takesTag = hasParameter('if-match')
const hasId = hasParameter('id')

function some<T>(values: Values<T>): fc.Arbitrary<T> {
  return values instanceof fc.Arbitrary ? values : fc.constantFrom(...values)
}

/** Changes the bytes on the wire. */
function inRequest<T>(
  kind: string,
  due: Due,
  fits: Fits,
  values: Values<T>,
  change: (request: RawRequest, value: T, target: Target) => RawRequest,
): Change {
  const of = (target: Target) =>
    fc.tuple(target.drafts, some(values)).map(([draft, value]) => {
      const { operation, world } = target
      return { operation, kind, due, request: change(rawRequestOf(operation, draft, world), value, target) }
    })
  return { kind, fits, of }
}

/** Changes the value at one location of a JSON body. */
function inBody<T>(
  kind: string,
  isMeant: (location: Location) => boolean,
  values: Values<T>,
  literalOf: (location: Location, value: T) => string,
): Change {
  const of = ({ operation, world, drafts }: Target) =>
    fc.tuple(drafts, fc.nat(), some(values)).map(([draft, which, value]): Sent => {
      const body = draft.body?.value ?? {}
      const schema = operation.requestBody?.content[JSON_TYPE]?.schema
      const location = pick(locationsOf(world.documents[operation.service], schema, body).filter(isMeant), which)
      const text = location ? textWith(body, location.path, literalOf(location, value)) : JSON.stringify(body)
      const request = rawRequestOf(operation, { ...draft, body: { mediaType: JSON_TYPE, value: {} } }, world)
      return { operation, kind, due: 'judged', request: { ...request, body: Buffer.from(text) } }
    })
  return { kind, fits: takesJson, of }
}

/** Changes the bytes of a body, whatever they mean. */
function inBytes<T>(kind: string, values: Values<T>, change: (body: Buffer, value: T) => Buffer): Change {
  return inRequest(kind, 'judged', takesBody, values, (request, value) => {
    return { ...request, body: change(request.body, value) }
  })
}

function inHeader(name: string, kind: string, due: Due, fits: Fits, values: readonly string[]): Change {
  return inRequest(kind, due, fits, values, (request, value) => withHeader(request, name, value))
}

function inToken(kind: string, due: Due, fits: Fits, of: keyof World['tokens']): Change {
  return inRequest(kind, due, fits, [of], (request, name, { world }) => {
    return withHeader(request, 'authorization', `Bearer ${world.tokens[name]}`)
  })
}

function inTarget<T>(
  kind: string,
  due: Due,
  fits: Fits,
  values: Values<T>,
  change: (target: string, value: T) => string,
): Change {
  return inRequest(kind, due, fits, values, (request, value) => {
    return { ...request, target: change(request.target, value) }
  })
}

function inFraming<T>(kind: string, values: Values<T>, encode: (request: RawRequest, value: T) => Buffer): Change {
  return inRequest(kind, 'open', always, values, (request, value) => {
    return { ...request, encode: (one) => encode(one, value) }
  })
}

function pick<T>(values: readonly T[], which: number): T | undefined {
  return values[which % values.length]
}

function withHeader(request: RawRequest, name: string, ...values: string[]): RawRequest {
  const others = request.headers.filter(([other]) => other !== name)
  return { ...request, headers: [...others, ...values.map((value): [string, string] => [name, value])] }
}

/** The target with another value of a query parameter. */
function withParameter(target: string, name: string, ...values: string[]): string {
  const [path = '', query = ''] = target.split('?')
  const others = query.split('&').filter((pair) => pair !== '' && !pair.startsWith(`${name}=`))
  return `${path}?${[...others, ...values.map((value) => `${name}=${value}`)].join('&')}`
}

function withMore(target: string, query: string): string {
  return `${target}${target.includes('?') ? '&' : '?'}${query}`
}

function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed())
}

const isText = ({ value }: Location) => typeof value === 'string'
const isNumber = ({ value }: Location) => typeof value === 'number'
const anywhere = () => true
const isTop = ({ path }: Location) => path.length === 0
const isWithin = ({ path }: Location) => path.length > 0
const isOpenObject = ({ value }: Location) => isObject(value)
const hasRequired = ({ value, schema }: Location) => isObject(value) && schema.required !== undefined
const isBounded = ({ schema, value }: Location) => outsideOf(schema, value).length > 0

/** The JSON text of an object with another member before its own. */
function objectWith({ value }: Location, first: string): string {
  const text = JSON.stringify(value)
  return text === '{}' ? `{${first}}` : `{${first},${text.slice(1)}`
}

function without({ value, schema }: Location, which: number): string {
  const gone = pick(schema.required ?? [], which)
  return JSON.stringify(Object.fromEntries(Object.entries(Object(value)).filter(([name]) => name !== gone)))
}

function padded(body: Buffer, size: number): Buffer {
  const all = Buffer.alloc(Math.max(size, body.length), ' ')
  body.copy(all)
  return all
}

const GET_HEALTH = 'GET /health HTTP/1.1\r\nhost: a\r\n\r\n'

const BODIES: Change[] = [
  inBody('body: wrong type', isWithin, WRONG_LITERALS, (_, literal) => literal),
  inBody('body: null', isWithin, ['null'], (_, literal) => literal),
  inBody('body: other top level', isTop, ['null', '[]', '1', '"{}"', 'true', '{}', '[{}]'], (_, literal) => literal),
  inBody('body: odd text', isText, ODD_TEXTS, (_, text) => `"${text}"`),
  inBody('body: odd number', isNumber, ODD_NUMBERS, (_, literal) => literal),
  inBody('body: deep nesting', anywhere, DEEP_LITERALS, (_, literal) => literal),
  inBody('body: long array', anywhere, LONG_LITERALS, (_, literal) => literal),
  inBody('body: just out of bounds', isBounded, fc.nat(), ({ schema, value }, which) => {
    return pick(outsideOf(schema, value), which) ?? 'null'
  }),
  inBody('body: without a field', hasRequired, fc.nat(), without),
  inBody(
    'body: unknown field',
    isOpenObject,
    fc.tuple(some(ODD_NAMES), some(WRONG_LITERALS)),
    (location, [name, literal]) => {
      return objectWith(location, `"${name}":${literal}`)
    },
  ),
  inBody(
    'body: repeated field',
    hasRequired,
    fc.tuple(fc.nat(), some(WRONG_LITERALS)),
    (location, [which, literal]) => {
      return objectWith(location, `"${pick(location.schema.required ?? [], which)}":${literal}`)
    },
  ),
  inBytes('body: cut', fc.nat(), (body, at) => body.subarray(0, at % Math.max(1, body.length))),
  inBytes('body: not JSON', BROKEN_JSON, (body, breakIt) => Buffer.from(breakIt(body.toString()))),
  inBytes('body: empty', ['', ' ', '\n', '\u00a0'], (_, text) => Buffer.from(text)),
  inBytes('body: byte order mark', ['\ufeff'], (body, mark) => Buffer.concat([Buffer.from(mark), body])),
  inBytes('body: not UTF-8', fc.tuple(some(NOT_UTF8), fc.nat()), (body, [bytes, at]) => {
    const offset = at % (body.length + 1)
    return Buffer.concat([body.subarray(0, offset), Buffer.from(bytes, 'hex'), body.subarray(offset)])
  }),
  inBytes('body: UTF-16', ['', '\ufeff', 'swapped'], (body, how) => {
    const text = Buffer.from(`${how === 'swapped' ? '' : how}${body}`, 'utf16le')
    return how === 'swapped' ? text.swap16() : text
  }),
  inBytes('body: said otherwise', [/[a-z]/g, /[^ -~]/g, /[0-9a-z]/gi], (body, which) => {
    const asEscape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
    return Buffer.from(` \r\n\t${body.toString().replace(/"[^"\\]*"/g, (text) => text.replace(which, asEscape))}\n`)
  }),
  inRequest(
    'body: about as large as may be',
    'judged',
    takesBody,
    [-1, 0, 1, 1_000],
    (request, more, { operation }) => {
      return { ...request, body: padded(request.body, largestBodyOf(operation.path) + more) }
    },
  ),
  inRequest('body: odd form', 'judged', takesForm, [...ODD_FORMS, ...FORM_ENDS], (request, text) => {
    const start = FORM_ENDS.includes(text)
      ? 'grant_type=client_credentials&client_id=demo&client_secret=demo-secret'
      : ''
    return { ...withHeader(request, 'content-type', FORM_TYPE), body: Buffer.from(`${start}${text}`) }
  }),
  inRequest(
    'body: where none is read',
    'judged',
    takesNoBody,
    ['{}', GET_HEALTH, 'x'.repeat(60_000)],
    (request, body) => {
      return { ...withHeader(request, 'content-type', JSON_TYPE), body: Buffer.from(body) }
    },
  ),
]

const KEY_NAMES = ['idempotency-key', 'x-idempotency-key']
const HEADER_NAMES = [...Object.keys(REPEATED), 'x-any', 'expect', 'content-encoding']
const SHORT_BYTES = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 20 })

/** A line break would begin another header. */
function latin1(...bytes: number[]): string {
  return Buffer.from(bytes.filter((byte) => byte !== 10 && byte !== 13)).toString('latin1')
}

const HEADERS: Change[] = [
  inHeader('content-type', 'header: odd content type', 'judged', takesBody, CONTENT_TYPES),
  inHeader('x-correlation-id', 'header: odd correlation id', 'judged', always, CORRELATION_IDS),
  inHeader('traceparent', 'header: odd traceparent', 'judged', always, TRACEPARENTS),
  inHeader('if-match', 'header: odd If-Match', 'open', takesTag, IF_MATCHES),
  inHeader('if-none-match', 'header: odd If-None-Match', 'open', hasParameter('if-none-match'), IF_MATCHES),
  inHeader('expect', 'header: expectation', 'open', always, EXPECTATIONS),
  inHeader('host', 'header: odd host', 'open', always, ODD_HOSTS),
  inHeader('x-any', 'header: too large', 'refused', always, ['y'.repeat(17_000), 'y'.repeat(60_000)]),
  inRequest('header: no content type', 'judged', takesBody, ['content-type'], (request, name) =>
    withHeader(request, name),
  ),
  inRequest('header: says nothing here', 'judged', always, IGNORED, (request, [name = '', value = '']) => {
    return withHeader(request, name, value)
  }),
  inRequest(
    'header: compressed',
    'open',
    takesBody,
    fc.tuple(some(CODINGS), fc.boolean()),
    (request, [coding, isSo]) => {
      return { ...withHeader(request, 'content-encoding', coding), body: isSo ? gzipSync(request.body) : request.body }
    },
  ),
  inRequest(
    'header: repeated',
    'open',
    always,
    fc.tuple(some(Object.keys(REPEATED)), fc.nat(), fc.boolean()),
    (request, [name, which, isLast]) => {
      const other = pick(REPEATED[name] ?? [], which) ?? ''
      const own = headerOf(request, name) ?? other
      return withHeader(request, name, ...(isLast ? [own, other] : [other, own]))
    },
  ),
  inRequest('header: two keys', 'refused', takesKey, fc.tuple(some(KEY_NAMES), some(KEY_NAMES)), (request, [a, b]) => {
    const { headers, ...rest } = withHeader(withHeader(request, 'idempotency-key'), 'x-idempotency-key')
    return { ...rest, headers: [...headers, [a, 'key-a'], [b, 'key-b']] }
  }),
  inRequest('header: odd key', 'open', takesKey, fc.tuple(some(KEY_NAMES), some(ODD_KEYS)), (request, [name, key]) => {
    return withHeader(request, name, key)
  }),
  inRequest(
    'header: any bytes',
    'open',
    always,
    fc.tuple(some(HEADER_NAMES), SHORT_BYTES),
    (request, [name, bytes]) => {
      return withHeader(request, name, latin1(...bytes))
    },
  ),
  inRequest(
    'header: every byte',
    'open',
    always,
    fc.tuple(some(HEADER_NAMES), fc.nat(255)),
    (request, [name, byte]) => {
      return withHeader(request, name, `a${latin1(byte)}b`)
    },
  ),
  inRequest('header: odd name', 'open', always, ODD_HEADER_NAMES, (request, name) => withHeader(request, name, 'x')),
  inRequest('header: too many', 'refused', always, [150, 1_000], (request, count) => {
    const many = Array.from({ length: count }, (_, i): [string, string] => [`x-${i}`, 'y'])
    return { ...request, headers: [...request.headers, ...many] }
  }),
  inRequest('header: upgrade', 'open', always, PROTOCOLS, (request, protocol) => {
    const asking = withHeader(withHeader(request, 'connection', 'upgrade, http2-settings'), 'upgrade', protocol)
    return withHeader(asking, 'http2-settings', 'AAMAAABkAAQAAP__')
  }),
]

const CALLERS: Change[] = [
  inRequest('token: none', 'refused', isProtected, ['authorization'], (request, name) => withHeader(request, name)),
  inHeader('authorization', 'token: garbage', 'refused', isProtected, CREDENTIALS),
  inHeader('authorization', 'token: Basic', 'open', takesForm, BASICS),
  inRequest('token: damaged', 'refused', isProtected, fc.nat(), (request, at) => {
    const token = headerOf(request, 'authorization')?.replace('Bearer ', '') ?? ''
    // Not every bit of a signature's last character counts.
    const index = at % (token.length - 1)
    const other = token[index] === 'x' ? 'y' : 'x'
    return withHeader(request, 'authorization', `Bearer ${token.slice(0, index)}${other}${token.slice(index + 1)}`)
  }),
  inToken('token: without scopes', 'refused', isProtected, 'scopeless'),
  inToken('token: by a stranger', 'refused', isProtected, 'stranger'),
  inToken('token: bound to a customer', 'open', isPublic, 'bound'),
  inToken('token: of a caller, at an internal route', 'refused', isInternal, 'caller'),
  inToken('token: of a service, at a public route', 'open', isPublic, 'service'),
]

const ID_IN_PATH = /(customers|products|orders|clients)\/([^/?]+)/

const PATHS: Change[] = [
  inTarget('path: odd', 'open', always, ODD_PATHS, (target, change) => change(target)),
  inTarget('path: behind a stage', 'judged', always, ['/dev'], (target, stage) => `${stage}${target}`),
  inTarget(
    'path: long',
    'open',
    always,
    fc.tuple(some(['x', '/', '%2e', '../']), some([500, 6_000])),
    (target, [one, length]) => {
      return `${target}/${one.repeat(length).slice(0, length)}`
    },
  ),
  inTarget('path: odd id', 'judged', hasId, ODD_IDS, (target, change) => {
    return target.replace(ID_IN_PATH, (_, resource, id) => `${resource}/${encoded(change(decodeURIComponent(id)))}`)
  }),
  inTarget('path: encoded id', 'judged', hasId, ['%3'], (target, start) => target.replace(/\/(\d)/, `/${start}$1`)),
  inTarget('path: odd target', 'open', always, ODD_TARGETS, (target, change) => change(target)),
  inTarget('query: broken', 'open', always, BROKEN_QUERIES, withMore),
  inTarget('query: said twice', 'refused', isList, ['1', '2'], (target, other) =>
    withParameter(target, 'limit', '1', other),
  ),
  inTarget(
    'query: unknown name',
    'judged',
    always,
    fc.tuple(some(UNKNOWN_NAMES), some(ODD_VALUES)),
    (target, [name, value]) => {
      return withMore(target, `${name}=${encoded(value)}`)
    },
  ),
  inRequest(
    'query: odd value',
    'judged',
    isList,
    fc.tuple(fc.nat(), some(ODD_VALUES)),
    (request, [which, value], { operation }) => {
      const names = parametersOf(operation).filter((one) => one.in === 'query' && one !== cursorOf(operation))
      return { ...request, target: withParameter(request.target, pick(names, which)?.name ?? '', encoded(value)) }
    },
  ),
  inRequest('method: another', 'open', always, METHODS, (request, method) => ({ ...request, method })),
]

function pagesOf({ operation, world }: Target) {
  return world.pages[operation.operationId] ?? []
}

function withCursor(request: RawRequest, cursor = '', { operation }: Target): RawRequest {
  return { ...request, target: withParameter(request.target, cursorOf(operation)?.name ?? 'cursor', cursor) }
}

const LISTS = [
  'customers',
  'customers.search',
  'products',
  'products.search',
  'orders',
  'stock_adjustments',
  'events',
  'history',
  'webhook_endpoints',
  'webhook_deliveries',
]

const PAGES: Change[] = [
  inRequest('cursor: its own', 'judged', isList, fc.nat(), (request, which, target) => {
    const { path = '', query = [], cursor = '' } = pick(pagesOf(target), which) ?? {}
    return withCursor({ ...request, target: `${path}?${new URLSearchParams(query)}` }, cursor, target)
  }),
  inRequest('cursor: with other filters', 'open', isList, fc.nat(), (request, which, target) => {
    return withCursor(request, pick(pagesOf(target), which)?.cursor, target)
  }),
  inRequest('cursor: of another list', 'refused', isList, fc.nat(), (request, which, target) => {
    const { operation, world } = target
    const others = Object.entries(world.pages).flatMap(([id, pages]) => (id === operation.operationId ? [] : pages))
    return withCursor(request, pick(others, which)?.cursor, target)
  }),
  inRequest(
    'cursor: damaged',
    'open',
    isList,
    fc.tuple(fc.nat(), fc.nat(), some(['', 'A', '_', '%00', '=', '%20', '+'])),
    (request, [which, at, other], target) => {
      const { cursor = '' } = pick(pagesOf(target), which) ?? {}
      const index = at % cursor.length
      return withCursor(request, cursor.slice(0, index) + other + cursor.slice(index + 1), target)
    },
  ),
  inRequest(
    'cursor: forged',
    'open',
    isList,
    fc.tuple(some(LISTS), some(FORGED_CURSORS)),
    (request, [list, values], target) => {
      return withCursor(request, forgedCursor(list, ...values), target)
    },
  ),
  inRequest('cursor: no such', 'refused', isList, NO_CURSORS, withCursor),
]

function framed(request: RawRequest, ...headers: [string, string][]): Buffer {
  return Buffer.concat([headOf(request, headers), request.body])
}

const sizeOf = (chunk: Buffer) => chunk.length.toString(16)

function chunked(request: RawRequest, write = sizeOf, trailer = ''): Buffer {
  const { body } = request
  const half = Math.ceil(body.length / 2)
  const chunks = [body.subarray(0, half), body.subarray(half)].filter((chunk) => chunk.length > 0)
  const parts = chunks.flatMap((chunk) => [Buffer.from(`${write(chunk)}\r\n`), chunk, Buffer.from('\r\n')])
  return Buffer.concat([headOf(request, CHUNKED), ...parts, Buffer.from(`0\r\n${trailer}\r\n`)])
}

const CHUNKED: [string, string][] = [['transfer-encoding', 'chunked']]

const CHUNKINGS: ((request: RawRequest) => Buffer)[] = [
  (request) => chunked(request),
  (request) => chunked(request, sizeOf, 'x-trailer: y\r\n'),
  (request) => chunked(request, (chunk) => sizeOf(chunk).toUpperCase().padStart(8, '0')),
  (request) => chunked(request, (chunk) => `${sizeOf(chunk)};a=b;c="d"`),
]

const FRAMED: Change[] = [
  inRequest('framing: in chunks', 'judged', takesBody, CHUNKINGS, (request, encode) => ({ ...request, encode })),
  inFraming('framing: odd length', ODD_LENGTHS, (request, length) => {
    return framed(request, ['content-length', length.replaceAll('N', String(request.body.length))])
  }),
  inFraming('framing: two lengths', [0, 1, undefined], (request, other) => {
    const { length } = request.body
    return framed(request, ['content-length', String(length)], ['Content-Length', String(other ?? length)])
  }),
  inFraming('framing: length and chunks', ['content-length', 'transfer-encoding'], (request, first) => {
    const both: [string, string][] = [...CHUNKED, ['content-length', String(request.body.length)]]
    return framed(request, ...both.toSorted(([name]) => (name === first ? -1 : 1)))
  }),
  inFraming('framing: odd coding', ODD_CODINGS, (request, coding) => framed(request, ['transfer-encoding', coding])),
  inFraming('framing: odd chunks', ODD_CHUNKS, (request, chunks) =>
    framed({ ...request, body: Buffer.from(chunks) }, ...CHUNKED),
  ),
  inFraming('framing: odd trailers', ODD_TRAILERS, (request, trailer) => chunked(request, sizeOf, trailer)),
  inFraming('framing: odd head', ODD_HEADS, (request, [what, other]) => {
    const text = bytesOf({ ...request, encode: undefined }).toString('latin1')
    return Buffer.from(
      text.replace(what, () => other),
      'latin1',
    )
  }),
]

const CHANGES = [...BODIES, ...HEADERS, ...CALLERS, ...PATHS, ...PAGES, ...FRAMED]
/** Changes that fit few operations are used as often as others. */
const RARE = 3

export const VALID = 'valid'

/** Every kind of request that at least one operation has. */
export function kindsOf(documents: World['documents']): string[] {
  const operations = operationsOf(documents)
  return [VALID, ...CHANGES.filter(({ fits }) => operations.some(fits)).map(({ kind }) => kind)]
}

/** Requests to one operation: one in three is valid, the others have one change each. */
export function requestsTo(operation: Operation, world: World): fc.Arbitrary<Sent> {
  const drafts = draftsOf(operation, world)
  const valid = drafts.map((draft): Sent => {
    return { operation, kind: VALID, due: 'judged', request: rawRequestOf(operation, draft, world) }
  })
  const changes = CHANGES.filter(({ fits }) => fits(operation))
  const changed = fc.oneof(
    ...changes.map(({ fits, of }) => ({
      arbitrary: of({ operation, world, drafts }),
      weight: fits === always ? 1 : RARE,
    })),
  )
  return fc.oneof({ arbitrary: valid, weight: 1 }, { arbitrary: changed, weight: 2 })
}

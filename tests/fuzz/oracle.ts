import type { ApiResponse } from '../../testing/api-client.ts'
import { contractCheck } from '../../testing/contract-check.ts'
import { type Operation, pointerTo } from '../../testing/openapi.ts'
import {
  bodyVerdict,
  checkerOf,
  isTooLarge,
  methodOf,
  parseJson,
  type Reading,
  readingsOf,
  type Verdict,
  verdictOf,
} from './classify-request.ts'
import type { Due } from './mutations.ts'
import { headerOf, NO_RESPONSE, type Outcome, type RawRequest, type RawResponse } from './raw-http.ts'
import type { World } from './requests.ts'

/** The parts of a request that decide which responses are right. */
export interface Asked {
  operation: Operation
  due: Due
  request: RawRequest
}

/** Returns what is wrong with a response, in the same words for the same fault; nothing when it is right. */
export type Oracle = (asked: Asked, outcome: Outcome) => string[]

/** Separates a fault from the details of one response. */
export const DETAILS = ' — '

/** Codes that mean: such a request is never allowed, whatever the state. */
const SAYS_FORBIDDEN = [
  ...[
    'malformed_request',
    'malformed_json',
    'validation_failed',
    'invalid_id',
    'unsupported_grant_type',
    'payload_too_large',
    'headers_too_large',
  ],
  ...[
    'unsupported_media_type',
    'route_not_found',
    'method_not_allowed',
    'unauthorized',
    'invalid_token',
    'insufficient_scope',
  ],
]

/** Also for a bad key in a header and for two different keys, which no schema forbids. */
const KEY_REFUSED = 'invalid_idempotency_key'

/** Refusals before routing: the bytes are not HTTP, or too large. */
const NOT_HTTP: Record<string, number> = { malformed_request: 400, headers_too_large: 431 }

/** @param secrets must not appear in any response */
export function createOracle(documents: World['documents'], secrets: readonly string[]): Oracle {
  const { expectDocumented } = contractCheck(documents)
  const readings = readingsOf(documents)

  return (asked, { response, broken }) => {
    if (response === undefined) return broken.filter((fault) => fault !== NO_RESPONSE || !mayEndWithoutResponse(asked))
    return [
      ...broken,
      ...faultsOfStatus(response),
      ...leaksIn(response, secrets),
      ...faultsOfCorrelation(asked, response),
      ...faultsOfRefusal(asked, response),
      ...(isDocumented(asked, response) ? [] : [undocumented(asked.operation, asked.request, response) ?? '']),
      ...faultsOfVerdict(asked, response),
    ].filter((fault) => fault !== '')
  }

  /** By the intended operation or, for an odd target, by any of its interpretations. */
  function isDocumented({ operation, due, request }: Asked, response: RawResponse): boolean {
    if (undocumented(operation, request, response) === undefined) return true
    if (due === 'judged') return false
    const code = codeOf(response)
    if (code !== undefined && NOT_HTTP[code] === response.status) return true
    return readings(operation.service, request).some((reading) => fits(reading, request, response))
  }

  function fits({ path, operations }: Reading, request: RawRequest, response: RawResponse): boolean {
    const meant = operations.find(({ method }) => method === methodOf(request))
    if (meant && undocumented(meant, request, response) === undefined) return true
    if (response.status === 413) return isTooLarge(request)
    if (response.status === 404) return operations.length === 0
    if (response.status === 405) return meant === undefined && namesMethods(response, operations, request.method)
    return methodOf(request) === 'GET' && PAGES.test(path) && isPage(response)
  }

  /** Why the operation does not declare this response. */
  function undocumented(operation: Operation, request: RawRequest, response: RawResponse): string | undefined {
    const { service, method, path, responses } = operation
    const fault = `an answer that is not documented: ${response.status} ${codeOf(response) ?? ''}`
    if (request.method === 'HEAD') return responses[response.status] === undefined ? fault : undefined
    try {
      expectDocumented(service, method, path, readable(response))
      return undefined
    } catch (error) {
      return `${fault}${DETAILS}${error instanceof Error ? error.message : error}`
    }
  }

  /** Every refusal is a problem document (RFC 9457) with the contract's members. */
  function faultsOfRefusal({ request, operation }: Asked, response: RawResponse): string[] {
    const { status } = response
    if (request.method === 'HEAD') return response.body.length > 0 ? ['a body for HEAD'] : []
    if (status < 400) return []
    const body = parseJson(textOf(response))
    const code = String(fieldOf(body, 'code'))
    const faults = checkerOf(documents.customers).faultsAt(pointerTo('components', 'schemas', 'Problem'), body)
    const isEnveloped = operation.service !== 'orchestrator' || fieldOf(body, 'success') === false
    return [
      ...(faults.length > 0 ? [`no problem document${DETAILS}${faults}`] : []),
      ...(headerOf(response, 'content-type') === 'application/problem+json' ? [] : ['not application/problem+json']),
      ...(fieldOf(body, 'status') === status ? [] : ['another status in the problem than of the answer']),
      ...(fieldOf(body, 'type') === `urn:problem:${code}` ? [] : ['a type that is not that of the code']),
      ...(fieldOf(body, 'request_id') === headerOf(response, 'x-correlation-id') ? [] : ['a request_id of its own']),
      ...['title', 'detail'].filter((name) => !/\w/.test(String(fieldOf(body, name)))).map((name) => `no ${name}`),
      ...(isEnveloped || Object.hasOwn(NOT_HTTP, code) ? [] : ["not in the orchestrator's envelope"]),
    ]
  }

  /** The service must refuse what the document forbids, and accept what it allows. */
  function faultsOfVerdict({ operation, due, request }: Asked, response: RawResponse): string[] {
    const isAccepted = response.status < 400
    if (due === 'refused' && isAccepted) return ['accepted what it must refuse']
    const verdict = verdictFor(operation, due, request)
    const code = codeOf(response) ?? ''
    const saysForbidden = SAYS_FORBIDDEN.includes(code)
    if (typeof verdict === 'object') {
      if (isAccepted) return [`accepted what the document forbids: ${verdict.forbidden}`]
      const isAboutIt = saysForbidden || code === KEY_REFUSED
      return due === 'judged' && !isAboutIt ? [`looked past what the document forbids: ${verdict.forbidden}`] : []
    }
    return verdict === 'valid' && saysForbidden ? [`refused what the document allows: ${code}${pathsOf(response)}`] : []
  }

  /** An odd request must still be refused for a forbidden body, unless its oddity hides the body. */
  function verdictFor(operation: Operation, due: Due, request: RawRequest): Verdict {
    const document = documents[operation.service]
    if (due === 'judged') return verdictOf(document, operation, request)
    const isPlain = readings(operation.service, request).every(({ operations }) =>
      operations.some(({ title, method }) => title === operation.title && method === request.method),
    )
    const isHidden = !isPlain || request.encode !== undefined || headerOf(request, 'content-encoding') !== undefined
    const verdict = isHidden ? 'open' : bodyVerdict(document, operation, request)
    return verdict === 'valid' ? 'open' : verdict
  }
}

/** Node closes the connection of a CONNECT request. */
function mayEndWithoutResponse({ due, request }: Asked): boolean {
  return due === 'open' && request.method === 'CONNECT'
}

/** Pages that no document describes: the root, Swagger UI with its files, the document itself. */
const PAGES = /^\/(docs(\/.*)?|openapi\.json)?$/
const PAGE_TYPES = /^(application\/json|text\/(html|css|javascript)|image\/png)(;|$)/

function isPage(response: RawResponse): boolean {
  if (response.status === 308) return headerOf(response, 'location') === '../docs'
  return response.status === 200 && PAGE_TYPES.test(headerOf(response, 'content-type') ?? '')
}

/** RFC 9110, section 15.5.6: `Allow` lists what is possible, so not the method that was tried. */
function namesMethods(response: RawResponse, operations: Operation[], tried: string): boolean {
  const allowed = headerOf(response, 'allow')?.split(', ') ?? []
  return allowed.length > 0 && !allowed.includes(tried) && operations.every(({ method }) => allowed.includes(method))
}

/** Includes the statuses inside a batch response. */
function faultsOfStatus(response: RawResponse): string[] {
  const results = fieldOf(parseJson(textOf(response)), 'results')
  const within = Array.isArray(results) ? results.map((result) => Number(fieldOf(result, 'status'))) : []
  return [...new Set([response.status, ...within])]
    .filter((status) => !(status < 500))
    .map((status) => `answered ${status}`)
}

/** Words that would reveal internals. */
const INSIDES = [
  /node_modules/,
  /\/(src|dist)\//,
  /\.[cm]?[jt]s:\d/,
  /^\s+at .+:\d+:\d+/m,
  /\b\w*Error: /,
  /\[object \w+\]/,
  /\b(sqlite|mysql|mariadb|kysely|zod)\b/i,
  /\b((SQLITE|ER|ERR)_[A-Z_]{3,}|ECONN[A-Z]+)\b/,
  /\b(select|delete) .*\bfrom\b|\binsert into\b|\bupdate \w+ set\b/i,
]

/** RFC 7519: a signature is random text, which may contain any word. */
const TOKEN = /\beyJ[\w-]+\.[\w-]+\.[\w-]+/g

function leaksIn(response: RawResponse, secrets: readonly string[]): string[] {
  const text = `${response.headers.map((pair) => pair.join(': ')).join('\n')}\n${textOf(response)}`
  const words = text.replace(TOKEN, '')
  const shown = INSIDES.filter((pattern) => pattern.test(words)).map((pattern) => `its insides show: ${pattern}`)
  return secrets.some((secret) => secret !== '' && text.includes(secret)) ? [...shown, 'a secret shows'] : shown
}

const CORRELATION_ID = /^[\w.:-]{1,128}$/

function faultsOfCorrelation({ request, operation }: Asked, response: RawResponse): string[] {
  const given = response.headers.filter(([name]) => name === 'x-correlation-id').map(([, id]) => id)
  const [id = ''] = given
  if (given.length !== 1 || !CORRELATION_ID.test(id)) return ['no X-Correlation-Id, or an odd one']
  const wanted = request.headers.filter(([name]) => name.toLowerCase() === 'x-correlation-id').map(([, text]) => text)
  const [first = ''] = wanted
  // The body of the orchestrator may give another id, and a request that is not HTTP has no headers.
  const isFree = operation.service === 'orchestrator' || Object.hasOwn(NOT_HTTP, codeOf(response) ?? '')
  const isOther = wanted.length === 1 && CORRELATION_ID.test(first) && id !== first
  return isOther && !isFree ? ['another X-Correlation-Id than was asked for'] : []
}

/** The fields that a refusal names, without indexes. */
function pathsOf(response: RawResponse): string {
  const errors = fieldOf(parseJson(textOf(response)), 'errors')
  if (!Array.isArray(errors)) return ''
  const paths = errors.map((error) => String(fieldOf(error, 'path')).replace(/\d+/g, '*'))
  return ` at ${[...new Set(paths)].join(', ')}`
}

function textOf({ body }: RawResponse): string {
  return body.toString()
}

function codeOf(response: RawResponse): string | undefined {
  const code = response.status < 400 ? undefined : fieldOf(parseJson(textOf(response)), 'code')
  return typeof code === 'string' ? code : undefined
}

function readable(response: RawResponse): ApiResponse {
  const text = textOf(response)
  return { status: response.status, headers: new Headers(response.headers), text, body: parseJson(text) ?? text }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? Object(value)[name] : undefined
}

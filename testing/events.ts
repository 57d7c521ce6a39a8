import { readFileSync } from 'node:fs'
import type { ApiClient } from './api-client.ts'
import type { LambdaInstance } from './lambda.ts'

export type EventName =
  | 'rest-api'
  | 'rest-api-own-domain'
  | 'rest-api-file'
  | 'http-api'
  | 'http-api-stage'
  | 'function-url'
  | 'load-balancer'
  | 'vpc-lattice'
  | 'schedule'

/** A recorded event; those of load balancers and VPC Lattice are from their documentation. */
// biome-ignore lint/suspicious/noExplicitAny: events of every kind; what reads them is what is tested.
export function recorded(name: EventName): any {
  return JSON.parse(readFileSync(new URL(`./fixtures/events/${name}.json`, import.meta.url), 'utf8'))
}

export interface HttpRequest {
  method: string
  /** Without the stage and the query, with the service's prefix. */
  path: string
  query?: string | undefined
  headers?: Record<string, string>
  body?: string | undefined
}

/** One way to call a function: its path prefix and its events. */
export interface Way {
  title: string
  /** The prefix of a caller's path, e.g. `/dev/orders-api`. */
  front(prefix: string): string
  /** Whether the service's prefix is in the path. */
  prefixed: boolean
  /** The recorded event with this request. */
  eventOf(request: HttpRequest): unknown
}

export const WAYS: readonly Way[] = [
  {
    title: 'a REST API',
    front: (prefix) => `/dev${prefix}`,
    prefixed: true,
    eventOf: (request) => restEvent('rest-api', '/dev', request),
  },
  {
    title: 'a REST API on a domain of its own',
    front: (prefix) => prefix,
    prefixed: true,
    eventOf: (request) => restEvent('rest-api-own-domain', '', request),
  },
  {
    title: 'an HTTP API',
    front: (prefix) => prefix,
    prefixed: true,
    eventOf: (request) => httpEvent('http-api', '', 'plain', request),
  },
  {
    title: 'an HTTP API with a named stage',
    front: (prefix) => `/prod${prefix}`,
    prefixed: true,
    eventOf: (request) => httpEvent('http-api-stage', '/prod', 'base64', request),
  },
  {
    title: 'a function URL',
    front: () => '',
    prefixed: false,
    eventOf: (request) => httpEvent('function-url', '', 'base64', request),
  },
]

/** Ways that `serverless.yml` does not set up. */
export const OTHER_WAYS: readonly Way[] = [
  {
    title: 'a load balancer',
    front: (prefix) => prefix,
    prefixed: true,
    eventOf: (request) => balancerEvent(request),
  },
  {
    title: 'a load balancer with multi-value headers',
    front: (prefix) => prefix,
    prefixed: true,
    eventOf: (request) => {
      const { headers, queryStringParameters: _, ...event } = balancerEvent(request)
      const parameters = valuesOf(encodedQuery(request.query))
      const multiValueHeaders = mapValues(headers, (value) => [value])
      return { ...event, multiValueHeaders, multiValueQueryStringParameters: parameters }
    },
  },
  {
    title: 'VPC Lattice',
    front: (prefix) => prefix,
    prefixed: true,
    eventOf: (request) => latticeEvent(request),
  },
  {
    title: 'VPC Lattice with the query in the path',
    front: (prefix) => prefix,
    prefixed: true,
    eventOf: (request) => {
      const event = latticeEvent(request)
      return request.query === undefined ? event : { ...event, path: `${request.path}?${request.query}` }
    },
  },
]

/** The event of a load balancer, which keeps queries unchanged and adds the caller's address. */
function balancerEvent({ method, path, query, headers, body }: HttpRequest) {
  const event = recorded('load-balancer')
  return {
    ...event,
    httpMethod: method,
    path,
    queryStringParameters: mapValues(valuesOf(encodedQuery(query)), (values) => values.at(-1)),
    headers: forwarded(event.headers, headers),
    body: body ?? '',
  }
}

/** The event of VPC Lattice, version 2.0: every header is a list. */
function latticeEvent({ method, path, query, headers, body }: HttpRequest) {
  const event = recorded('vpc-lattice')
  const recordedHeaders: Record<string, string> = mapValues(event.headers, (values: string[]) => values.join(', '))
  return {
    ...event,
    method,
    path,
    queryStringParameters: valuesOf(new URLSearchParams(query)),
    headers: mapValues(forwarded(recordedHeaders, headers), (value) => [value]),
    body: body === undefined ? '' : Buffer.from(body).toString('base64'),
    isBase64Encoded: body !== undefined,
  }
}

/** The caller's headers in lower case, with its address added to `X-Forwarded-For`. */
function forwarded(own: Record<string, string>, headers: Record<string, string> = {}): Record<string, string> {
  const given = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  const hops = [given['x-forwarded-for'], own['x-forwarded-for']].filter((hop) => hop !== undefined)
  return { ...own, ...given, 'x-forwarded-for': hops.join(', ') }
}

/** The parts of a query, not decoded. */
function encodedQuery(query: string | undefined): URLSearchParams {
  const pairs = (query ?? '').split('&').filter((pair) => pair !== '')
  return new URLSearchParams(pairs.map((pair) => [pair.split('=')[0] ?? '', pair.split('=')[1] ?? '']))
}

/** The event of a REST API (v1), whose binary media types are all types: every body is base64. */
export function restEvent(
  name: EventName,
  stage: string,
  { method, path, query, headers, body }: HttpRequest,
): Record<string, unknown> {
  const event = recorded(name)
  const all: Record<string, string> = { ...withoutContentType(event.headers), ...headers }
  const parameters = query === undefined ? null : valuesOf(new URLSearchParams(query))
  const [, prefix = '', proxy = ''] = /^(\/[a-z]+-api)?(?:\/(.*))?$/.exec(path) ?? []
  return {
    ...event,
    resource: `${prefix}/{proxy+}`,
    path,
    httpMethod: method,
    headers: all,
    multiValueHeaders: mapValues(all, (value) => [value]),
    queryStringParameters: parameters && mapValues(parameters, (values) => values.at(-1)),
    multiValueQueryStringParameters: parameters,
    pathParameters: { proxy },
    requestContext: {
      ...event.requestContext,
      resourcePath: `${prefix}/{proxy+}`,
      httpMethod: method,
      path: `${stage}${path}`,
    },
    body: body === undefined ? null : Buffer.from(body).toString('base64'),
    isBase64Encoded: body !== undefined,
  }
}

/** The event of an HTTP API or a function URL (v2), with header names in lower case. */
function httpEvent(
  name: EventName,
  stage: string,
  encoding: 'plain' | 'base64',
  { method, path, query, headers, body }: HttpRequest,
): Record<string, unknown> {
  const { body: _, queryStringParameters: __, ...event } = recorded(name)
  const own = Object.fromEntries(Object.entries(headers ?? {}).map(([key, value]) => [key.toLowerCase(), value]))
  const rawPath = `${stage}${path}`
  return {
    ...event,
    rawPath,
    rawQueryString: query ?? '',
    headers: { ...withoutContentType(event.headers), ...own },
    ...(query && {
      queryStringParameters: mapValues(valuesOf(new URLSearchParams(query)), (values) => values.join(',')),
    }),
    requestContext: { ...event.requestContext, http: { ...event.requestContext.http, method, path: rawPath } },
    ...(body !== undefined && { body: encoding === 'plain' ? body : Buffer.from(body).toString('base64') }),
    isBase64Encoded: body !== undefined && encoding === 'base64',
  }
}

function withoutContentType(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !/^content-(type|length)$/i.test(name)))
}

function valuesOf(query: URLSearchParams): Record<string, string[]> {
  return Object.fromEntries([...new Set(query.keys())].map((name) => [name, query.getAll(name)]))
}

function mapValues<T, U>(record: Record<string, T>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]))
}

/** The result of a function, as a gateway reads it. */
export interface FunctionResult {
  statusCode: number
  headers?: Record<string, string>
  multiValueHeaders?: Record<string, string[]>
  body: string
  isBase64Encoded: boolean
}

export function headersOf({ headers, multiValueHeaders }: FunctionResult): Headers {
  const all = Object.entries(multiValueHeaders ?? headers ?? {})
  return new Headers(all.flatMap(([name, values]) => [values].flat().map((value): [string, string] => [name, value])))
}

export function bytesOf({ body, isBase64Encoded }: FunctionResult): Buffer {
  return Buffer.from(body, isBase64Encoded ? 'base64' : 'utf8')
}

/** Calls a function in one of these ways. Its token has every scope, unless a request brings another. */
export function callerOf(instance: LambdaInstance, way: Way, prefix: string, ownToken: string): ApiClient['call'] {
  return async (method, target, { body, headers = {}, token = ownToken } = {}) => {
    const [path = '', query] = target.split('?')
    const event = way.eventOf({
      method,
      path: `${way.prefixed ? prefix : ''}${path}`,
      query,
      headers: {
        ...(token !== null && { Authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body),
    })
    const result = (await instance.invoke(event)) as FunctionResult
    const answered = headersOf(result)
    const text = bytesOf(result).toString()
    const isJson = /\bjson\b/.test(answered.get('content-type') ?? '')
    return { status: result.statusCode, headers: answered, text, body: isJson ? JSON.parse(text) : text }
  }
}

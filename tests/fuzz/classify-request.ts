import { findDoubledMember } from '../../src/platform/http/duplicate-members.ts'
import {
  isOpen,
  type OpenApiDocument,
  type Operation,
  operationsOf,
  pointerTo,
  type SchemaChecker,
  type ServiceName,
  schemaChecker,
} from '../../testing/openapi.ts'
import { isObject, type Schema } from './inputs.ts'
import type { RawRequest } from './raw-http.ts'

// Classifies a request by the documents. It reads the bytes that are sent, not the intention of the mutation.

/** Whether the document allows a request, or why not. `open`: the document says nothing about it. */
export type Verdict = 'valid' | 'open' | { forbidden: string }

export interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  required: boolean
  schema: Schema
  /** In a query, an empty value equals an absent parameter. */
  allowEmptyValue?: boolean
}

export const JSON_TYPE = 'application/json'
export const FORM_TYPE = 'application/x-www-form-urlencoded'

export function parametersOf(operation: Operation): Parameter[] {
  return operation.parameters ?? []
}

/** The parameter by which a list is read on. The feed has no last page, so its name for it is another one. */
export function cursorOf(operation: Operation): Parameter | undefined {
  return parametersOf(operation).find(({ name }) => name === 'cursor' || name === 'after')
}

/** Of parameters whose description says more than a schema can: values that are surely allowed. Of others nothing is known. */
const SURELY_ALLOWED: Record<string, RegExp> = {
  types: /^(\*|(order|product|customer)\.\*|order\.(placed|confirmed)|product\.out_of_stock)(,order\.canceled)?$/,
  resource: /^(order|product|customer):[1-9]\d{0,5}$/,
  after: /^latest$/,
}

const CHECKERS = new WeakMap<OpenApiDocument, SchemaChecker>()

/** The checker of a document, made once: compiling a schema is the slowest part. */
export function checkerOf(document: OpenApiDocument): SchemaChecker {
  const checker = CHECKERS.get(document) ?? schemaChecker(document)
  CHECKERS.set(document, checker)
  return checker
}

const MAX_BODY = 64 * 1024
const MAX_INTERNAL_BODY = 4 * 1024 * 1024
const MAX_TOKEN_REQUEST = 4 * 1024

export function largestBodyOf(path: string): number {
  if (/^(\/dev)?\/auth\/token(\?|$)/.test(path)) return MAX_TOKEN_REQUEST
  return /^(\/dev)?\/internal\//.test(path) ? MAX_INTERNAL_BODY : MAX_BODY
}

export function isTooLarge({ target, body }: RawRequest): boolean {
  return body.length > largestBodyOf(target)
}

/** By the parameters of path and query, and by the body. Headers may be any text. */
export function verdictOf(document: OpenApiDocument, operation: Operation, request: RawRequest): Verdict {
  const verdicts = [bodyVerdict(document, operation, request), ...parameterVerdicts(document, operation, request)]
  const worst = verdicts.find((verdict) => typeof verdict === 'object')
  return worst ?? (verdicts.includes('open') ? 'open' : 'valid')
}

export function bodyVerdict(
  document: OpenApiDocument,
  { requestBody, pointer, operationId }: Operation,
  request: RawRequest,
): Verdict {
  if (isTooLarge(request)) return requestBody ? { forbidden: 'so large a body' } : 'open'
  if (requestBody === undefined) return 'valid'
  const types = request.headers.filter(([name]) => name.toLowerCase() === 'content-type').map(([, type]) => type)
  const [type] = types
  if (types.length > 1 || request.body.toString() === BYTE_ORDER_MARK) return 'open'
  const { mediaType, isUsual } = mediaTypeOf(type ?? '')
  const isDeclared = Object.hasOwn(requestBody.content, mediaType)
  const isAsUsual = type === undefined || (isDeclared && isUsual)
  if (request.body.length === 0 && !requestBody.required) return isAsUsual ? 'valid' : 'open'
  // The document's description says that JSON is accepted too.
  if (operationId === 'issueToken' && mediaType === JSON_TYPE) return 'open'
  if (!isDeclared) return { forbidden: 'the content type' }
  const value = mediaType === FORM_TYPE ? formOf(request.body) : jsonOf(request.body)
  if (value === undefined) return { forbidden: `a body that is not ${mediaType}` }
  // A schema can't express this; the document's description does.
  if (mediaType === JSON_TYPE && findDoubledMember(request.body.toString()) !== undefined) {
    return { forbidden: 'a member twice in one object' }
  }
  const at = `${pointer}${pointerTo('requestBody', 'content', mediaType, 'schema')}`
  const [fault] = checkerOf(document).faultsAt(at, value.read)
  if (fault !== undefined) return { forbidden: `the body: ${gistOf(fault)}` }
  if (isUndecided(value.read)) return 'open'
  return isUsual && !value.isMarked && !HALF_A_PAIR.test(JSON.stringify(value.read)) ? 'valid' : 'open'
}

/**
 * Rules of the descriptions that depend on the time, or on what a product has already: a date may have passed, and no
 * quantity may be possible.
 */
function isUndecided(body: unknown): boolean {
  return isObject(body) && ['requested_delivery_date', 'min_qty', 'qty_step', 'max_qty'].some((name) => name in body)
}

/** A lone surrogate is not Unicode: the behaviour of receivers is unpredictable (RFC 8259, section 8.2). */
const HALF_A_PAIR = /\\ud[89a-f]/

/** RFC 9110. The only parameter that every receiver must accept is a UTF-8 charset right after the type. */
function mediaTypeOf(type: string): { mediaType: string; isUsual: boolean } {
  const [essence = '', ...parameters] = type.split(';').map((part) => part.trim())
  const isUsual = !/\s;/.test(type) && parameters.every((parameter) => /^charset="?utf-8"?$/i.test(parameter))
  return { mediaType: essence.toLowerCase(), isUsual }
}

const BYTE_ORDER_MARK = '\ufeff'

interface Value {
  read: unknown
  /** It began with a byte order mark, which parsers may ignore (RFC 8259, section 8.1). */
  isMarked: boolean
}

function textOf(bytes: Buffer): { text: string; isMarked: boolean } | undefined {
  try {
    const isMarked = bytes.toString().startsWith(BYTE_ORDER_MARK)
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), isMarked }
  } catch {
    return undefined
  }
}

function jsonOf(bytes: Buffer): Value | undefined {
  const found = textOf(bytes)
  const read = found && parseJson(found.text)
  return found && read !== undefined ? { read, isMarked: found.isMarked } : undefined
}

function formOf(bytes: Buffer): Value | undefined {
  const found = textOf(bytes)
  if (found === undefined) return undefined
  const form = new URLSearchParams(found.text)
  const fields = [...form.keys()].map((name): [string, unknown] => {
    const values = form.getAll(name)
    return [name, values.length > 1 ? values : values[0]]
  })
  return { read: Object.fromEntries(fields), isMarked: found.isMarked }
}

/** @returns undefined for text that is not JSON */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The checker's message, without the values of this request. */
function gistOf(fault: string): string {
  return fault.replace(/ \{.*$/s, '').replace(/\/\d+/g, '/*')
}

function parameterVerdicts(document: OpenApiDocument, operation: Operation, { target }: RawRequest): Verdict[] {
  const [path = '', ...query] = target.split('?')
  const search = new URLSearchParams(query.join('?'))
  const segments = segmentsOf(operation.path, path)
  const verdicts = parametersOf(operation).map((parameter, index): Verdict => {
    const { name, schema, required } = parameter
    const segment = segments[name]
    const texts = parameter.in === 'query' ? search.getAll(name) : segment === undefined ? [] : [decode(segment)]
    const [text] = texts
    if (parameter.in === 'header') return 'valid'
    if (text === undefined) return required ? { forbidden: `no ${name}` } : 'valid'
    const isList = schema.type === 'array'
    if (texts.length > 1 && !isList) return { forbidden: `${name}, several times` }
    if (text === '' && parameter.allowEmptyValue) return 'valid'
    const at = `${operation.pointer}${pointerTo('parameters', String(index), 'schema')}`
    if (isList)
      return listVerdict(document, `${operation.pointer}${pointerTo('parameters', String(index), 'schema')}`, texts)
    const value = schema.type === 'integer' && /^(0|-?[1-9]\d*)$/.test(text) ? Number(text) : text
    const [fault] = checkerOf(document).faultsAt(at, value)
    if (fault !== undefined) return { forbidden: `${name}:${gistOf(fault)}` }
    return SURELY_ALLOWED[name]?.test(text) === false ? 'open' : 'valid'
  })
  const isMixed = mixesLookUp(search)
  return [...verdicts, queryVerdict(operation, search), isMixed ? { forbidden: 'a look-up with a search' } : 'valid']
}

/** Empty values of a repeated parameter count as absent. */
function listVerdict(document: OpenApiDocument, at: string, texts: string[]): Verdict {
  const [fault] = checkerOf(document).faultsAt(
    at,
    texts.filter((text) => text !== ''),
  )
  return fault === undefined ? 'valid' : { forbidden: `a list:${gistOf(fault)}` }
}

/** The description forbids it, since OpenAPI has no keyword for parameters that exclude each other. */
export function mixesLookUp(query: URLSearchParams): boolean {
  const has = (...names: string[]) => names.some((name) => query.get(name)?.trim())
  return has('email', 'external_id') && has('search', 'cursor')
}

/** The description forbids unknown names, since OpenAPI has no keyword for it. A value without a name is ignored. */
function queryVerdict(operation: Operation, search: URLSearchParams): Verdict {
  if (!isStrict(operation)) return 'valid'
  const known = parametersOf(operation).filter((parameter) => parameter.in === 'query')
  const names = [...search.keys()].filter((name) => name !== '')
  return names.every((name) => known.some((parameter) => parameter.name === name)) ? 'valid' : UNKNOWN_NAME
}

const UNKNOWN_NAME: Verdict = { forbidden: 'a name in the query that is not listed' }

/** Health probes may add parameters, and OAuth requires unknown ones to be ignored (RFC 6749, section 3.2). */
export function isStrict(operation: Operation): boolean {
  return !isOpen(operation)
}

/** The values of a template's parameters in a path. */
function segmentsOf(template: string, path: string): Record<string, string> {
  const pattern = template.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')
  return new RegExp(`^(?:/dev)?${pattern}$`).exec(path)?.groups ?? {}
}

/** One interpretation of an odd target. */
export interface Reading {
  path: string
  /** The documented operations at this path, of every method. */
  operations: Operation[]
}

/** All interpretations of a target: literal, as a URL, decoded; with or without a stage. */
export function readingsOf(documents: Record<ServiceName, OpenApiDocument>) {
  const operations = operationsOf(documents)
  return (service: ServiceName, { target }: RawRequest): Reading[] => {
    const own = operations.filter((operation) => operation.service === service)
    return pathsOf(target).map((path) => ({ path, operations: operationsAt(own, path) }))
  }
}

/** A path without parameters comes before a template that matches it too, as OpenAPI has it. */
function operationsAt(operations: Operation[], path: string): Operation[] {
  const exact = operations.filter((one) => one.path === path)
  return exact.length > 0 ? exact : operations.filter((one) => isAt(one.path, path))
}

/** HEAD has the response of GET (RFC 9110, section 9.3.2). */
export function methodOf({ method }: RawRequest): string {
  return method === 'HEAD' ? 'GET' : method
}

function isAt(template: string, path: string): boolean {
  return new RegExp(`^${template.replace(/\{\w+\}/g, '[^/]+')}$`).test(path)
}

function pathsOf(target: string): string[] {
  const plain = target.replace(/^[a-z]+:\/\/[^/]*/i, '').replace(/[?#].*$/s, '') || '/'
  const urls = [target, `http://a${target}`].filter((url) => URL.canParse(url, 'http://a'))
  const paths = [plain, ...urls.map((url) => new URL(url, 'http://a').pathname)].flatMap((path) => [path, decode(path)])
  return [...new Set(paths.flatMap((path) => [path, path.replace(/^\/dev(?=\/|$)/, '') || '/']))]
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

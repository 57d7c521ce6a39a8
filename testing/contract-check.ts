import { expect } from 'vitest'
import type { ApiResponse } from './api-client.ts'
import {
  type OpenApiDocument,
  type Operation,
  operationsOf,
  pointerTo,
  type SchemaChecker,
  type ServiceName,
  schemaChecker,
} from './openapi.ts'

/** Headers with a meaning for callers: a response may have them only where its route declares them. */
const TELLING_HEADERS = ['location', 'etag', 'link', 'idempotent-replayed', 'www-authenticate', 'retry-after']

export interface ContractCheck {
  /**
   * Expects that the route declares the response: its status, content type, body and headers, and the code of a refusal
   * among the document's examples.
   * @param path the template, as `/orders/{id}`
   */
  expectDocumented(service: ServiceName, method: string, path: string, actual: ApiResponse): void
}

export function contractCheck(documents: Record<ServiceName, OpenApiDocument>): ContractCheck {
  const operations = operationsOf(documents)
  const checkers = new Map<ServiceName, SchemaChecker>()
  return {
    expectDocumented(service, method, path, actual) {
      const operation = operations.find((it) => it.service === service && it.method === method && it.path === path)
      if (operation === undefined) throw new Error(`${service} documents no ${method} ${path}`)
      const checker = checkers.get(service) ?? schemaChecker(documents[service])
      checkers.set(service, checker)
      expectResponse(operation, actual, checker)
    },
  }
}

function expectResponse(operation: Operation, actual: ApiResponse, checker: SchemaChecker): void {
  const { title, pointer, responses } = operation
  const response = responses[actual.status]
  expect(response, `${title} declares ${actual.status}: ${actual.text}`).toBeDefined()
  const at = `${pointer}${pointerTo('responses', String(actual.status))}`

  const contentType = actual.headers.get('content-type')?.split(';')[0]
  if (response?.content === undefined) {
    expect({ contentType, text: actual.text }).toEqual({ contentType: undefined, text: '' })
  } else {
    expect(Object.keys(response.content)).toContain(contentType)
    const schemaAt = `${at}${pointerTo('content', String(contentType), 'schema')}`
    expect(checker.faultsAt(schemaAt, actual.body), actual.text).toEqual([])
  }
  const examples = response?.content?.['application/problem+json']?.examples
  if (examples) {
    expect(Object.keys(examples)).toContain(actual.body.code)
    expect(actual.body.status).toBe(actual.status)
  }

  const declared = response?.headers ?? {}
  for (const [name, { required, schema }] of Object.entries(declared)) {
    const text = actual.headers.get(name)
    if (text === null) {
      expect(required, `${title} ${actual.status} must come with ${name}`).not.toBe(true)
      continue
    }
    const value = schema.type === 'integer' ? Number(text) : text
    expect(checker.faultsAt(`${at}${pointerTo('headers', name, 'schema')}`, value), `${name}: ${text}`).toEqual([])
  }
  const names = Object.keys(declared).map((name) => name.toLowerCase())
  const undeclared = TELLING_HEADERS.filter((name) => actual.headers.has(name) && !names.includes(name))
  expect(undeclared, `headers that ${title} ${actual.status} does not declare`).toEqual([])
}

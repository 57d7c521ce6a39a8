import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { openapiText } from '../../scripts/openapi-text.ts'
import {
  composeApps,
  examplesOf,
  faultsOfDocument,
  isOpen,
  type Operation,
  operationsOf,
  pointerTo,
  readDocuments,
  refsOf,
  resolveRef,
  SERVICES,
  sampleOf,
  schemaChecker,
  schemaPointersOf,
} from '../../testing/openapi.ts'
import { useSystem } from '../../testing/system.ts'

/** Random secrets, long enough. */
const PRODUCTION = { NODE_ENV: 'production', JWT_SECRET: 'j'.repeat(32), SERVICE_TOKEN: 's'.repeat(32) }
const { version: packageVersion } = JSON.parse(readFileSync('package.json', 'utf8'))
const documents = await readDocuments()
const operations = operationsOf(documents)
const problems = schemaChecker(documents.customers)

interface IntegerAt {
  pointer: string
  schema: { format?: string; minimum?: number; maximum?: number }
}

const INTEGER = /^\{"type":("integer"|\[[^\]]*"integer")/
const MAX_INT32 = 2 ** 31 - 1
const GOOD_KEYS = ['k', 'k'.repeat(255), '"k"', `"${'k'.repeat(255)}"`, '"', '"k', 'k"', 'a"b']
const BAD_KEYS = ['', '""', 'k'.repeat(256), 'two words', 'é', `"${'k'.repeat(256)}"`]
const GOOD_TAGS = ['"1"', 'W/"1"', '*', '"1", W/"2"']
const BAD_TAGS = ['', '1', '"1" "2"', 'w/"1"']

const PUBLIC = ['POST /auth/token', 'GET /health', 'GET /ready']
/** The document, its page, and the links to them: not part of the described API. */
const UNDOCUMENTED = ['GET /', 'GET /openapi.json', 'GET /docs', 'GET /docs/', 'GET /docs/swagger-ui-dist/{file}']

describe.each(SERVICES)('the document of %s', (service) => {
  const system = useSystem('sqlite')
  const document = documents[service]
  const checker = schemaChecker(document)
  const own = operations.filter((operation) => operation.service === service)

  it('when it is fetched, then it has the same bytes each time, also behind a stage', async () => {
    const first = await system[service].get('/openapi.json', { token: null })
    expect(first.status).toBe(200)
    expect(first.headers.get('content-type')).toBe('application/json')
    expect(first.body).toEqual(document)
    for (const path of ['/openapi.json', '/dev/openapi.json', '/openapi.json?fresh=1', '/dev/openapi.json']) {
      expect((await system[service].get(path, { token: null })).text).toBe(first.text)
    }
  })

  it('when a caller has it already, then 304 without a body, and the same headers', async () => {
    const first = await system[service].get('/openapi.json', { token: null })
    const etag = first.headers.get('etag') ?? ''
    expect(etag).toMatch(/^"[\w-]{43}"$/)
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const { status, text, headers } = await system[service].get('/dev/openapi.json', {
        token: null,
        headers: { 'if-none-match': known },
      })
      expect({ status, text, etag: headers.get('etag') }).toEqual({ status: 304, text: '', etag })
      expect(headers.get('cache-control')).toBe('no-cache')
    }
    const other = await system[service].get('/openapi.json', { token: null, headers: { 'if-none-match': '"1"' } })
    expect({ status: other.status, text: other.text }).toEqual({ status: 200, text: first.text })
  })

  it('when callers reach it at a configured address, then its addresses are absolute', async () => {
    const read = (await readDocuments({ PUBLIC_URL: 'https://api.example.com/{service}-api/' }))[service]
    const url = `https://api.example.com/${service}-api`
    expect(read.servers).toEqual([{ url, description: 'this service' }])
    const flows = read.components.securitySchemes.oauth2?.flows
    expect(flows?.clientCredentials.tokenUrl).toBe(service === 'orchestrator' ? undefined : `${url}/auth/token`)
    expect(faultsOfDocument(read)).toEqual([])
    expect({ ...read, servers: [], components: [] }).toEqual({ ...document, servers: [], components: [] })
  })

  it('when it is saved in openapi/, then that equals the served one', async () => {
    const saved = readFileSync(`openapi/${service}.json`, 'utf8')
    expect(saved, 'run: npm run openapi').toBe(await openapiText(service))
    expect(JSON.parse(saved).servers[0].url).toMatch(/^http:\/\/localhost:30\d\d$/)
  })

  it('when it is for production, then it is the same without the demo client', async () => {
    const read = (await readDocuments(PRODUCTION))[service]
    expect(JSON.stringify(read)).not.toMatch(/demo/i)
    const withoutDemo = (key: string, value: unknown) =>
      key === 'example' && /\bdemo\b/.test(`${value}`) ? undefined : value
    const expected = JSON.stringify(document, withoutDemo).replace(/ The demo client is [^.]*\./, '')
    expect(JSON.stringify(read)).toBe(expected)
  })

  it('when it is validated against OpenAPI 3.1, then it has no fault', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/)
    expect(faultsOfDocument(document)).toEqual([])
  })

  it('when a reference is followed, then its target exists', () => {
    const refs = refsOf(document)
    expect(refs).not.toEqual([])
    for (const ref of refs) expect(resolveRef(document, ref), ref).toBeDefined()
  })

  it('when a schema is compiled strictly, then it has no unknown keyword or format', () => {
    const pointers = schemaPointersOf(document)
    expect(pointers.length).toBeGreaterThan(20)
    for (const pointer of pointers) expect(() => checker.faultsAt(pointer, null), pointer).not.toThrow()
  })

  it('when an example is validated against its schema, then it is valid', () => {
    const examples = examplesOf(document)
    expect(examples.length).toBeGreaterThan(20)
    for (const { schemaPointer, value } of examples) {
      expect(checker.faultsAt(schemaPointer, value), `${schemaPointer} ${JSON.stringify(value)}`).toEqual([])
    }
  })

  it('when the routes of the app are listed, then they are those of the document', async () => {
    const app = (await composeApps())[service]
    const routes = app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => `${method} ${path}`)
    const documented = own.map(({ method, path }) => `${method} ${path}`)
    expect([...new Set(routes)].map((route) => route.replace(/:(\w+)/g, '{$1}')).sort()).toEqual(
      [...documented, ...UNDOCUMENTED].sort(),
    )
  })

  it('when operations have ids or tags, then each id is unique and each tag is listed', () => {
    const ids = own.map(({ operationId }) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
    const tags = document.tags.map(({ name }) => name)
    expect(new Set(own.flatMap((operation) => operation.tags))).toEqual(new Set(tags))
  })

  it('when it has an integer, then its format has a width that holds its bounds', () => {
    const integers = schemaPointersOf(document)
      .map((pointer) => ({ pointer, schema: resolveRef(document, `#${pointer}`) }))
      .filter((one): one is IntegerAt => INTEGER.test(JSON.stringify(one.schema)))
    expect(integers.length).toBeGreaterThan(10)
    for (const { pointer, schema } of integers) {
      expect(schema.format, pointer).toMatch(/^int(32|64)$/)
      const bound = schema.format === 'int32' ? MAX_INT32 : Number.MAX_SAFE_INTEGER
      expect(schema.maximum, pointer).toBeLessThanOrEqual(bound)
      expect(schema.minimum, pointer).toBeGreaterThanOrEqual(-bound)
    }
  })

  it('when code is generated from it, then no schema prevents that', () => {
    for (const pointer of schemaPointersOf(document)) {
      const schema = resolveRef(document, `#${pointer}`)
      // Python generators read them as strings.
      expect(schema, pointer).not.toMatchObject({ type: 'boolean', enum: expect.anything() })
      // In OpenAPI 3.0 these are flags, and some tools still read them so.
      for (const word of ['exclusiveMinimum', 'exclusiveMaximum']) expect(schema, pointer).not.toHaveProperty(word)
      expect(schema, pointer).not.toHaveProperty('allOf')
      // TypeScript generators would import a model of the forbidden schema.
      expect(schema, pointer).not.toMatchObject({ not: { properties: expect.anything() } })
    }
  })

  it('when an object is described, then it has a name', () => {
    const unnamed = schemaPointersOf(document).filter((pointer) => {
      const { properties } = Object(resolveRef(document, `#${pointer}`))
      return properties !== undefined && !/^\/components\/schemas\/\w+$/.test(pointer)
    })
    expect(unnamed).toEqual([])
  })

  it('when a parameter is described, then it has one plain type', () => {
    for (const { title, parameters = [] } of own) {
      for (const { name, schema } of parameters) {
        const one = schema.type === 'array' ? schema.items : schema
        expect(one.type, `${title} ${name}`).toMatch(/^(string|integer)$/)
        for (const word of ['anyOf', 'oneOf', 'allOf', '$ref'])
          expect(schema, `${title} ${name}`).not.toHaveProperty(word)
      }
    }
  })

  it('when it has a key or a precondition, then its pattern matches the service', () => {
    const headers = own.flatMap(({ parameters = [] }) => parameters.filter((parameter) => parameter.in === 'header'))
    for (const { name, schema } of headers) {
      expect(schema, name).toMatchObject({ maxLength: expect.any(Number), examples: [expect.any(String)] })
      const takes = (text: string) => new RegExp(schema.pattern).test(text)
      const [good, bad] = name.endsWith('key') ? [GOOD_KEYS, BAD_KEYS] : [GOOD_TAGS, BAD_TAGS]
      expect([good.filter((text) => !takes(text)), bad.filter(takes)], name).toEqual([[], []])
    }
  })

  it('when a key may be sent in several headers, then their examples are one key', () => {
    for (const { title, path, parameters = [] } of own) {
      const headers = parameters.filter(({ name }) => name.endsWith('idempotency-key'))
      const keys = headers.flatMap(({ example, schema }) => [...(schema.examples ?? []), ...(example ? [example] : [])])
      const inBody = document.components.schemas.CreateAndConfirm?.properties.idempotency_key.example
      if (path.startsWith('/orchestrator/')) keys.push(inBody)
      expect(new Set(keys).size, title).toBeLessThanOrEqual(1)
    }
  })

  it('when a route is for the other services alone, then it is marked as internal', () => {
    for (const operation of own) {
      expect(operation['x-internal'], operation.title).toBe(operation.path.startsWith('/internal/') || undefined)
    }
  })

  it('when its version is read, then it is that of the package', () => {
    expect(document.info.version).toBe(packageVersion)
  })

  it('when several schemes open a route, then the first needs only a token', () => {
    const several = own.filter(({ security }) => security.length > 1 && !security.some(({ basic }) => basic))
    for (const { title, security } of several) expect(Object.keys(security[0] ?? {}), title).toEqual(['bearer'])
  })

  it('when it names a security scheme or a scope, then that is declared', () => {
    const schemes = document.components.securitySchemes
    const requirements = own.flatMap(({ security }) => security)
    expect(new Set(requirements.flatMap((requirement) => Object.keys(requirement)))).toEqual(
      new Set(Object.keys(schemes)),
    )
    for (const scope of requirements.flatMap(({ oauth2 }) => oauth2 ?? [])) {
      expect(schemes.oauth2.flows.clientCredentials.scopes).toHaveProperty([scope])
    }
  })
})

describe('what a service refuses', () => {
  const { customers, orders, orchestrator } = documents
  const at = (name: string) => pointerTo('components', 'schemas', name)
  const customer = { name: 'Ann', email: 'ann@example.com' }
  const order = { customer_id: 1, items: [{ product_id: 1, qty: 1 }] }
  const tooLarge = Number.MAX_SAFE_INTEGER + 1

  it.each([
    ['a name of two lines', customers, 'NewCustomer', { ...customer, name: 'two\nlines' }],
    ['a blank name', customers, 'NewCustomer', { ...customer, name: ' \t ' }],
    ['a phone with a control character', customers, 'NewCustomer', { ...customer, phone: '5\u009b5' }],
    ['an external id with a zero-width space', customers, 'NewCustomer', { ...customer, external_id: 'A\u200b1' }],
    ['an external id of no text', customers, 'NewCustomer', { ...customer, external_id: '' }],
    ['a blank external id', customers, 'CustomerReplacement', { ...customer, external_id: ' ' }],
    ['a PO policy that there is not', customers, 'NewCustomer', { ...customer, po_policy: 'none' }],
    ['an e-mail without a domain', customers, 'NewCustomer', { ...customer, email: 'ann@localhost' }],
    ['a SKU with two spaces', orders, 'NewProduct', { sku: 'A  1', name: 'A', price_cents: 1, stock: 1 }],
    ['a change with only null', orders, 'ProductChange', { name: null, stock: null }],
    ['an adjustment by 0', orders, 'NewStockAdjustment', { delta: 0, reason: 'counted' }],
    ['an id past 2^53-1', orders, 'NewOrder', { ...order, customer_id: tooLarge }],
    [
      'an id past 2^53-1 in a line',
      orchestrator,
      'CreateAndConfirm',
      { ...order, items: [{ product_id: tooLarge, qty: 1 }] },
    ],
  ])('when it is %s, then the document forbids it too', (_, document, schema, value) => {
    expect(schemaChecker(document).faultsAt(at(schema), value)).toHaveLength(1)
  })

  it.each([
    ['2026-01-01', true],
    ['2026-01-01T00:00:00+02:00', true],
    ['0000-01-01T00:00:00Z', true],
    ['2026-01-01T00:00Z', false],
    ['2026-02-30T00:00:00Z', false],
    ['2026-01-01 00:00:00Z', false],
    ['2026-01-01t00:00:00z', false],
    ['2016-12-31T23:59:60Z', false],
  ])('when orders are listed from %s, then the document says whether it is a time: %s', (time, isTime) => {
    const parameters = operations.find(({ operationId }) => operationId === 'listOrders')?.parameters ?? []
    const index = parameters.findIndex(({ name }) => name === 'from')
    const schema = pointerTo('paths', '/orders', 'get', 'parameters', String(index), 'schema')
    expect(schemaChecker(orders).faultsAt(schema, time).length === 0).toBe(isTime)
  })
})

describe.each(operations.map((operation): [string, Operation] => [operation.title, operation]))(
  '%s',
  (_, operation) => {
    const { service, method, path, pointer } = operation
    const document = documents[service]
    const checker = schemaChecker(document)

    it('when it is read, then it says what it does and who may call it', () => {
      expect(operation.operationId).toMatch(/^[a-z][A-Za-z]+$/)
      expect(operation.summary).toMatch(/\w/)
      expect(operation.tags).not.toEqual([])
      expect(operation.security).toBeInstanceOf(Array)
      expect(isOpen(operation), 'is open').toBe(PUBLIC.includes(`${method} ${path}`))
    })

    it('when its path has parameters, then each is declared, and no others', () => {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path')
      expect(declared.map(({ name }) => name)).toEqual(inPath)
      for (const parameter of declared) expect(parameter.required).toBe(true)
    })

    it('when its responses are read, then one succeeds, and each refusal has an example', () => {
      const statuses = Object.keys(operation.responses)
      expect(statuses.filter((status) => status.startsWith('2'))).toHaveLength(1)
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(response.description).toMatch(/\w/)
        if (status.startsWith('2') || status === '304') continue
        expect(Object.keys(response.content ?? {})).toEqual(['application/problem+json'])
        const examples = Object.entries(response.content?.['application/problem+json']?.examples ?? {})
        expect(examples).not.toEqual([])
        for (const [code, { value }] of examples) {
          expect(value).toMatchObject({ code, status: Number(status), type: `urn:problem:${code}` })
          expect(problems.faultsAt(pointerTo('components', 'schemas', 'Problem'), value)).toEqual([])
        }
      }
    })

    it('when it takes a body, then the examples of its parts make a valid one', () => {
      for (const [mediaType, { schema }] of Object.entries(operation.requestBody?.content ?? {})) {
        const at = `${pointer}${pointerTo('requestBody', 'content', mediaType, 'schema')}`
        expect(checker.faultsAt(at, sampleOf(document, schema))).toEqual([])
      }
    })
  },
)

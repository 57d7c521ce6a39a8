import { describe, expect, it } from 'vitest'
import { operationsOf, readDocuments, SERVICES } from '../../testing/openapi.ts'
import { expectFaults } from '../../testing/problems.ts'
import { useSystem } from '../../testing/system.ts'
import { isStrict } from '../fuzz/classify-request.ts'

const documents = await readDocuments()
const operations = operationsOf(documents)
const strict = operations.filter(isStrict)

describe('a query', () => {
  const system = useSystem('sqlite', { ORCHESTRATOR_PUBLIC: 'false' })

  const ask = (operation: (typeof operations)[number], query: string) => {
    const { service, method, path, security, parameters = [] } = operation
    const needed = parameters.filter((it) => it.in === 'query' && it.required && !query.includes(`${it.name}=`))
    const isInternal = security.some(({ serviceToken }) => serviceToken)
    const token = isInternal ? { token: system.env.serviceTokens[0] ?? '' } : {}
    const whole = [query, ...needed.map(({ name }) => `${name}=1`)].join('&')
    return system[service].call(method, `${path.replace('{id}', '1')}?${whole}`, token)
  }

  it.each(strict.map((operation) => [operation.title, operation] as const))(
    'when %s has an unknown parameter, then the refusal names it',
    async (_, operation) => {
      const response = await ask(operation, 'nonsense=1')
      expectFaults(response, ['nonsense'])
      expect(response.body.errors[0].message).toBe('Unknown query parameter')
      expectFaults(await ask(operation, 'nonsense=1&other=&nonsense=2'), ['nonsense', 'other'])
    },
  )

  it.each(
    strict.flatMap((operation) =>
      (operation.parameters ?? [])
        .filter((parameter) => parameter.in === 'query' && parameter.schema.type !== 'array')
        .map(({ name }) => [operation.title, name, operation] as const),
    ),
  )('when %s has %s twice, then the refusal names it', async (_, name, operation) => {
    for (const query of [`${name}=1&${name}=2`, `${name}=&${name}=`]) {
      const response = await ask(operation, query)
      expectFaults(response, [name])
      expect(response.body.errors[0].message).toBe('Given more than once')
    }
  })

  it('when a write is refused for its query, then nothing was written', async () => {
    const body = { name: 'Nobody', email: 'nobody@example.com' }
    expectFaults(await system.customers.post('/customers?dry_run=true', body), ['dry_run'])
    expect((await system.customers.get('/customers?search=nobody')).body.data).toEqual([])
  })

  it.each(SERVICES)('when a public page of %s has an unknown parameter, then it is ignored', async (service) => {
    for (const path of ['/health', '/ready', '/openapi.json', '/docs']) {
      expect((await system[service].get(`${path}?t=1&t=2`, { token: null })).status, path).toBe(200)
    }
  })

  it.each(['customers', 'orders'] as const)(
    'when a token request to %s has an unknown parameter, then it is ignored',
    async (service) => {
      const client = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }
      expect((await system[service].post('/auth/token?tenant=1', client, { token: null })).status).toBe(200)
    },
  )

  it('when the query is empty or has no names, then it counts as absent', async () => {
    for (const query of ['', '&&', '=1', '&=&']) {
      expect((await system.orders.get(`/orders/1?${query}`)).status, query).toBe(200)
    }
  })
})

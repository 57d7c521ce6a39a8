import { describe, expect, it } from 'vitest'
import type { ApiResponse } from '../../testing/api-client.ts'
import { SERVICES, type ServiceName } from '../../testing/openapi.ts'
import { expectProblem } from '../../testing/problems.ts'
import { newKey } from '../../testing/rows.ts'
import { type TestSystem, useSystem } from '../../testing/system.ts'

const SHOP = 'https://shop.example.com'
const LOCAL = 'http://localhost:5173'
const SENT = [
  ...['authorization', 'content-type', 'idempotency-key', 'x-idempotency-key', 'if-match', 'if-none-match'],
  ...['x-correlation-id', 'traceparent'],
]
const READ = [
  ...['etag', 'location', 'link', 'idempotent-replayed', 'retry-after', 'ratelimit', 'ratelimit-policy'],
  ...['www-authenticate', 'x-correlation-id'],
]

function preflight(system: TestSystem, service: ServiceName, origin: string): Promise<ApiResponse> {
  const headers = { origin, 'access-control-request-method': 'PATCH', 'access-control-request-headers': SENT.join() }
  return system[service].call('OPTIONS', '/products/1', { headers, token: null })
}

const listOf = ({ headers }: ApiResponse, name: string) => (headers.get(name) ?? '').toLowerCase().split(',').sort()

describe('pages of allowed origins', () => {
  const system = useSystem('sqlite', { CORS_ORIGINS: `${SHOP}, ${LOCAL}`, RATE_LIMIT_PER_MINUTE: '2' })

  it.each(SERVICES)('when a browser sends a preflight for %s, then it is allowed, without cookies', async (service) => {
    for (const origin of [SHOP, LOCAL]) {
      const response = await preflight(system, service, origin)
      expect({ status: response.status, text: response.text }).toEqual({ status: 204, text: '' })
      expect(response.headers.get('access-control-allow-origin')).toBe(origin)
      expect(listOf(response, 'access-control-allow-headers')).toEqual([...SENT].sort())
      expect(listOf(response, 'access-control-allow-methods')).toEqual([
        'delete',
        'get',
        'head',
        'patch',
        'post',
        'put',
      ])
      expect(response.headers.get('access-control-max-age')).toBe('600')
      expect(response.headers.has('access-control-allow-credentials')).toBe(false)
    }
  })

  it('when a page calls, then it may read the response and its informative headers', async () => {
    const headers = { origin: SHOP, 'idempotency-key': newKey() }
    const token = await system.token({ clientId: 'page' })
    const customer = { name: 'Ann', email: `${newKey()}@example.com` }
    const responses = [
      await system.customers.post('/customers', customer, { headers, token }),
      await system.customers.post('/customers', customer, { headers, token }),
      await system.customers.post('/customers', customer, { headers, token }),
      await system.customers.get('/customers/1', { headers, token: null }),
      await system.customers.get('/nowhere', { headers, token: null }),
    ]
    expect(responses.map(({ status }) => status)).toEqual([201, 201, 429, 401, 404])
    for (const response of responses) {
      expect(response.headers.get('access-control-allow-origin')).toBe(SHOP)
      expect(listOf(response, 'access-control-expose-headers')).toEqual([...READ].sort())
      expect(response.headers.get('vary')).toBe('Origin')
      expect(response.headers.has('access-control-allow-credentials')).toBe(false)
    }
  })

  it.each(['https://shop.example.com.evil.example', 'http://shop.example.com', 'null', `${LOCAL}1`])(
    'when a page of %s calls, then nothing is allowed',
    async (origin) => {
      const read = await system.orders.get('/health', { headers: { origin }, token: null })
      for (const { headers } of [await preflight(system, 'orders', origin), read]) {
        expect(headers.has('access-control-allow-origin')).toBe(false)
      }
    },
  )

  it('when OPTIONS is not a preflight, then 405', async () => {
    expectProblem(await system.orders.call('OPTIONS', '/orders', { token: null }), 405, 'method_not_allowed')
  })
})

describe('without CORS_ORIGINS', () => {
  const system = useSystem('sqlite')

  it.each(SERVICES)('when a browser sends a preflight for %s, then nothing is allowed', async (service) => {
    const { headers } = await system[service].get('/health', { headers: { origin: SHOP }, token: null })
    const response = await preflight(system, service, SHOP)
    expect(response.status).toBe(service === 'orders' ? 405 : 404)
    for (const name of [...headers.keys(), ...response.headers.keys()]) expect(name).not.toMatch(/^access-control-/)
  })
})

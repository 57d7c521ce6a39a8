import { expect, it } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { SCOPES } from '../../src/compose/modules.ts'
import { composeCustomers, composeOrders } from '../../src/compose/services.ts'
import { signToken } from '../../src/identity/service.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import { createLogger } from '../../src/platform/telemetry/logger.ts'
import { freePort } from '../../testing/database-server.ts'

/** Customers and Orders over a database that does not run. */
async function servicesWithoutDatabase() {
  const env = parseEnv({ NODE_ENV: 'test', DB_HOST: '127.0.0.1', DB_PORT: String(await freePort()) })
  const logger = await createLogger('silent')
  const lifecycle = { draining: false }
  const db = await openDatabase(env.database)
  const customers = composeCustomers(env, db, logger, lifecycle)
  const orders = composeOrders(env, db, customers.customers, logger, lifecycle)
  const client = { clientId: 'tests', scope: SCOPES.join(' '), customerId: null }
  const { access_token } = await signToken(env.jwt, client)
  const headers = { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' }
  return { customers: customers.app, orders: orders.app, headers }
}

it.each([
  ['customers', 'GET', '/customers/1', undefined],
  ['customers', 'GET', '/customers?search=acme', undefined],
  ['customers', 'POST', '/customers', { name: 'Ann', email: 'ann@example.com' }],
  ['customers', 'DELETE', '/customers/1', undefined],
  ['orders', 'GET', '/orders/1', undefined],
  ['orders', 'GET', '/products', undefined],
  ['orders', 'POST', '/orders/1/cancel', {}],
] as const)('when the database is unreachable, then %s responds to %s %s with 503 and Retry-After', async (...ask) => {
  const [service, method, path, body] = ask
  const services = await servicesWithoutDatabase()
  const init = { method, headers: services.headers, ...(body && { body: JSON.stringify(body) }) }
  const response = await services[service].request(path, init)
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({ code: 'unavailable', status: 503 })
})

it('when the database is unreachable, then the services run but are not ready', async () => {
  const { customers, orders } = await servicesWithoutDatabase()
  for (const app of [customers, orders]) {
    expect((await app.request('/health')).status).toBe(200)
    expect((await app.request('/ready')).status).toBe(503)
  }
})

import { addTokenRoute } from '../auth/app.ts'
import type { TokenService } from '../auth/service.ts'
import {
  callerOf,
  createServiceApp,
  locationOf,
  type ServiceApp,
  type ServiceDeps,
  sendAnswer,
} from '../platform/app.ts'
import { etagOf, idempotencyKey } from '../platform/contract.ts'
import { nextLink } from '../platform/pages.ts'
import {
  createCustomer,
  deleteCustomer,
  getCustomer,
  getInternalCustomer,
  listCustomers,
  replaceCustomer,
} from './contract.ts'
import type { CustomersService } from './service.ts'

export interface CustomersDeps extends ServiceDeps {
  customers: CustomersService
  /** Absent when an identity provider issues the tokens. */
  tokens: TokenService | undefined
}

/** The Customers API, a pure function of what it is given. */
export function createCustomersApp({ customers, tokens, ...deps }: CustomersDeps): ServiceApp {
  const app = createServiceApp(deps, {
    title: 'Customers',
    description:
      'The customers of a distributor. Times are UTC, lists are keyset pages, every refusal is a problem document.',
    tokens: tokens !== undefined,
    internal: true,
  })
  if (tokens) addTokenRoute(app, tokens)

  app.openapi(createCustomer, async (c) => {
    const key = idempotencyKey(c.req.header('idempotency-key'), c.req.header('x-idempotency-key'))
    const answer = await customers.createCustomer(callerOf(c), c.req.valid('json'), key)
    return sendAnswer(c, answer, { location: locationOf(c, answer.targetId), etag: '"1"' })
  })

  app.openapi(getCustomer, async (c) => {
    const customer = await customers.getCustomer(callerOf(c), c.req.valid('param').id)
    return c.json(customer, 200, { etag: etagOf(customer) })
  })

  app.openapi(listCustomers, async (c) => {
    const page = await customers.listCustomers(callerOf(c), c.req.valid('query'))
    return c.json(page, 200, nextLink(c.req.url, page))
  })

  app.openapi(replaceCustomer, async (c) => {
    const ifMatch = c.req.valid('header')['if-match']
    const customer = await customers.replaceCustomer(callerOf(c), c.req.valid('param').id, c.req.valid('json'), ifMatch)
    return c.json(customer, 200, { etag: etagOf(customer) })
  })

  app.openapi(deleteCustomer, async (c) => {
    await customers.deleteCustomer(callerOf(c), c.req.valid('param').id, c.req.valid('header')['if-match'])
    return c.body(null, 204)
  })

  app.openapi(getInternalCustomer, async (c) => {
    const customer = await customers.getAnyCustomer(c.req.valid('param').id)
    return c.json(customer, 200, { etag: etagOf(customer) })
  })

  return app
}

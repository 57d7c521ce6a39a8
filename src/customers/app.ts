import { addClientRoute, addTokenRoute } from '../identity/app.ts'
import type { TokenService } from '../identity/service.ts'
import { callerOf, createServiceApp, locationOf, type ServiceApp, type ServiceDeps } from '../platform/http/app.ts'
import { preconditionsOf } from '../platform/http/etag.ts'
import { nextLink } from '../platform/http/pagination.ts'
import type { LoginLimits } from '../platform/http/rate-limit.ts'
import { etagHeader, sendJson, sendStored, sendVersioned } from '../platform/http/response.ts'
import { addRoute } from '../platform/http/routes.ts'
import { keyOf } from '../platform/idempotency/header.ts'
import { handleEach } from '../platform/rpc/batch-route.ts'
import {
  createCustomer,
  deleteCustomer,
  eraseCustomer,
  getCustomer,
  getInternalCustomer,
  getInternalCustomers,
  listCustomers,
  replaceCustomer,
} from './contract.ts'
import type { CustomersService } from './service.ts'

export interface CustomersDeps extends ServiceDeps {
  customers: CustomersService
  /** Absent when an identity provider issues the tokens. */
  tokens: TokenService | undefined
  logins: LoginLimits
}

/** The Customers API's app, a pure function of its dependencies. */
export function createCustomersApp({ customers, tokens, logins, ...deps }: CustomersDeps): ServiceApp {
  const app = createServiceApp(deps, {
    title: 'Customers',
    description:
      'The customers of a distributor. Times are UTC, lists are keyset pages, every refusal is a problem document.',
    tokens: tokens !== undefined,
    internal: true,
  })
  if (tokens) addTokenRoute(app, tokens, logins)
  if (tokens) addClientRoute(app, tokens)

  addRoute(app, createCustomer, async (c) => {
    const key = keyOf(c)
    const response = await customers.createCustomer(callerOf(c), c.req.valid('json'), key)
    return sendStored(c, createCustomer, response, { location: locationOf(c, response.targetId), etag: '"1"' })
  })

  addRoute(app, getCustomer, async (c) =>
    sendVersioned(c, await customers.getCustomer(callerOf(c), c.req.valid('param').id)),
  )

  addRoute(app, listCustomers, async (c) => {
    const page = await customers.listCustomers(callerOf(c), c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  addRoute(app, replaceCustomer, async (c) => {
    const { id } = c.req.valid('param')
    const input = c.req.valid('json')
    const response = await customers.replaceCustomer(callerOf(c), id, input, keyOf(c), preconditionsOf(c))
    return sendStored(c, replaceCustomer, response, etagHeader(response))
  })

  addRoute(app, deleteCustomer, async (c) => {
    const { id } = c.req.valid('param')
    return sendStored(c, deleteCustomer, await customers.deleteCustomer(callerOf(c), id, keyOf(c), preconditionsOf(c)))
  })

  addRoute(app, eraseCustomer, async (c) => {
    const { id } = c.req.valid('param')
    return sendStored(c, eraseCustomer, await customers.eraseCustomer(callerOf(c), id, keyOf(c)))
  })

  addRoute(app, getInternalCustomers, (c) =>
    handleEach(c, getInternalCustomers, c.req.valid('json').calls, async ({ id }) => {
      return { status: 200, replayed: false, body: JSON.stringify(await customers.getCustomerInternal(id)) }
    }),
  )

  addRoute(app, getInternalCustomer, async (c) =>
    sendVersioned(c, await customers.getCustomerInternal(c.req.valid('param').id)),
  )

  return app
}

import { addTokenRoute } from '../auth/app.ts'
import type { TokenService } from '../auth/service.ts'
import { sendAnswer, sendJson } from '../platform/answers.ts'
import { callerOf, createServiceApp, locationOf, type ServiceApp, type ServiceDeps } from '../platform/app.ts'
import { actFor, SERVICE } from '../platform/auth.ts'
import { idempotencyKey, keyOf } from '../platform/contract.ts'
import { AppError } from '../platform/errors.ts'
import type { LoginLimits } from '../platform/limits.ts'
import { nextLink } from '../platform/pages.ts'
import { answerEach } from '../platform/together.ts'
import { addProductRoutes } from '../products/app.ts'
import type { ProductsService } from '../products/service.ts'
import {
  cancelOrder,
  confirmOrder,
  getOrder,
  listOrders,
  placeOrder,
  placeValidatedOrders,
  searchKey,
} from './contract.ts'
import type { OrdersService } from './service.ts'
import type { OrderSupport } from './support.ts'

export interface OrdersDeps extends ServiceDeps {
  orders: OrdersService
  support: OrderSupport
  products: ProductsService
  /** Absent when an identity provider issues the tokens. */
  tokens: TokenService | undefined
  logins: LoginLimits
}

/** The Orders API, products and stock included: a pure function of what it is given. */
export function createOrdersApp({ orders, support, products, tokens, logins, ...deps }: OrdersDeps): ServiceApp {
  const app = createServiceApp(deps, {
    title: 'Orders',
    description:
      'Orders, products and stock. Money is integer cents, times are UTC, every refusal is a problem document.',
    tokens: tokens !== undefined,
    internal: true,
  })
  if (tokens) addTokenRoute(app, tokens, logins)
  addProductRoutes(app, products)

  app.openapi(placeOrder, async (c) => {
    const [input, key] = [c.req.valid('json'), keyOf(c)]
    if (input.confirm && key === undefined) throw keyRequired()
    const answer = await orders.placeOrder(callerOf(c), input, key)
    return sendAnswer(c, answer, { location: locationOf(c, answer.targetId) })
  })

  app.openapi(getOrder, async (c) => sendJson(c, await orders.getOrder(callerOf(c), c.req.valid('param').id), 200))

  app.openapi(listOrders, async (c) => {
    const page = await orders.listOrders(callerOf(c), c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  app.openapi(confirmOrder, async (c) => {
    const key = keyOf(c)
    if (key === undefined) throw keyRequired()
    return sendAnswer(c, await orders.confirmOrder(callerOf(c), c.req.valid('param').id, key))
  })

  app.openapi(placeValidatedOrders, (c) =>
    answerEach(c, c.req.valid('json').calls, async ({ key, order, on_behalf_of }, trace) => {
      const caller = { principal: actFor(SERVICE, on_behalf_of), trace }
      const place = () => orders.placeValidatedOrder(caller, order, key)
      const answer = await c.get('fairShare').run(caller.principal, place)
      return { ...answer, body: JSON.stringify(answer.body) }
    }),
  )

  app.openapi(cancelOrder, async (c) =>
    sendAnswer(c, await orders.cancelOrder(callerOf(c), c.req.valid('param').id, keyOf(c))),
  )

  app.openapi(searchKey, async (c) => {
    const { key, client } = c.req.valid('query')
    return sendJson(c, await support.searchKey(callerOf(c), idempotencyKey(key) ?? '', client), 200)
  })

  return app
}

function keyRequired(): AppError {
  return new AppError('idempotency_key_required', 'Send an X-Idempotency-Key (or Idempotency-Key) header.')
}

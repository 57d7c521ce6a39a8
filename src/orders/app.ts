import { addTokenRoute } from '../auth/app.ts'
import type { TokenService } from '../auth/service.ts'
import { sendAnswer, sendJson } from '../platform/answers.ts'
import { callerOf, createServiceApp, locationOf, type ServiceApp, type ServiceDeps } from '../platform/app.ts'
import { actFor, SERVICE } from '../platform/auth.ts'
import { keyOf } from '../platform/contract.ts'
import { AppError } from '../platform/errors.ts'
import type { LoginLimits } from '../platform/limits.ts'
import { nextLink } from '../platform/pages.ts'
import { answerEach } from '../platform/together.ts'
import { addProductRoutes } from '../products/app.ts'
import type { ProductsService } from '../products/service.ts'
import { cancelOrder, confirmOrder, getOrder, listOrders, placeOrder, takeOrderSteps } from './contract.ts'
import type { OrdersService } from './service.ts'

export interface OrdersDeps extends ServiceDeps {
  orders: OrdersService
  products: ProductsService
  /** Absent when an identity provider issues the tokens. */
  tokens: TokenService | undefined
  logins: LoginLimits
}

/** The Orders API, products and stock included: a pure function of what it is given. */
export function createOrdersApp({ orders, products, tokens, logins, ...deps }: OrdersDeps): ServiceApp {
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
    const key = keyOf(c)
    const answer = await orders.placeOrder(callerOf(c), c.req.valid('json'), key)
    return sendAnswer(c, answer, { location: locationOf(c, answer.targetId) })
  })

  app.openapi(getOrder, async (c) => sendJson(c, await orders.getOrder(callerOf(c), c.req.valid('param').id), 200))

  app.openapi(listOrders, async (c) => {
    const page = await orders.listOrders(callerOf(c), c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  app.openapi(confirmOrder, async (c) => {
    const key = keyOf(c)
    if (key === undefined) {
      throw new AppError('idempotency_key_required', 'Send an X-Idempotency-Key (or Idempotency-Key) header.')
    }
    return sendAnswer(c, await orders.confirmOrder(callerOf(c), c.req.valid('param').id, key))
  })

  app.openapi(takeOrderSteps, (c) =>
    answerEach(c, c.req.valid('json').calls, ({ key, step, on_behalf_of }, trace) => {
      const caller = { principal: actFor(SERVICE, on_behalf_of), trace }
      return c
        .get('fairShare')
        .run(caller.principal, () =>
          'place' in step ? orders.placeOrder(caller, step.place, key) : orders.confirmOrder(caller, step.confirm, key),
        )
    }),
  )

  app.openapi(cancelOrder, async (c) => {
    const { if_status } = c.req.valid('json')
    return sendAnswer(c, await orders.cancelOrder(callerOf(c), c.req.valid('param').id, if_status, keyOf(c)))
  })

  return app
}

import { addEventRoutes } from '../events/app.ts'
import { getOrderHistory } from '../events/contract.ts'
import type { EventsService } from '../events/service.ts'
import { addTokenRoute } from '../identity/app.ts'
import type { TokenService } from '../identity/service.ts'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import {
  type AddToLog,
  callerOf,
  createServiceApp,
  locationOf,
  type ServiceApp,
  type ServiceDeps,
} from '../platform/http/app.ts'
import { preconditionsOf } from '../platform/http/etag.ts'
import { nextLink } from '../platform/http/pagination.ts'
import { actFor } from '../platform/http/principal.ts'
import type { LoginLimits } from '../platform/http/rate-limit.ts'
import { etagHeader, sendJson, sendStored, sendVersioned } from '../platform/http/response.ts'
import { addRoute, refuseOtherMethods } from '../platform/http/routes.ts'
import { idempotencyKey, keyOf } from '../platform/idempotency/header.ts'
import type { StoredResponse } from '../platform/idempotency/store.ts'
import { handleEach } from '../platform/rpc/batch-route.ts'
import { addProductRoutes } from '../products/app.ts'
import type { ProductsService } from '../products/service.ts'
import { addWebhookRoutes } from '../webhooks/app.ts'
import type { WebhooksService } from '../webhooks/service.ts'
import {
  cancelOrder,
  confirmOrder,
  getOrder,
  listOrders,
  placeOrder,
  placeValidatedOrders,
  previewOrder,
  searchKey,
  updateOrder,
} from './contract.ts'
import type { OrdersService } from './service.ts'
import type { OrderSupport } from './support.ts'

export interface OrdersDeps extends ServiceDeps {
  orders: OrdersService
  support: OrderSupport
  products: ProductsService
  events: EventsService
  webhooks: WebhooksService
  /** Absent when an identity provider issues the tokens. */
  tokens: TokenService | undefined
  logins: LoginLimits
}

/** The app of the Orders API, with products and stock. It is a pure function of its dependencies. */
export function createOrdersApp({
  orders,
  support,
  products,
  events,
  webhooks,
  tokens,
  logins,
  ...deps
}: OrdersDeps): ServiceApp {
  const app = createServiceApp(deps, {
    title: 'Orders',
    description:
      'Orders, products and stock. Money is integer cents, times are UTC, every refusal is a problem document.',
    tokens: tokens !== undefined,
    internal: true,
  })
  if (tokens) addTokenRoute(app, tokens, logins)
  addProductRoutes(app, products)
  addEventRoutes(app, events)
  addWebhookRoutes(app, webhooks)

  addRoute(app, placeOrder, async (c) => {
    const [input, key] = [c.req.valid('json'), keyOf(c)]
    if (input.confirm && key === undefined) throw keyRequired()
    const placing = orders.placeOrder(callerOf(c), input, key)
    const response = await logged(c.get('addToLog'), { customer_id: input.customer_id }, placing)
    return sendStored(c, placeOrder, response, { location: locationOf(c, response.targetId), etag: '"1"' })
  })

  addRoute(app, previewOrder, async (c) =>
    sendJson(c, await orders.previewOrder(callerOf(c), c.req.valid('json')), 200),
  )

  refuseOtherMethods(app, previewOrder)

  addRoute(app, getOrder, async (c) => sendVersioned(c, await orders.getOrder(callerOf(c), c.req.valid('param').id)))

  addRoute(app, getOrderHistory, async (c) => {
    const [caller, { id }] = [callerOf(c), c.req.valid('param')]
    await orders.getOrder(caller, id)
    const page = await events.listHistory(caller, { type: 'order', id }, c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  addRoute(app, updateOrder, async (c) => {
    const { id: orderId } = c.req.valid('param')
    const update = { orderId, change: c.req.valid('json'), key: keyOf(c), preconditions: preconditionsOf(c) }
    const response = await logged(c.get('addToLog'), { order_id: orderId }, orders.updateOrder(callerOf(c), update))
    return sendStored(c, updateOrder, response, etagHeader(response))
  })

  addRoute(app, listOrders, async (c) => {
    const page = await orders.listOrders(callerOf(c), c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  addRoute(app, confirmOrder, async (c) => {
    const key = keyOf(c)
    if (key === undefined) throw keyRequired()
    const { id } = c.req.valid('param')
    const confirming = orders.confirmOrder(callerOf(c), id, key)
    const response = await logged(c.get('addToLog'), { order_id: id }, confirming)
    return sendStored(c, confirmOrder, response, etagHeader(response))
  })

  addRoute(app, placeValidatedOrders, (c) =>
    handleEach(
      c,
      placeValidatedOrders,
      c.req.valid('json').calls,
      async ({ key, order, on_behalf_of }, trace, addToLog) => {
        const caller = { principal: actFor(c.get('principal'), on_behalf_of), trace }
        const known = { on_behalf_of, customer_id: order.customer_id }
        const place = () => logged(addToLog, known, orders.placeValidatedOrder(caller, order, key))
        const response = await c.get('fairShare').run(caller.principal, place)
        return { ...response, body: JSON.stringify(response.body) }
      },
    ),
  )

  addRoute(app, cancelOrder, async (c) => {
    const { id } = c.req.valid('param')
    const canceling = orders.cancelOrder(callerOf(c), id, keyOf(c))
    const response = await logged(c.get('addToLog'), { order_id: id }, canceling)
    return sendStored(c, cancelOrder, response, etagHeader(response))
  })

  addRoute(app, searchKey, async (c) => {
    const { key, client } = c.req.valid('query')
    return sendJson(c, await support.searchKey(callerOf(c), idempotencyKey(key) ?? '', client), 200)
  })

  return app
}

function keyRequired(): AppError {
  const { idempotency_key_required } = PLATFORM_ERRORS
  return new AppError(idempotency_key_required, 'Send an X-Idempotency-Key (or Idempotency-Key) header.')
}

/** Finds the customer in an order's JSON. The members of that JSON have a fixed order, see `presentOrder`. */
const CUSTOMER = /^\{"id":\d+,"customer_id":(\d+)/

/**
 * Adds the order of a request to its log entry, so that the log can show what happened to an order.
 * @param known what is known before the work, and logged even if the work fails
 */
async function logged(
  addToLog: AddToLog,
  known: Record<string, unknown>,
  work: Promise<StoredResponse>,
): Promise<StoredResponse> {
  addToLog(known)
  const response = await work
  const [, customer] = CUSTOMER.exec(response.body) ?? []
  addToLog({
    order_id: response.targetId,
    replayed: response.replayed,
    ...(customer && { customer_id: Number(customer) }),
  })
  return response
}

import { callerOf, locationOf, type ServiceApp } from '../platform/http/app.ts'
import { etagOf, preconditionsOf } from '../platform/http/etag.ts'
import { nextLink } from '../platform/http/pagination.ts'
import { etagHeader, sendJson, sendStored } from '../platform/http/response.ts'
import { addRoute } from '../platform/http/routes.ts'
import { keyOf } from '../platform/idempotency/header.ts'
import {
  changeWebhookEndpoint,
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  getWebhookDelivery,
  getWebhookEndpoint,
  listWebhookDeliveries,
  listWebhookEndpoints,
  pingWebhookEndpoint,
  recoverWebhooks,
  redeliverWebhook,
  rotateWebhookSecret,
} from './contract.ts'
import type { WebhooksService } from './service.ts'

export function addWebhookRoutes(app: ServiceApp, webhooks: WebhooksService): void {
  addRoute(app, createWebhookEndpoint, async (c) => {
    const response = await webhooks.createEndpoint(callerOf(c), c.req.valid('json'), keyOf(c))
    const headers = { location: locationOf(c, response.targetId), etag: '"1"' }
    return sendStored(c, createWebhookEndpoint, response, headers)
  })

  addRoute(app, listWebhookEndpoints, async (c) => {
    const page = await webhooks.listEndpoints(callerOf(c), c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  addRoute(app, getWebhookEndpoint, async (c) => {
    const endpoint = await webhooks.getEndpoint(callerOf(c), c.req.valid('param').id)
    return sendJson(c, endpoint, 200, { etag: etagOf(endpoint) })
  })

  addRoute(app, changeWebhookEndpoint, async (c) => {
    const [{ id }, change] = [c.req.valid('param'), c.req.valid('json')]
    const response = await webhooks.changeEndpoint(callerOf(c), id, change, keyOf(c), preconditionsOf(c))
    return sendStored(c, changeWebhookEndpoint, response, etagHeader(response))
  })

  addRoute(app, deleteWebhookEndpoint, async (c) => {
    const { id } = c.req.valid('param')
    const response = await webhooks.deleteEndpoint(callerOf(c), id, keyOf(c), preconditionsOf(c))
    return sendStored(c, deleteWebhookEndpoint, response)
  })

  addRoute(app, rotateWebhookSecret, async (c) => {
    const [{ id }, rotation] = [c.req.valid('param'), c.req.valid('json')]
    const response = await webhooks.rotateSecret(callerOf(c), id, rotation, keyOf(c))
    return sendStored(c, rotateWebhookSecret, response, etagHeader(response))
  })

  addRoute(app, pingWebhookEndpoint, async (c) =>
    sendJson(c, await webhooks.ping(callerOf(c), c.req.valid('param').id), 200),
  )

  addRoute(app, listWebhookDeliveries, async (c) => {
    const page = await webhooks.listDeliveries(callerOf(c), c.req.valid('param').id, c.req.valid('query'))
    return sendJson(c, page, 200, nextLink(c.req.url, page))
  })

  addRoute(app, getWebhookDelivery, async (c) =>
    sendJson(c, await webhooks.getDelivery(callerOf(c), c.req.valid('param').id), 200),
  )

  addRoute(app, redeliverWebhook, async (c) =>
    sendJson(c, await webhooks.redeliver(callerOf(c), c.req.valid('param').id), 202),
  )

  addRoute(app, recoverWebhooks, async (c) =>
    sendJson(c, await webhooks.recover(callerOf(c), c.req.valid('param').id, c.req.valid('json')), 202),
  )
}

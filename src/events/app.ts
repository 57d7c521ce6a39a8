import { callerOf, type ServiceApp } from '../platform/http/app.ts'
import { sendJson } from '../platform/http/response.ts'
import { addRoute } from '../platform/http/routes.ts'
import { listEvents } from './contract.ts'
import type { EventsService } from './service.ts'

export function addEventRoutes(app: ServiceApp, events: EventsService): void {
  addRoute(app, listEvents, async (c) => sendJson(c, await events.listEvents(callerOf(c), c.req.valid('query')), 200))
}

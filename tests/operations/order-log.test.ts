import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { composeCustomers, composeOrchestrator, composeOrders } from '../../src/compose/services.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import { freePort } from '../../testing/database-server.ts'
import { newKey, newProduct } from '../../testing/rows.ts'
import { nowhere, serveOrchestrator, serveOrders } from '../../testing/services.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'
const PLACEMENTS = '/internal/orders/placements'

type Line = Record<string, unknown>

/** The request lines of one correlation id in a log, without those of failures. */
function linesOf(log: readonly string[], correlation_id: string): Line[] {
  const lines: Line[] = log.map((line) => JSON.parse(line))
  return lines.filter((line) => line.correlation_id === correlation_id && line.msg !== 'failed')
}

/** The lines of Orders alone: it calls Customers with the same id. */
function linesOfOrders(log: readonly string[], correlation_id: string): Line[] {
  return linesOf(log, correlation_id).filter(({ route }) => String(route).startsWith('/orders'))
}

describeEachEngine('the log of orders', (engine) => {
  const system = useSystem(engine)

  const newItems = async () => [{ product_id: (await newProduct(system)).id, qty: 2 }]
  const keyed = (key: string, correlation = `log-${randomUUID()}`) => ({
    correlation,
    request: { headers: { 'idempotency-key': key, 'x-correlation-id': correlation } },
  })

  it('when an order is placed, confirmed, canceled, retried, then each line names it', async () => {
    const key = newKey()
    const order = { customer_id: 2, items: await newItems() }
    const placing = keyed(key)
    const { id } = (await system.orders.post('/orders', order, placing.request)).body
    const about = { order_id: id, customer_id: 2, replayed: false }
    expect(linesOfOrders(system.log, placing.correlation)).toMatchObject([
      { msg: 'request', route: '/orders', ...about },
    ])
    for (const step of ['confirm', 'cancel']) {
      const { correlation, request } = keyed(newKey())
      await system.orders.post(`/orders/${id}/${step}`, undefined, request)
      expect(linesOf(system.log, correlation)).toMatchObject([{ route: `/orders/:id/${step}`, status: 200, ...about }])
    }
    const again = keyed(key)
    await system.orders.post('/orders', order, again.request)
    expect(linesOfOrders(system.log, again.correlation)).toMatchObject([{ status: 201, ...about, replayed: true }])
  })

  it('when an order is refused, then its line names the customer, and no order', async () => {
    const { correlation, request } = keyed(newKey())
    const order = { customer_id: 2, items: [{ product_id: 999_999_999, qty: 1 }] }
    await system.orders.post('/orders', order, request)
    const [line] = linesOfOrders(system.log, correlation)
    expect(line).toMatchObject({ status: 422, customer_id: 2 })
    expect(line).not.toHaveProperty('order_id')
  })

  it('when the orchestrator places an order, then the lines of all steps name it', async () => {
    const correlation_id = `log-${randomUUID()}`
    const call = { customer_id: 2, items: await newItems(), idempotency_key: newKey(), correlation_id }
    const { body } = await system.orchestrator.post(CREATE_AND_CONFIRM, call)
    const about = { order_id: body.data.order.id, customer_id: 2, replayed: false }
    const lines = linesOf(system.log, correlation_id)
    expect(lines).toContainEqual(expect.objectContaining({ msg: 'request', route: CREATE_AND_CONFIRM, ...about }))
    const ofOrders = lines.filter(({ order_id }) => order_id === body.data.order.id)
    expect(ofOrders.length).toBeGreaterThan(1)
    for (const line of ofOrders) expect(line).toMatchObject({ customer_id: 2, replayed: false })
  })

  it('when several calls come in one request, then each has a line of its own', async () => {
    const items = await newItems()
    const customer = { id: 1, name: 'A', email: 'a@example.com', phone: null }
    const calls = [1, 1, 999_999_999].map((customer_id) => ({
      key: newKey(),
      order: { customer_id, customer, items },
      on_behalf_of: 'client:erp',
      correlation_id: `log-${randomUUID()}`,
    }))
    const token = system.env.serviceTokens[0] ?? ''
    const { body } = await system.orders.post(PLACEMENTS, { calls }, { token })
    for (const [i, { correlation_id, order }] of calls.entries()) {
      const { status, body: text } = body.results[i]
      const done = status === 201
      expect(linesOf(system.log, correlation_id)).toMatchObject([
        {
          msg: 'call',
          route: PLACEMENTS,
          status: done ? 201 : 422,
          ms: expect.any(Number),
          on_behalf_of: 'client:erp',
          customer_id: order.customer_id,
          ...(done && { order_id: JSON.parse(text).order.id, replayed: false }),
        },
      ])
    }
  })

  it('when customers are looked up in one request, then each has its own line', async () => {
    const calls = [1, 999_999_999].map((id) => ({ id, correlation_id: `log-${randomUUID()}` }))
    const token = system.env.serviceTokens[0] ?? ''
    await system.customers.post('/internal/customers/lookups', { calls }, { token })
    const found = calls.map(({ correlation_id }) => linesOf(system.log, correlation_id))
    expect(found).toMatchObject([[{ msg: 'call', status: 200 }], [{ msg: 'call', status: 404 }]])
  })

  it('when Customers is down, then the lines name the customer and the request', async () => {
    const customersBase = await nowhere()
    const { correlation, request } = keyed(newKey())
    const { api, log } = await serveOrders(system, { customersBase })
    const placed = await api.post('/orders', { customer_id: 2, items: await newItems() }, request)
    expect(placed.status).toBe(503)
    expect(linesOf(log, correlation)).toMatchObject([{ status: 503, customer_id: 2 }])
  })

  it('when the caller cannot be verified, then the line still has the correlation id', async () => {
    const { api, log } = await serveOrchestrator(system, { customersBase: await nowhere() })
    const correlation_id = `log-${randomUUID()}`
    const call = { customer_id: 2, items: [{ product_id: 1, qty: 1 }], correlation_id }
    const response = await api.post(CREATE_AND_CONFIRM, call)
    expect(response).toMatchObject({ status: 503, body: { correlationId: correlation_id } })
    expect(linesOf(log, correlation_id)).toMatchObject([{ route: CREATE_AND_CONFIRM, status: 503 }])
  })

  it.each([
    ['not JSON', '{"correlation_id":"abc'],
    ['not an object', '[]'],
    ['an invalid correlation id', '{"correlation_id":"two words"}'],
  ])('when the body is %s, then the header has the correlation id', async (_, body) => {
    const correlation = `log-${randomUUID()}`
    const headers = { 'x-correlation-id': correlation }
    const response = await system.orchestrator.post(CREATE_AND_CONFIRM, body, { headers })
    expect(response).toMatchObject({ status: 400, body: { correlationId: correlation } })
  })
})

it('when the database is down, then each line has the correlation id of its request', async () => {
  const env = parseEnv({ NODE_ENV: 'test', DB_HOST: '127.0.0.1', DB_PORT: String(await freePort()) })
  const log: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) })
  const lifecycle = { draining: false }
  const db = await openDatabase(env.database)
  const { app: _, ...customers } = composeCustomers(env, db, logger, lifecycle)
  const { app, orders } = composeOrders(env, db, customers.customers, logger, lifecycle)
  const token = env.serviceTokens[0] ?? ''
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const post = async (path: string, body: object) => {
    const correlation = `log-${randomUUID()}`
    const init = { method: 'POST', headers: { ...headers, 'x-correlation-id': correlation, 'idempotency-key': 'k' } }
    const { status } = await app.request(path, { ...init, body: JSON.stringify(body) })
    expect(status).toBe(503)
    return linesOf(log, correlation)
  }
  const order = { customer_id: 2, items: [{ product_id: 1, qty: 1 }] }
  expect(await post('/orders', order)).toMatchObject([{ route: '/orders', status: 503, customer_id: 2 }])
  expect(await post('/orders/7/confirm', {})).toMatchObject([{ status: 503, order_id: 7 }])
  expect(await post('/orders/7/cancel', {})).toMatchObject([{ status: 503, order_id: 7 }])

  const orchestrator = composeOrchestrator(env, { ...customers, orders }, logger, lifecycle)
  const body = JSON.stringify({ ...order, correlation_id: 'log-body' })
  await orchestrator.request(CREATE_AND_CONFIRM, { method: 'POST', headers, body })
  expect(linesOf(log, 'log-body')).toMatchObject([{ route: CREATE_AND_CONFIRM, status: 503, customer_id: 2 }])
})

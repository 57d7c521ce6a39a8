import type { Connection } from 'mysql2/promise'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { composeCustomers } from '../../src/compose/services.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import { serve } from '../../src/platform/http/server.ts'
import { createLogger } from '../../src/platform/telemetry/logger.ts'
import { apiClient } from '../../testing/api-client.ts'
import { expectProblem } from '../../testing/problems.ts'
import { newProduct } from '../../testing/rows.ts'
import { serveOrders } from '../../testing/services.ts'
import { openSession, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

/** The default of DB_READ_TIMEOUT_MS. */
const READ_TIMEOUT_MS = 2_000
/** Tolerance for a busy machine. */
const GRACE_MS = 2_500

describe.skipIf(inject('mysql') === null)('reads of a slow database', () => {
  const system = useSystem('mysql')

  /** Customers and Orders over one pool. */
  async function servicesOverOnePool(pool: number) {
    const db = await openDatabase({ ...system.env.database, pool })
    onTestFinished(() => db.destroy())
    const { app } = composeCustomers(system.env, db, await createLogger('silent'), { draining: false })
    const serving = await serve(app, 0)
    onTestFinished(() => serving.close())
    const customers = apiClient(`http://127.0.0.1:${serving.port}`, await system.token())
    const { api: orders } = await serveOrders({ ...system, db }, {})
    return { customers, orders }
  }

  /** Blocks all reads of customers until the test ends. */
  async function lockCustomers() {
    const connection = await openSession(system)
    await connection.query('lock tables customers write')
    return connection
  }

  it('when a read takes too long, then 503 in time, and the server stops working on it', async () => {
    const { customers } = await servicesOverOnePool(4)
    expect((await customers.get('/customers/1')).status).toBe(200)
    const locking = await lockCustomers()
    const admin = await openSession(system)
    const began = performance.now()
    for (const response of await Promise.all([customers.get('/customers/1'), customers.get('/customers?limit=5')])) {
      expectProblem(response, 503, 'unavailable')
    }
    expect(performance.now() - began).toBeLessThan(READ_TIMEOUT_MS + GRACE_MS)
    expect(await runningReads(admin)).toEqual([])
    await locking.query('unlock tables')
    expect((await customers.get('/customers/1')).status).toBe(200)
  })

  it('when slow reads use up their share of the pool, then orders are still placed', async () => {
    const { customers, orders } = await servicesOverOnePool(4)
    const product = await newProduct(system, { stock: 10 })
    const order = await orders.post('/orders', { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] })
    const admin = await openSession(system)
    await lockCustomers()
    const reads = Promise.all(Array.from({ length: 20 }, (_, id) => customers.get(`/customers/${id + 1}`)))
    await expect.poll(async () => (await runningReads(admin)).length).toBe(3)
    expect((await orders.post(`/orders/${order.body.id}/cancel`, {})).status).toBe(200)
    expect(await runningReads(admin)).toHaveLength(3)
    for (const response of await reads) expectProblem(response, 503, 'unavailable')
  })

  it('when slow lists use up their share of the pool, then other reads continue', async () => {
    const { customers, orders } = await servicesOverOnePool(4)
    const admin = await openSession(system)
    await lockCustomers()
    const lists = Promise.all(Array.from({ length: 20 }, (_, i) => customers.get(`/customers?limit=${i + 1}`)))
    await expect.poll(async () => (await runningReads(admin)).length).toBe(2)
    expect((await orders.get('/products/1')).status).toBe(200)
    expect(await runningReads(admin)).toHaveLength(2)
    for (const response of await lists) expectProblem(response, 503, 'unavailable')
  })
})

/** The statements that the server is running for reads of customers. */
async function runningReads(admin: Connection) {
  const [rows] = await admin.query(
    "select info from information_schema.processlist where db = database() and info regexp 'from .?customers' and id <> connection_id()",
  )
  return Array.isArray(rows) ? rows : []
}

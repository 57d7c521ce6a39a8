import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import { expectProblem } from '../../testing/problems.ts'
import { openProxy } from '../../testing/proxy.ts'
import { newKey, newProduct } from '../../testing/rows.ts'
import { serveOrders } from '../../testing/services.ts'
import { type TestSystem, useSystem } from '../../testing/system.ts'

const QUERY_TIMEOUT_MS = 1_000
const READY_MS = 2_000
/** For a machine that does other things too. */
const GRACE_MS = 2_500

describe.skipIf(inject('mysql') === null)('a database that does not answer', () => {
  const system = useSystem('mysql')

  /** Orders over the system's database, through a network that can fall silent. */
  async function behindProxy(changes: { pool?: number; connectTimeoutMs?: number; queryTimeoutMs?: number } = {}) {
    const { database } = system.env
    const proxy = await openProxy({ host: database.host ?? '', port: database.port })
    onTestFinished(() => proxy.close())
    const config = { ...database, port: proxy.port, host: '127.0.0.1', queryTimeoutMs: QUERY_TIMEOUT_MS, ...changes }
    const db = await openDatabase(config)
    onTestFinished(() => db.destroy())
    const behind: TestSystem = { ...system, db }
    const { api } = await serveOrders(behind, {})
    return { api, proxy }
  }

  async function timed<T>(work: Promise<T>): Promise<[T, number]> {
    const began = Date.now()
    return [await work, Date.now() - began]
  }

  it('when a read gets no answer, then 503 in time, and the next request works', async () => {
    const { api, proxy } = await behindProxy()
    expect((await api.get('/orders/1')).status).toBe(200)
    proxy.muteService(true)
    const [response, ms] = await timed(api.get('/orders/1'))
    expectProblem(response, 503, 'unavailable')
    expect(ms).toBeGreaterThanOrEqual(QUERY_TIMEOUT_MS - 50)
    expect(ms).toBeLessThan(QUERY_TIMEOUT_MS + GRACE_MS)
    proxy.muteService(false)
    expect((await api.get('/orders/1')).status).toBe(200)
  })

  it('when a write gets no answer, then 503 in time, and the same request with its key is done once', async () => {
    const { api, proxy } = await behindProxy()
    const product = await newProduct(system, { stock: 5 })
    const order = { customer_id: 1, items: [{ product_id: product.id, qty: 1 }] }
    const headers = { 'idempotency-key': newKey() }
    expect((await api.get('/orders/1')).status).toBe(200)
    proxy.muteService(true)
    const [response, ms] = await timed(api.post('/orders', order, { headers }))
    expectProblem(response, 503, 'unavailable')
    expect(ms).toBeLessThan(QUERY_TIMEOUT_MS + GRACE_MS)
    proxy.muteService(false)
    expect((await api.post('/orders', order, { headers })).status).toBe(201)
    expect((await api.post('/orders', order, { headers })).headers.get('idempotent-replayed')).toBe('true')
    expect((await system.orders.get(`/products/${product.id}`)).body.stock).toBe(4)
  })

  it('when all connections of the pool wait, then no caller waits longer for a free one than for a statement', async () => {
    const { api, proxy } = await behindProxy({ pool: 1, connectTimeoutMs: 500 })
    expect((await api.get('/orders/1')).status).toBe(200)
    proxy.muteService(true)
    const [responses, ms] = await timed(Promise.all([1, 2, 3, 4].map((id) => api.get(`/orders/${id}`))))
    for (const response of responses) expectProblem(response, 503, 'unavailable')
    // One that came to have the connection begins to wait for its statement then.
    expect(ms).toBeLessThan(2 * QUERY_TIMEOUT_MS + GRACE_MS)
    proxy.muteService(false)
    // The only connection may be one that was being made in the silence: it is waited for until its own time has passed.
    const timeout = 500 + GRACE_MS
    await expect.poll(async () => (await api.get('/orders/1')).status, { timeout }).toBe(200)
  })

  it('when /ready gets no answer, then 503 in 2 s, and it uses one connection', async () => {
    const { api, proxy } = await behindProxy({ pool: 2, queryTimeoutMs: 5_000 })
    expect((await api.get('/ready')).status).toBe(200)
    proxy.muteService(true)
    const asking = () => Promise.all(Array.from({ length: 5 }, () => api.get('/ready')))
    for (let i = 0; i < 2; i++) {
      const [responses, ms] = await timed(asking())
      for (const response of responses) expectProblem(response, 503, 'unavailable')
      expect(ms).toBeLessThan(READY_MS + GRACE_MS)
    }
    proxy.muteService(false)
    // The connection that asked is still waited for; the other one is free.
    expect((await api.get('/products/1')).status).toBe(200)
    await expect.poll(async () => (await api.get('/ready')).status, { timeout: 5_000 + GRACE_MS }).toBe(200)
  })

  it('when no connection is answered, then 503 within the time for connecting', async () => {
    const { database } = parseEnv({ DB_CONNECT_TIMEOUT_MS: '300' })
    const proxy = await openProxy({ host: '127.0.0.1', port: system.env.database.port })
    onTestFinished(() => proxy.close())
    proxy.muteService(true)
    const config = { ...system.env.database, port: proxy.port, connectTimeoutMs: database.connectTimeoutMs }
    const db = await openDatabase(config)
    onTestFinished(() => db.destroy())
    const { api } = await serveOrders({ ...system, db }, {})
    const [read, readMs] = await timed(api.get('/orders/1'))
    expectProblem(read, 503, 'unavailable')
    const [written, writtenMs] = await timed(api.post('/orders/1/cancel', {}))
    expectProblem(written, 503, 'unavailable')
    for (const ms of [readMs, writtenMs]) expect(ms).toBeLessThan(300 + GRACE_MS)
  })
})

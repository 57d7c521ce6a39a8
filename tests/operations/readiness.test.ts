import { expect, it } from 'vitest'
import { startFaultyProxy } from '../../testing/faulty-proxy.ts'
import { expectProblem } from '../../testing/problems.ts'
import { nowhere, serveOrchestrator, serveOrders } from '../../testing/services.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

describeEachEngine('GET /ready', (engine) => {
  const system = useSystem(engine)

  it('when all is well, then it names each part', async () => {
    expect((await system.customers.get('/ready')).body).toEqual({ status: 'ok', checks: { database: 'ok' } })
    const ofOrders = { database: 'ok', customers: 'ok' }
    expect((await system.orders.get('/ready')).body).toEqual({ status: 'ok', checks: ofOrders })
    const ofOrchestrator = { customers: 'ok', orders: 'ok' }
    expect((await system.orchestrator.get('/ready')).body).toEqual({ status: 'ok', checks: ofOrchestrator })
  })

  it.each([
    ['is unreachable', async () => nowhere(), 'unreachable'],
    ['does not respond', async () => (await startFaultyProxy(system.customers.base, () => 'hang')).base, 'too_slow'],
    ['refuses the token', () => responding(401), 'token_refused'],
    ['fails', () => responding(500), 'failed'],
    ['is of the previous version', () => responding(404), 'ok'],
  ])('when Customers %s, then Orders is degraded at most, and the orchestrator not ready', async (_, where, word) => {
    const customersBase = await where()
    const { api: orders } = await serveOrders(system, { customersBase, httpTimeoutMs: 300 })
    const { status, body } = await orders.get('/ready')
    const expected = { status: word === 'ok' ? 'ok' : 'degraded', checks: { database: 'ok', customers: word } }
    expect({ status, body }).toEqual({ status: 200, body: expected })
    expect((await orders.get('/orders')).status).toBe(200)

    const { api: orchestrator } = await serveOrchestrator(system, { customersBase, httpTimeoutMs: 300 })
    const ready = await orchestrator.get('/ready')
    expect([ready.status, ready.body.checks]).toEqual([word === 'ok' ? 200 : 503, { customers: word, orders: 'ok' }])
    if (word !== 'ok') expectProblem(ready, 503, 'unavailable')
  })

  async function responding(status: number): Promise<string> {
    return (await startFaultyProxy(system.customers.base, () => ({ status, body: '{}' }))).base
  }

  it('when many probes come at once and Customers is silent, then it gets one request', async () => {
    const customers = await startFaultyProxy(system.customers.base, () => 'hang')
    const { api } = await serveOrders(system, { customersBase: customers.base, httpTimeoutMs: 300 })
    const responses = await Promise.all(Array.from({ length: 5 }, () => api.get('/ready')))
    for (const { body } of responses) expect(body.checks).toEqual({ database: 'ok', customers: 'too_slow' })
    expect(customers.seen).toHaveLength(1)
  })

  it('when probes succeed, then only changes of readiness are logged at info', async () => {
    const { api, log } = await serveOrders(system, { customersBase: await nowhere() })
    for (let i = 0; i < 3; i++) await api.get('/ready')
    await api.get('/health')
    await api.get('/internal/ping', { token: system.env.serviceTokens[0] ?? '' })
    const lines = log.map((line) => JSON.parse(line))
    expect(lines).toMatchObject([
      { msg: 'readiness', status: 'degraded', checks: { database: 'ok', customers: 'unreachable' } },
    ])
    expect(JSON.stringify(lines[0].err)).toContain('ECONNREFUSED')
  })

  it('when a path is nearly right, then the 404 names the right ones', async () => {
    const response = await system.orders.get('/order/5')
    expectProblem(response, 404, 'route_not_found')
    expect(response.body.detail).toContain('/orders/{id}')
    expect((await system.orders.get('/nowhere')).body.detail).toBe('There is no such path.')
    expect((await system.orders.get('/internal/nothing')).body.detail).toBe('There is no such path.')
  })
})

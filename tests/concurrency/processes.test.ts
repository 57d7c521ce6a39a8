import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it, onTestFinished, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { SCOPES } from '../../src/compose/modules.ts'
import { signToken } from '../../src/identity/service.ts'
import { serve } from '../../src/platform/http/server.ts'
import { type ApiResponse, apiClient } from '../../testing/api-client.ts'
import { readBanner } from '../../testing/banner.ts'
import type { Variables } from '../../testing/fixture.ts'
import { CREATE_AND_CONFIRM, printedResponse, REQUEST, shown } from '../../testing/printed.ts'
import {
  addressOf,
  freshDatabase,
  logged,
  onSigusr2,
  startProgram,
  startThroughNpm,
  until,
} from '../../testing/programs.ts'
import { describeEachEngine } from '../../testing/system.ts'

// Each test starts several programs, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 })

const FREE_PORTS = { CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }

function anonymously(body: unknown) {
  return { body, token: null }
}

/** A token with every scope, signed with the development secret. */
async function signedToken(): Promise<string> {
  const client = { clientId: 'tests', scope: SCOPES.join(' '), customerId: null }
  return (await signToken({ ...parseEnv({}).jwt, ttlSeconds: 600 }, client)).access_token
}

describeEachEngine('npm start', (engine) => {
  it('when the printed request is retried, also after a restart, then it is a replay', async () => {
    const variables = { ...FREE_PORTS, ...freshDatabase(engine) }
    const first = startProgram('start', variables)
    const services = await readBanner(first)
    const response = await services.orchestrator.call('POST', `/dev${CREATE_AND_CONFIRM}`, anonymously(REQUEST))
    expect(shown(response)).toEqual({ status: 201, text: printedResponse(response), replayed: null })
    const again = await services.orchestrator.call('POST', CREATE_AND_CONFIRM, anonymously(REQUEST))
    expect(shown(again)).toEqual({ ...shown(response), replayed: 'true' })
    const order = await services.orders.get(`/orders/${response.body.data.order.id}`)
    expect(await first.stop()).toMatchObject({ code: 0 })

    const second = startProgram('start', variables)
    const restarted = await readBanner(second)
    expect((await restarted.orders.get(`/orders/${response.body.data.order.id}`)).text).toBe(order.text)
    const later = await restarted.orchestrator.call('POST', `/dev${CREATE_AND_CONFIRM}`, anonymously(REQUEST))
    expect(shown(later)).toEqual({ ...shown(response), replayed: 'true' })
    expect((await restarted.orders.get('/orders')).body.data).toHaveLength(5)
    expect(await second.stop()).toMatchObject({ code: 0 })
  })

  it('when it is up, then addresses, request and token of its banner are right', async () => {
    const program = startProgram('start', { ...FREE_PORTS, ...freshDatabase(engine) })
    const { text: banner, customers, orders, orchestrator } = await readBanner(program)
    for (const service of [customers, orders, orchestrator]) {
      expect(service.base).toMatch(/^http:\/\/localhost:\d+$/)
      expect(shownHealth(await service.get('/health', { token: null }))).toEqual([200, '{"status":"ok"}'])
      expect((await service.get('/ready', { token: null })).status).toBe(200)
      expect(banner).toContain(`docs: ${service.base}/docs`)
      expect((await service.get('/docs', { token: null })).status).toBe(200)
    }
    const [, url = '', header = '', body = ''] =
      /curl -X POST (\S+) \\\n +-H '(\S+: \S+)' -d '(.*)'\n/.exec(banner) ?? []
    const [name = '', value = ''] = header.split(': ')
    const response = await fetch(url, { method: 'POST', headers: { [name]: value }, body })
    const text = await response.text()
    expect(text).toBe(printedResponse({ body: JSON.parse(text) }))
    expect((await orders.get('/orders')).status).toBe(200)
    expect((await customers.post('/customers', { name: 'New', email: 'new@example.com' })).status).toBe(201)
  })

  it('when requests are served, then each logs one JSON line without secrets', async () => {
    const program = startProgram('start', { ...FREE_PORTS, ...freshDatabase(engine) })
    const { token, customers, orders, orchestrator } = await readBanner(program)
    const headers = { 'x-correlation-id': 'logged' }
    const form = { 'content-type': 'application/x-www-form-urlencoded', ...headers }
    await orders.get('/orders/1', { headers })
    await orders.get(`/orders?cursor=${token}`, { headers })
    await orders.get(`/nothing/${token}?access_token=${token}`, { headers })
    await orders.get('/orders', { headers, token: `${token}x` })
    await customers.get('/internal/customers/1', { headers, token: 'internal123' })
    await orchestrator.call('POST', CREATE_AND_CONFIRM, anonymously({ ...REQUEST, correlation_id: 'logged' }))
    const credentials = 'grant_type=client_credentials&client_id=demo&client_secret=demo-secret'
    const issued = await orders.call('POST', '/auth/token', { headers: form, body: credentials, token: null })
    expect(issued.status).toBe(200)
    await program.stop()

    const lines = program.log().filter(({ msg, correlation_id }) => msg === 'request' && correlation_id === 'logged')
    const summary = lines.map((line) => [line.service, line.method, line.route, line.status, line.principal])
    expect(summary).toEqual([
      ['orders', 'GET', '/orders/:id', 200, 'client:demo'],
      ['orders', 'GET', '/orders', 400, 'client:demo'],
      ['orders', 'GET', expect.not.stringContaining(token), 404, undefined],
      ['orders', 'GET', '/orders', 401, undefined],
      ['customers', 'GET', '/internal/customers/:id', 200, 'service'],
      ['orchestrator', 'POST', CREATE_AND_CONFIRM, 201, 'anonymous'],
      ['orders', 'POST', '/auth/token', 200, undefined],
    ])
    for (const line of lines) {
      expect(line).toMatchObject({ level: 'info', time: expect.stringMatching(/Z$/), ms: expect.any(Number) })
    }
    const secrets = [token, issued.body.access_token, 'demo-secret', 'secret123', 'internal123', 'Bearer']
    for (const secret of secrets) expect(program.stdout()).not.toContain(secret)
  })
})

function shownHealth({ status, text }: ApiResponse) {
  return [status, text]
}

describeEachEngine('three processes over one database', (engine) => {
  it('when each service runs alone, then the printed request works and each is ready', async () => {
    const database = freshDatabase(engine)
    const { customers, orders, orchestrator, programs } = await startThree(database)
    for (const service of [customers, orders, orchestrator]) {
      expect(shownHealth(await service.get('/health'))).toEqual([200, '{"status":"ok"}'])
      expect((await service.get('/ready')).status).toBe(200)
    }
    const response = await orchestrator.call('POST', `/dev${CREATE_AND_CONFIRM}`, anonymously(REQUEST))
    expect(shown(response)).toEqual({ status: 201, text: printedResponse(response), replayed: null })
    const again = await orchestrator.call('POST', CREATE_AND_CONFIRM, anonymously(REQUEST))
    expect(shown(again)).toEqual({ ...shown(response), replayed: 'true' })
    expect((await orders.get(`/orders/${response.body.data.order.id}`)).body).toMatchObject({
      status: 'CONFIRMED',
      total_cents: 259800,
    })
    const ends = await Promise.all(programs.map((program) => program.stop()))
    expect(ends.map(({ code }) => code)).toEqual([0, 0, 0])
  })

  it('when Customers is down, then Orders is degraded and the orchestrator not ready', async () => {
    const { customers, orders, orchestrator, programs } = await startThree(freshDatabase(engine))
    await programs[0].stop()
    await expect(customers.get('/health')).rejects.toThrow('fetch failed')
    for (const service of [orders, orchestrator]) {
      expect((await service.get('/health')).status).toBe(200)
      const ready = await service.get('/ready')
      expect([ready.status, ready.body.checks.customers]).toEqual([service === orders ? 200 : 503, 'unreachable'])
      expect(ready.text).not.toContain('ECONNREFUSED')
    }
  })

  async function startThree(database: Variables) {
    const token = await signedToken()
    const customersProgram = startProgram('start:customers', { PORT: '0', ...database })
    const customersBase = await addressOf(customersProgram)
    const upstreams = { CUSTOMERS_API_BASE: customersBase }
    const ordersProgram = startProgram('start:orders', { PORT: '0', ...upstreams, ...database })
    const ordersBase = await addressOf(ordersProgram)
    const orchestratorProgram = startProgram('start:orchestrator', {
      PORT: '0',
      ...upstreams,
      ORDERS_API_BASE: ordersBase,
      ORCHESTRATOR_PUBLIC: 'true',
    })
    return {
      customers: apiClient(customersBase, token),
      orders: apiClient(ordersBase, token),
      orchestrator: apiClient(await addressOf(orchestratorProgram), token),
      programs: [customersProgram, ordersProgram, orchestratorProgram] as const,
    }
  }

  it('when three start on an empty database at once, then one adds the demo data', async () => {
    const database = freshDatabase(engine)
    const programs = Array.from({ length: 3 }, () => startProgram('start:customers', { PORT: '0', ...database }))
    const addresses = await Promise.all(programs.map(addressOf))
    const token = await signedToken()
    const pages = () => Promise.all(addresses.map((address) => apiClient(address, token).get('/customers')))
    await until(
      async () => ((await pages()).every(({ body }) => body.data.length === 4) ? true : undefined),
      () => 'no demo data',
    )
  })
})

describeEachEngine('stopping', (engine) => {
  it('when it is stopped, then requests in flight finish and new ones are refused', async () => {
    const customers = await slowCustomers()
    const database = freshDatabase(engine)
    const variables = { PORT: '0', CUSTOMERS_API_BASE: customers.base, HTTP_TIMEOUT_MS: '20000', ...database }
    const program = startProgram('start:orders', variables)
    const token = await signedToken()
    const orders = apiClient(await addressOf(program), token)

    const readiness = rawConnection(orders.base, 'GET /ready HTTP/1.1\r\nhost: local')
    const items = [{ product_id: 1, qty: 1 }]
    const placed = [1, 2, 3].map((customer_id) => orders.post('/orders', { customer_id, items }))
    await until(
      () => (customers.asked.length === 3 ? true : undefined),
      () => 'not all requests have arrived',
    )
    const began = Date.now()
    const stopping = program.stop()
    await logged(program, ({ msg }) => msg === 'stopping')
    await expect(apiClient(orders.base, token).get('/health')).rejects.toThrow('fetch failed')
    expect(await readiness.finish('host\r\n\r\n')).toMatch(/^HTTP\/1\.1 503 /)

    customers.release()
    expect((await Promise.all(placed)).map(({ status }) => status)).toEqual([201, 201, 201])
    expect(await stopping).toMatchObject({ code: 0 })
    expect(Date.now() - began).toBeLessThan(10_000)
    expect(program.log().at(-1)).toMatchObject({ msg: 'stopped' })

    const restarted = startProgram('start:orders', variables)
    const { body } = await apiClient(await addressOf(restarted), token).get('/orders')
    expect(body.data).toHaveLength(7)
  })

  const uncaught = [
    ['start', 'exception', "throw new Error('uncaught')"],
    ['start:orders', 'exception', "throw new Error('uncaught')"],
    ['start:orders', 'rejection', "Promise.reject(new Error('uncaught'))"],
  ] as const

  it.each(uncaught)('when %s has an uncaught %s, then it drains and ends with 1', async (script, _, code) => {
    const { program, placed, customers } = await startWithOrderUnderWay(script, onSigusr2(code))
    process.kill(program.pid, 'SIGUSR2')
    await logged(program, ({ msg }) => msg === 'stopping')
    customers.release()
    expect((await placed).status).toBe(201)
    expect(await program.ended).toMatchObject({ code: 1 })
    const fatal = program.log().filter(({ level }) => level === 'fatal')
    const stack = expect.stringContaining('\n    at ')
    expect(fatal).toMatchObject([{ msg: 'uncaught error', err: { message: 'uncaught', stack } }])
    expect(program.log().at(-1)).toMatchObject({ msg: 'stopped' })
  })

  it('when a second error is uncaught, then it ends at once, with 1', async () => {
    const { program, placed } = await startWithOrderUnderWay('start:orders', onSigusr2("throw new Error('uncaught')"))
    process.kill(program.pid, 'SIGUSR2')
    await logged(program, ({ msg }) => msg === 'stopping')
    const began = Date.now()
    process.kill(program.pid, 'SIGUSR2')
    await expect(placed).rejects.toThrow('fetch failed')
    expect(await program.ended).toMatchObject({ code: 1 })
    expect(Date.now() - began).toBeLessThan(5_000)
    expect(program.log().filter(({ level }) => level === 'fatal')).toHaveLength(2)
  })

  /** A program with one order under way, which waits for Customers. */
  async function startWithOrderUnderWay(script: 'start' | 'start:orders', options: Variables) {
    const customers = await slowCustomers()
    const variables = {
      ...FREE_PORTS,
      PORT: '0',
      CUSTOMERS_API_BASE: customers.base,
      ...options,
      ...freshDatabase(engine),
    }
    const program = startProgram(script, variables)
    const base = script === 'start' ? (await readBanner(program)).orders.base : await addressOf(program)
    const placed = apiClient(base, await signedToken()).post('/orders', {
      customer_id: 1,
      items: [{ product_id: 1, qty: 1 }],
    })
    // A failure is seen where the request is awaited, which may be later.
    placed.catch(() => {})
    await until(
      () => (customers.asked.length === 1 ? true : undefined),
      () => 'the request has not arrived',
    )
    return { program, placed, customers }
  }

  it('when idle connections are open, then it still ends at once, with 0', async () => {
    const program = startProgram('start:customers', { PORT: '0', ...freshDatabase(engine) })
    const customers = apiClient(await addressOf(program), await signedToken())
    await rawConnection(customers.base, '').connected
    await customers.get('/health')
    const began = Date.now()
    expect(await program.stop()).toMatchObject({ code: 0 })
    expect(Date.now() - began).toBeLessThan(5_000)
  })

  const unfinished = {
    'its head': 'GET /orders HTTP/1.1\r\nhost: local',
    'its body':
      'POST /orders HTTP/1.1\r\nhost: local\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"cus',
  }

  it.each(Object.entries(unfinished))('when a request has sent %s in part, then a stop takes 2 s', async (_, part) => {
    const customers = await slowCustomers()
    const database = freshDatabase(engine)
    const program = startProgram('start:orders', { PORT: '0', CUSTOMERS_API_BASE: customers.base, ...database })
    const token = await signedToken()
    const orders = apiClient(await addressOf(program), token)
    const authorized = part.replace('host: local', `host: local\r\nauthorization: Bearer ${token}`)
    await rawConnection(orders.base, authorized).connected
    const placed = orders.post('/orders', { customer_id: 1, items: [{ product_id: 1, qty: 1 }] })
    await until(
      () => (customers.asked.length === 1 ? true : undefined),
      () => 'the request has not arrived',
    )
    const stopping = program.stop()
    await logged(program, ({ msg }) => msg === 'stopping')
    customers.release()
    expect((await placed).status).toBe(201)
    const respondedAt = Date.now()
    expect(await stopping).toMatchObject({ code: 0 })
    expect(Date.now() - respondedAt).toBeLessThan(2_000)
    expect(program.log().filter(({ level }) => level === 'error')).toEqual([])
  })

  it('when its parent npm is stopped, then it stops too', async () => {
    const program = startThroughNpm('start', { ...FREE_PORTS, ...freshDatabase(engine), LOG_LEVEL: 'info' })
    const { orders } = await readBanner(program)
    expect((await orders.get('/orders')).status).toBe(200)
    await program.stop()
    expect(program.log().at(-1)).toMatchObject({ msg: 'stopped' })
    await expect(orders.get('/orders')).rejects.toThrow('fetch failed')
  })
})

/** A stand-in for Customers that makes every caller wait until it is released. */
async function slowCustomers() {
  const asked: number[] = []
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const time = '2026-01-05T09:00:00.000Z'
  const customer = { name: 'ACME', email: 'a@example.com', phone: null, created_at: time, updated_at: time, version: 1 }
  const serving = await serve(
    {
      async fetch(request) {
        const [, id] = /\/internal\/customers\/(\d+)$/.exec(request.url) ?? []
        // Lookups of the same moment share a request.
        const { calls } = request.method === 'POST' ? await request.json() : { calls: id === undefined ? [] : [{ id }] }
        const ids: number[] = calls.map((call: { id: number | string }) => Number(call.id))
        if (ids.length === 0) return Response.json({ status: 'ok' })
        asked.push(...ids)
        await released
        const found = ids.map((id) => ({ id, ...customer }))
        if (id !== undefined) return Response.json(found[0])
        return Response.json({ results: found.map((body) => ({ status: 200, replayed: false, body })) })
      },
    },
    0,
  )
  onTestFinished(() => {
    release()
    return serving.close()
  })
  return { base: `http://127.0.0.1:${serving.port}`, asked, release }
}

/** A connection that sends the beginning of a request, and later its end. */
function rawConnection(base: string, beginning: string) {
  const socket = connect(Number(new URL(base).port), '127.0.0.1')
  let received = ''
  socket.setEncoding('utf8').on('data', (text) => {
    received += text
  })
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  socket.write(beginning)
  return {
    connected: once(socket, 'connect'),
    /** @returns the response, once the other side has closed the connection */
    async finish(end: string): Promise<string> {
      socket.write(end)
      if (!socket.closed) await once(socket, 'close')
      return received
    },
  }
}

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { type ApiClient, apiClient } from '../../testing/api-client.ts'
import { freePort } from '../../testing/database-server.ts'
import { LOOPBACK } from '../../testing/deployment.ts'
import { tokenFor, type Variables } from '../../testing/fixture.ts'
import { CREATE_AND_CONFIRM, printedResponse, REQUEST, shown } from '../../testing/printed.ts'
import { expectFailure, expectProblem } from '../../testing/problems.ts'
import {
  freshDatabase,
  type Program,
  ROOT,
  runProgram,
  startProgram,
  startThroughNpm,
  until,
} from '../../testing/programs.ts'
import { isGroupAlive, withoutOwnSettings } from '../../testing/project.ts'
import { newKey, statusCounts } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { startReceiver } from '../../testing/webhook-receiver.ts'

// The functions are bundled at each start.
vi.setConfig({ testTimeout: 120_000 })
const START_LIMIT_MS = 60_000

interface Offline {
  program: Program
  /** The stage, below which the functions are. */
  api: ApiClient
}

async function startOffline(variables: Variables, args: string[] = []): Promise<Offline> {
  const all = { ...withoutOwnSettings(), PORT: '0', ...variables }
  return whenReady(startProgram('offline', all, args))
}

async function whenReady(program: Program): Promise<Offline> {
  const said = () => `${program.stdout()}${program.stderr()}`
  const base = await until(
    () => /Server ready: (http:\/\/localhost:\d+)/.exec(said())?.[1],
    () => `it is not ready\n${said()}`,
    START_LIMIT_MS,
  )
  return { program, api: apiClient(`${base}/dev`, '') }
}

/** Stops the program and all processes that it started. */
async function stopAll({ program }: Offline): Promise<void> {
  expect(await program.stop()).toMatchObject({ code: 0 })
  await groupGone(program)
}

function groupGone({ pid }: Program): Promise<true> {
  return until(
    () => (isGroupAlive(pid) ? undefined : true),
    () => 'a process is left',
  )
}

function send(api: ApiClient, body: unknown) {
  return api.post(CREATE_AND_CONFIRM, body, { token: null })
}

/** Binds a port, unless it is in use already, until the test ends. */
async function takePort(port: number): Promise<void> {
  const server = createServer().listen(port, 'localhost')
  onTestFinished(() => void server.close())
  await once(server, 'listening').catch((error) => expect(error).toMatchObject({ code: 'EADDRINUSE' }))
}

/** The page and all that it loads, byte for byte: a gateway carries text and images differently. */
async function expectDocs(api: ApiClient, service: string): Promise<void> {
  expect((await api.get(`${service}/docs`)).text).toContain('swagger-ui-bundle.js')
  expect((await api.get(`${service}/openapi.json`)).body).toMatchObject({ openapi: '3.1.0' })
  for (const file of ['swagger-ui-bundle.js', 'swagger-ui.css', 'favicon-32x32.png']) {
    const response = await fetch(`${api.base}${service}/docs/swagger-ui-dist/${file}`)
    const bytes = Buffer.from(await response.arrayBuffer())
    expect(response.status).toBe(200)
    expect(bytes.equals(readFileSync(join(ROOT, 'node_modules', 'swagger-ui-dist', file)))).toBe(true)
  }
}

/** Warnings and errors in its output. */
function faultsIn(program: Program): string[] {
  const lines = `${program.stdout()}${program.stderr()}`.split('\n')
  return lines.filter((line) => /error|warning|deprecat|undefined/i.test(line))
}

/** The printed port for the AWS SDK. */
function lambdaPortOf(program: Program): number {
  const said = `${program.stdout()}${program.stderr()}`
  return Number(/\[http for lambda\] listening on http:\/\/localhost:(\d+)/.exec(said)?.[1])
}

describe('npm run offline', () => {
  const system = useSystem('sqlite')

  it('when the printed request is retried, then it is a replay, and SIGTERM stops all', async () => {
    await takePort(3002)
    const bases = { CUSTOMERS_API_BASE: system.customers.base, ORDERS_API_BASE: system.orders.base }
    const offline = await startOffline(bases)
    const { api, program } = offline
    expect(lambdaPortOf(program)).not.toBe(3002)
    expect(shown(await api.get('/health'))).toEqual({ status: 200, text: '{"status":"ok"}', replayed: null })
    const response = await send(api, REQUEST)
    expect(shown(response)).toEqual({ status: 201, text: printedResponse(response), replayed: null })
    expect(shown(await send(api, REQUEST))).toEqual({ ...shown(response), replayed: 'true' })
    expect((await system.orders.get(`/orders/${response.body.data.order.id}`)).body).toMatchObject({
      status: 'CONFIRMED',
    })

    expectFailure(await api.get('/nothing'), 404, 'route_not_found')
    expect(shown(await send(api, { ...REQUEST, idempotency_key: undefined }))).toMatchObject({ status: 201 })
    expectFailure(await send(api, { ...REQUEST, customer_id: 999, idempotency_key: 'k' }), 422, 'customer_not_found')
    await expectDocs(api, '')

    // The services, the sweep and webhooks are not run as functions here.
    expect((await api.get('/customers-api/health')).status).toBe(404)
    expect(program.stdout() + program.stderr()).not.toMatch(/sweep|events|customers-api-dev/)
    await stopAll(offline)
    expect(faultsIn(program)).toEqual([])
  })

  it('when its parent npm is stopped, then no process is left', async () => {
    const port = await freePort()
    const variables = { ...withoutOwnSettings(), PORT: String(port) }
    const { program } = await whenReady(startThroughNpm('offline', variables))
    await program.stop()
    await groupGone(program)
    await expect(fetch(`http://localhost:${port}/dev/health`)).rejects.toThrow('fetch failed')
  })

  it('when Ctrl-C reaches all its processes, then no process is left', async () => {
    const offline = await whenReady(startThroughNpm('offline', { ...withoutOwnSettings(), PORT: '0' }))
    process.kill(-offline.program.pid, 'SIGINT')
    await offline.program.ended
    await groupGone(offline.program)
  })

  it('when its port is in use, then it says so, and nothing is started', async () => {
    const port = await freePort()
    await takePort(port)
    const { code, stdout, stderr } = await runProgram('offline', { ...withoutOwnSettings(), PORT: String(port) })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr.trim()).toMatch(new RegExp(`^Port ${port} is in use\\..*PORT`))
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('when the environment is faulty, then it says how, and nothing is started', async () => {
    const bad = { CUSTOMERS_API_BASE: 'localhost', PORT: 'abc' }
    const { code, stdout, stderr } = await runProgram('offline', { ...withoutOwnSettings(), ...bad })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('  - CUSTOMERS_API_BASE: must be an http(s) URL\n')
    expect(stderr).toContain('  - PORT: must be a whole number from 0 to 65535\n')
  })

  it('when the database for --all is down, then it says where it looked, and exits', async () => {
    const database = { DB_HOST: '127.0.0.1', DB_PORT: String(await freePort()), DB_NAME: 'nowhere' }
    const variables = { ...withoutOwnSettings(), PORT: '0', ...database }
    const { code, stdout, stderr } = await runProgram('offline', variables, ['--all'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(`The database nowhere at 127.0.0.1:${database.DB_PORT} can't be used: `)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('when it gets --help, then it prints how it is used', async () => {
    for (const option of ['--help', '-h']) {
      const { code, stdout, stderr } = await runProgram('offline', {}, [option])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toContain('npm run offline [-- --all]')
      expect(stdout).toContain('--all  ')
    }
  })

  it('when an option is unknown, then it names it, prints the help and ends with 1', async () => {
    const { code, stdout, stderr } = await runProgram('offline', {}, ['--all', '--al'])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^Unknown option: --al\n\n/)
    expect(stderr).toContain('npm run offline [-- --all]')
  })
})

describeEachEngine('npm run offline -- --all', (engine) => {
  it('when all runs as functions on an empty database, then the whole flow works', async () => {
    const database = freshDatabase(engine)
    const offline = await startOffline({ ...database, ...LOOPBACK }, ['--all'])
    const { api, program } = offline
    const response = await send(api, REQUEST)
    expect(shown(response)).toEqual({ status: 201, text: printedResponse(response), replayed: null })
    expect(shown(await send(api, REQUEST))).toEqual({ ...shown(response), replayed: 'true' })

    const credentials = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }
    const { access_token } = (await api.post('/customers-api/auth/token', credentials, { token: null })).body
    const customers = apiClient(`${api.base}/customers-api`, access_token)
    const orders = apiClient(`${api.base}/orders-api`, access_token)
    const created = await customers.post('/customers', { name: 'New', email: 'new@example.com' })
    expect(created.status).toBe(201)
    const items = [{ product_id: 2, qty: 3 }]
    const placed = await orders.post('/orders', { customer_id: created.body.id, items })
    expect(placed).toMatchObject({ status: 201, body: { status: 'CREATED', total_cents: 104700 } })
    const path = `/orders/${placed.body.id}`
    const key = { headers: { 'x-idempotency-key': newKey() } }
    expect((await orders.post(`${path}/confirm`, undefined, key)).body).toMatchObject({ status: 'CONFIRMED' })
    expect((await orders.post(`${path}/cancel`)).body).toMatchObject({ status: 'CANCELED' })
    expect((await orders.get('/orders?status=CONFIRMED&limit=1')).body).toMatchObject({ data: [{ id: 5 }] })
    expect((await customers.get('/internal/customers/1')).status).toBe(404)

    const few = (await orders.post('/products', { sku: 'FEW', name: 'Few', price_cents: 100, stock: 2 })).body
    const one = [{ product_id: few.id, qty: 1 }]
    const calls = [1, 2, 3, 4].map((i) => send(api, { customer_id: 1, items: one, idempotency_key: `few-${i}` }))
    expect(statusCounts(await Promise.all(calls))).toEqual({ 201: 2, 409: 2 })
    expect((await orders.get(`/products/${few.id}`)).body.stock).toBe(0)

    expectProblem(await orders.get('/nothing'), 404, 'route_not_found')
    for (const service of ['', '/customers-api', '/orders-api']) await expectDocs(api, service)

    for (const name of ['sweep', 'events']) {
      expect(program.stdout() + program.stderr()).toContain(`Scheduling [${name}] cron: [*/1 * * * *]`)
    }
    const invoke = async (name: string) => {
      const url = `http://localhost:${lambdaPortOf(program)}/2015-03-31/functions/orders-${name}-dev/invocations`
      return (await fetch(url, { method: 'POST', body: '{}' })).json()
    }
    expect(await invoke('sweep')).toEqual({ released: 0, purged: 0 })

    const receiver = await startReceiver()
    const wanted = { url: receiver.url, event_types: ['order.placed'] }
    const token = await tokenFor('demo', parseEnv({}))
    const { secret } = (await orders.post('/webhook-endpoints', wanted, { token })).body
    const { id } = (await orders.post('/orders', { customer_id: 1, items })).body
    // The schedule may be quicker than this call.
    expect(await invoke('events')).toMatchObject({ attempts: expect.any(Number) })
    const received = await until(
      () => receiver.received[0],
      () => `no webhook\n${program.stdout()}`,
    )
    expect(received.event.resource).toEqual({ type: 'order', id, version: 1 })
    receiver.verifyAll(secret)

    await stopAll(offline)
    expect(faultsIn(program)).toEqual([])
    expect((await runProgram('audit:books', database)).stdout).toContain('Balanced.')
  })
})

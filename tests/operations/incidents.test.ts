import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { type Connection, createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { SCOPES } from '../../src/compose/modules.ts'
import { signToken } from '../../src/identity/service.ts'
import { anchorsOf } from '../../testing/anchors.ts'
import { type ApiClient, apiClient } from '../../testing/api-client.ts'
import { readBanner } from '../../testing/banner.ts'
import {
  type CrashableServer,
  freePort,
  HOW_TO_GET_A_SERVER,
  startCrashableServer,
} from '../../testing/database-server.ts'
import type { Variables } from '../../testing/fixture.ts'
import {
  addressOf,
  freshDatabase,
  type LogLine,
  type Program,
  runProgram,
  startProgram,
} from '../../testing/programs.ts'
import { openProxy } from '../../testing/proxy.ts'
import { atOnce, newKey } from '../../testing/rows.ts'
import { type Look, readiness, runbook, seen, statementOf } from '../../testing/runbook.ts'
import { useSystem } from '../../testing/system.ts'
import { forgeToken, secondsFromNow, withSecret } from '../../testing/tokens.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 90_000 })

describe('docs/incidents.md', () => {
  it('when it links a section or names a script, then that exists', () => {
    const text = readFileSync('docs/incidents.md', 'utf8')
    const links = [...text.matchAll(/\]\(([\w.-]*)#([\w-]+)\)/g)]
    expect(links.length).toBeGreaterThan(10)
    for (const [, file = '', anchor] of links) expect(anchorsOf(file || 'incidents.md'), file).toContain(anchor)
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'))
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g)) expect(scripts).toHaveProperty([script ?? ''])
  })
})

const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'
const ORDER = { customer_id: 1, items: [{ product_id: 1, qty: 1 }] }
const FREE_PORTS = { CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }

/** Places an order for a product, every time with the same key. */
function ordering(api: ApiClient, productId = 1): Look {
  const request = { headers: { 'idempotency-key': newKey() } }
  return () => seen(api.post('/orders', { customer_id: 1, items: [{ product_id: productId, qty: 1 }] }, request))
}

/** Places and confirms one through the orchestrator, every time with the same key. */
function orchestrating(api: ApiClient): Look {
  const body = { ...ORDER, idempotency_key: newKey() }
  return () => seen(api.post(CREATE_AND_CONFIRM, body))
}

describe.skipIf(inject('mysql') === null)('an incident of the database', () => {
  const user = { DB_USER: 'b2b', DB_PASS: randomBytes(12).toString('hex'), DB_NAME: 'b2b' }
  const disk = mountSmallDisk()
  let server: CrashableServer
  let admin: Connection

  beforeAll(async () => {
    const { TMPDIR } = process.env
    if (disk !== undefined) process.env.TMPDIR = disk
    const started = await startCrashableServer({
      bufferPoolMib: 32,
      options: ['--innodb-log-file-size=8M', '--innodb-flush-method=fsync'],
    })
    process.env.TMPDIR = TMPDIR ?? ''
    if (TMPDIR === undefined) delete process.env.TMPDIR
    if (started === undefined) throw new Error(HOW_TO_GET_A_SERVER)
    server = started
    admin = await administer()
    await admin.query(`create user ${user.DB_USER} identified by '${user.DB_PASS}'`)
    // The user lacks every right that bypasses `read_only`.
    await admin.query(`grant all on ${user.DB_NAME}.* to ${user.DB_USER}`)
  })
  afterAll(async () => {
    await admin.end()
    await server.stop()
    if (disk !== undefined) unmount(disk)
  })

  function administer(): Promise<Connection> {
    const { host, port, user: root, password } = server
    return createConnection({ host, port, user: root, password })
  }

  function variablesAt({ host, port }: { host: string; port: number }): Variables {
    return { NODE_ENV: 'test', ...FREE_PORTS, ...user, DB_HOST: host, DB_PORT: String(port) }
  }

  /** All services, by `npm start`. */
  async function startAll(variables: Variables = {}, at: { host: string; port: number } = server) {
    const program = startProgram('start', { ...variablesAt(at), ORDER_SWEEP_SECONDS: '1', ...variables })
    const { orders, orchestrator } = await readBanner(program)
    return { orders, orchestrator, log: () => program.log() }
  }

  async function newProductAt(orders: ApiClient): Promise<number> {
    const product = { sku: newKey(), name: 'Product', price_cents: 1, stock: 1_000_000 }
    const { body } = await orders.post('/products', product)
    return body.id
  }

  it('when the database is down, then symptoms and end are as in the runbook', async () => {
    const { orders, orchestrator, log } = await startAll()
    const night = runbook(
      'The database is away',
      {
        '`GET /health`': () => seen(orders.get('/health')),
        '`GET /ready`': readiness(orders),
        '`GET /products/1`': () => seen(orders.get('/products/1')),
        '`POST /orders` with a key': ordering(orders),
        '`POST /orchestrator/create-and-confirm-order`': orchestrating(orchestrator),
      },
      { log },
    )
    await server.kill()
    try {
      await night.during()
    } finally {
      await server.start()
      admin = await administer()
    }
    await night.after()
  })

  it('when the database is slow, then symptoms and end are as in the runbook', async () => {
    const limits = { DB_READ_TIMEOUT_MS: '500', DB_QUERY_TIMEOUT_MS: '1000', DB_CONNECT_TIMEOUT_MS: '1000' }
    const network = await openProxy(server)
    onTestFinished(() => network.close())
    const delayResponses = (ms: number) => network.delay(ms, Number.POSITIVE_INFINITY, ['responses'])
    const { orders, log } = await startAll(limits, network)
    const looks = {
      '`GET /ready`': readiness(orders),
      '`GET /products/1`': () => seen(orders.get('/products/1')),
    }
    const slow = runbook('The database is slow', looks, { log }, 0)
    delayResponses(250)
    await slow.during()
    delayResponses(0)
    await slow.after()

    const more = { '`GET /health`': () => seen(orders.get('/health')), '`POST /orders` with a key': ordering(orders) }
    const tooSlow = runbook('The database is slow', { ...looks, ...more }, { log }, 1)
    delayResponses(10_000)
    await tooSlow.during()
    const longest = statementOf('The database is slow', 'processlist')
    await expect(admin.query(longest)).resolves.toHaveLength(2)
    delayResponses(0)
    await tooSlow.after()
  })

  it('when rows are locked, then symptoms and end are as in the runbook', async () => {
    const { orders, log } = await startAll()
    const [stuck, other] = [await newProductAt(orders), await newProductAt(orders)]
    const night = runbook(
      'Rows are locked',
      {
        '`GET /products/1`': () => seen(orders.get(`/products/${stuck}`)),
        '`POST /orders` for the locked product, with a key': ordering(orders, stuck),
        '`POST /orders` for another product': () =>
          seen(orders.post('/orders', { customer_id: 1, items: [{ product_id: other, qty: 1 }] })),
      },
      { log },
    )
    const console = await administer()
    console.on('error', () => {})
    await console.query('begin')
    await console.query(`select id from ${user.DB_NAME}.products where id = ? for update`, [stuck])
    await night.during()
    const [open] = await admin.query(statementOf('Rows are locked', 'innodb_trx'))
    const [first] = Array.isArray(open) ? open : []
    expect(first).toMatchObject({ trx_mysql_thread_id: console.threadId, trx_rows_locked: 1 })
    await admin.query(statementOf('Rows are locked', 'KILL').replace('4711', String(console.threadId)))
    await night.after()
  })

  it.runIf(disk !== undefined)(
    'when the server’s disk is full, then symptoms and end are as in the runbook',
    async () => {
      const { orders, log } = await startAll()
      const product = await newProductAt(orders)
      const night = runbook("The database's disk is full", diskLooks(orders, product), { log })
      const ballast = join(disk ?? '', 'ballast')
      fill(ballast)
      onTestFinished(() => rmSync(ballast, { force: true }))
      await orderUntilFull(orders, product)
      await night.during()
      rmSync(ballast)
      await night.after()
      const audit = await runProgram('audit:books', { ...user, DB_HOST: server.host, DB_PORT: String(server.port) })
      expect({ code: audit.code, stdout: audit.stdout }).toEqual({
        code: 0,
        stdout: expect.stringContaining('Balanced.'),
      })
    },
  )

  it('when the database is read-only, then symptoms and end are as in the runbook', async () => {
    const { orders, log } = await startAll()
    const night = runbook(
      'The database is read-only',
      {
        '`GET /health`': () => seen(orders.get('/health')),
        '`GET /ready`': readiness(orders),
        '`GET /products/1`': () => seen(orders.get('/products/1')),
        '`POST /orders` with a key': ordering(orders),
      },
      { log },
    )
    await admin.query('set global read_only = 1')
    onTestFinished(async () => void (await admin.query('set global read_only = 0')))
    await night.during()
    const [state] = await admin.query(statementOf('The database is read-only', 'SELECT'))
    expect(state).toMatchObject([{ '@@global.read_only': 1 }])
    await admin.query(statementOf('The database is read-only', 'SET GLOBAL'))
    await night.after()
  })

  it('when DB_PASS is wrong, then symptoms and end are as in the runbook', async () => {
    const { orders, log } = await startAll()
    const start = async () => {
      const { code, stderr } = await runProgram('migrate', variablesAt(server))
      return code === 0 ? 'exit code 0' : `exit code ${code}: \`${stderr.trim().split('\n').at(-1)}\``
    }
    const night = runbook(
      'DB_PASS is wrong',
      {
        '`GET /health`': () => seen(orders.get('/health')),
        '`GET /ready`': readiness(orders),
        '`GET /products/1`': () => seen(orders.get('/products/1')),
        '`POST /orders` with a key': ordering(orders),
        'a start with the old password': start,
      },
      { log },
    )
    await admin.query(`alter user ${user.DB_USER} identified by 'another'`)
    // Open connections survive a password change: this ends them.
    await admin.query(`kill user ${user.DB_USER}`)
    await night.during()
    await admin.query(`alter user ${user.DB_USER} identified by '${user.DB_PASS}'`)
    await night.after()
  })
})

describe("the embedded file's disk", () => {
  const system = useSystem('sqlite')

  it('when it is full, then symptoms and end are as in the runbook', async () => {
    const { orders, db } = system
    const night = runbook("The database's disk is full", diskLooks(orders, 1), { log: () => linesOf(system.log) })
    const limitPages = (pages: number) => sql.raw(`pragma max_page_count = ${pages}`).execute(db)
    onTestFinished(async () => void (await limitPages(1073741823)))
    await limitPages(1)
    await orderUntilFull(orders, 1)
    await night.during()
    await limitPages(1073741823)
    await night.after()
  })
})

function linesOf(log: readonly string[]): LogLine[] {
  return log.map((line) => JSON.parse(line))
}

function diskLooks(orders: ApiClient, product: number): Record<string, Look> {
  return {
    '`GET /health`': () => seen(orders.get('/health')),
    '`GET /products/1`': () => seen(orders.get('/products/1')),
    '`POST /orders` with a key': ordering(orders, product),
    '`GET /ready`, within 10 s of such an order': readiness(orders),
  }
}

/** Places small orders until one fails: InnoDB cannot roll back a large one without space. */
async function orderUntilFull(orders: ApiClient, product_id: number): Promise<void> {
  const order = { customer_id: 1, items: [{ product_id, qty: 1 }] }
  const place = async () => (await orders.post('/orders', order)).status
  const placeMany = async () => Math.max(...(await atOnce(20, place)))
  await expect.poll(placeMany, { timeout: 30_000, interval: 0 }).toBe(503)
  // The space that a failed order frees may fit the next one.
  const placeInTurn = async () => Math.min(...[await place(), await place(), await place(), await place()])
  await expect.poll(placeInTurn, { timeout: 30_000, interval: 0 }).toBe(503)
}

/** A small file system that a test can fill. Undefined where mounting is not allowed. */
function mountSmallDisk(): string | undefined {
  if (inject('mysql') === null) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-disk-'))
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=400m', 'tmpfs', folder])
  if (status === 0) return folder
  rmdirSync(folder)
  return undefined
}

function unmount(folder: string): void {
  expect(spawnSync('umount', [folder]).status).toBe(0)
  rmdirSync(folder)
}

/** Fills the disk that the file is on. */
function fill(file: string): void {
  const { bavail, bsize } = statfsSync(join(file, '..'))
  writeFileSync(file, Buffer.alloc(bavail * bsize))
}

const SERVICES = ['customers', 'orders', 'orchestrator'] as const
type Service = (typeof SERVICES)[number]

/** Each service as a process over one embedded file. Each can be stopped and started again. */
async function startEach(
  services: readonly Service[],
  variables: Variables = {},
  own: Partial<Record<Service, Variables>> = {},
) {
  const ports = { customers: await freePort(), orders: await freePort(), orchestrator: await freePort() }
  const at = (service: Service) => `http://127.0.0.1:${ports[service]}`
  const database = freshDatabase('sqlite')
  const common = {
    NODE_ENV: 'test',
    ...database,
    CUSTOMERS_API_BASE: at('customers'),
    ORDERS_API_BASE: at('orders'),
    ...variables,
  }
  const programs = new Map<Service, Program>()
  const token = await tokenOf({ ...common })
  const start = async (service: Service, changes: Variables = {}): Promise<void> => {
    const program = startProgram(`start:${service}`, { ...common, PORT: String(ports[service]), ...changes })
    programs.set(service, program)
    await addressOf(program)
  }
  const programOf = (service: Service): Program => {
    const program = programs.get(service)
    if (program === undefined) throw new Error(`${service} was not started`)
    return program
  }
  for (const service of services) await start(service, own[service])
  return {
    api: (service: Service) => apiClient(at(service), token),
    database,
    log: (service: Service) => () => programOf(service).log(),
    start,
    async kill(service: Service) {
      process.kill(programOf(service).pid, 'SIGKILL')
      await programOf(service).ended
    },
    async restart(service: Service, changes: Variables = {}) {
      await programOf(service).stop()
      await start(service, changes)
    },
  }
}

async function tokenOf(variables: Variables): Promise<string> {
  const client = { clientId: 'tests', scope: SCOPES.join(' '), customerId: null }
  return (await signToken(parseEnv(variables).jwt, client)).access_token
}

/** Reads with a token that a service issues at this moment. */
function reading(issuer: ApiClient, api: ApiClient, path: string): Look {
  return async () => seen(api.get(path, { token: await issue(issuer) }))
}

const DEMO = { client_id: 'demo', client_secret: 'demo-secret' }

async function issue(issuer: ApiClient, client = DEMO): Promise<string> {
  const { body } = await issuer.post('/auth/token', { grant_type: 'client_credentials', ...client }, { token: null })
  return body.access_token
}

it('when a service is down, then symptoms and end are as in the runbook', async () => {
  const services = await startEach(SERVICES)
  const [customers, orders] = [services.api('customers'), services.api('orders')]
  const orchestrator = services.api('orchestrator')
  const { body: order } = await orders.post('/orders', ORDER)
  const key = { headers: { 'idempotency-key': newKey() } }
  const withoutCustomers = runbook(
    'Customers is down',
    {
      '`GET /ready` of the orchestrator': readiness(orchestrator),
      '`GET /ready` of Orders': readiness(orders),
      '`GET /orders`': () => seen(orders.get('/orders')),
      '`POST /orders` with a key': ordering(orders),
      '`POST /orders/:id/confirm`': () => seen(orders.post(`/orders/${order.id}/confirm`, undefined, key)),
      '`POST /orchestrator/create-and-confirm-order`': orchestrating(orchestrator),
    },
    { 'log of Orders': services.log('orders'), 'log of the orchestrator': services.log('orchestrator') },
  )
  await services.kill('customers')
  await withoutCustomers.during()
  await services.start('customers')
  await withoutCustomers.after()

  const withoutOrders = runbook(
    'Orders is down',
    {
      '`GET /ready` of Customers': readiness(customers),
      '`GET /ready` of the orchestrator': readiness(orchestrator),
      '`GET /customers`': () => seen(customers.get('/customers')),
      '`GET /orders`': () => seen(orders.get('/orders')),
      '`POST /orchestrator/create-and-confirm-order`': orchestrating(orchestrator),
    },
    { 'log of the orchestrator': services.log('orchestrator') },
  )
  await services.kill('orders')
  await withoutOrders.during()
  await services.start('orders')
  await withoutOrders.after()

  const withoutOrchestrator = runbook('The orchestrator is down', {
    '`GET /ready` of Customers': readiness(customers),
    '`GET /ready` of Orders': readiness(orders),
    '`POST /orders` with a key': ordering(orders),
    '`POST /orchestrator/create-and-confirm-order`': orchestrating(orchestrator),
  })
  await services.kill('orchestrator')
  await withoutOrchestrator.during()
  await services.start('orchestrator')
  await withoutOrchestrator.after()
})

it('when a secret is wrong, then symptoms and end are as in the runbook', async () => {
  const services = await startEach(['customers', 'orders'], {}, { orders: { JWT_SECRET: newKey() } })
  const [customers, orders] = [services.api('customers'), services.api('orders')]
  const jwtSecret = runbook(
    'JWT_SECRET differs between services',
    {
      '`GET /ready` of Orders': readiness(orders),
      '`GET /orders` with a token of Customers': reading(customers, orders, '/orders'),
      '`GET /orders` with a token of Orders': reading(orders, orders, '/orders'),
    },
    { 'log of Orders': services.log('orders') },
  )
  await jwtSecret.during()
  await services.restart('orders')
  await jwtSecret.after()

  await services.restart('orders', { SERVICE_TOKEN: newKey() })
  const serviceToken = runbook(
    'SERVICE_TOKEN differs between services',
    {
      '`GET /ready` of Orders': readiness(orders),
      '`GET /orders`': () => seen(orders.get('/orders')),
      '`POST /orders` with a key': ordering(orders),
    },
    { 'log of Orders': services.log('orders'), 'log of Customers': services.log('customers') },
  )
  await serviceToken.during()
  await services.restart('orders')
  await serviceToken.after()
})

const TWO_HOURS_MS = 2 * 60 * 60_000

/** Shifts the clock of a process by this much. */
function clockOffBy(ms: number): Variables {
  const code = `const True = Date; globalThis.Date = class extends True {
    constructor(...args) { super(...(args.length === 0 ? [True.now() + ${ms}] : args)) }
    static now() { return True.now() + ${ms} }
  }`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` }
}

/** The time of a log's last line, beside the true one. */
function clockOf(log: () => LogLine[]): Look {
  return async () => {
    const aheadMs = Date.parse(String(log().at(-1)?.time)) - Date.now()
    if (Math.abs(aheadMs) < TWO_HOURS_MS / 2) return 'the same'
    return aheadMs > 0 ? 'ahead' : 'behind'
  }
}

it('when a clock is wrong, then symptoms and end are as in the runbook', async () => {
  const services = await startEach(['customers', 'orders'], {}, { orders: clockOffBy(TWO_HOURS_MS) })
  const [customers, orders] = [services.api('customers'), services.api('orders')]
  const clock = clockOf(services.log('orders'))
  const ahead = runbook(
    'A clock is ahead',
    {
      '`GET /ready` of Orders': readiness(orders),
      '`GET /orders` with a new token of Customers': reading(customers, orders, '/orders'),
      '`GET /orders` with a new token of Orders': reading(orders, orders, '/orders'),
      "`time` of Orders' last log line, beside `date -u`": clock,
    },
    { 'log of Orders': services.log('orders') },
  )
  await ahead.during()
  await services.restart('orders')
  await ahead.after()

  await services.restart('orders', clockOffBy(-TWO_HOURS_MS))
  const expired = forge('secret123', { exp: secondsFromNow(-3_600) })
  const behind = runbook(
    'A clock is behind',
    {
      '`GET /ready` of Orders': readiness(orders),
      '`GET /customers` with a new token of Orders': reading(orders, customers, '/customers'),
      '`GET /orders` with an expired token': () => seen(orders.get('/orders', { token: expired })),
      "`time` of Orders' last log line, beside `date -u`": clock,
    },
    { 'log of Customers': services.log('customers') },
  )
  await behind.during()
  await services.restart('orders')
  await behind.after()
})

/** A token signed with a leaked secret. */
function forge(secret: string, claims: Record<string, unknown> = {}): string {
  const { issuer, audience } = parseEnv({}).jwt
  const all = { iss: issuer, aud: audience, sub: 'demo', scope: SCOPES.join(' '), exp: secondsFromNow(600), ...claims }
  return forgeToken({ alg: 'HS256', typ: 'JWT' }, all, withSecret(secret))
}

describe('a leak', () => {
  it('when a client’s secret leaked, then it ends as the runbook says', async () => {
    const services = await startEach(['customers', 'orders'])
    const [customers, orders] = [services.api('customers'), services.api('orders')]
    const create = await runProgram('client:create', services.database, ['--name', 'ERP', '--scope', 'orders:read'])
    const [, client_id = '', client_secret = ''] = /client_id: +(\S+)\nclient_secret: +(\S+)/.exec(create.stdout) ?? []
    const client = { client_id, client_secret }
    // Orders caches an accepted token for a minute.
    const tokens = [await issue(customers, client), await issue(customers, client), await issue(customers, client)]
    const login = { grant_type: 'client_credentials', ...client }
    const night = runbook(
      "A client's secret leaked",
      {
        '`POST /auth/token` with the secret': () => seen(customers.post('/auth/token', login, { token: null })),
        '`GET /orders` with a token that it got': () => seen(orders.get('/orders', { token: tokens[0] ?? '' })),
        '`GET /orders` with a token of another client': reading(customers, orders, '/orders'),
      },
      { 'log of Orders': services.log('orders') },
    )
    await night.during()
    expect((await runProgram('client:disable', services.database, ['--id', client_id])).code).toBe(0)
    tokens.shift()
    await night.after()
  })

  it('when JWT_SECRET or SERVICE_TOKEN leaked, then it ends as the runbook says', async () => {
    const leaked = { JWT_SECRET: newKey(), SERVICE_TOKEN: newKey() }
    const services = await startEach(['customers', 'orders'], leaked)
    const [customers, orders] = [services.api('customers'), services.api('orders')]
    const forged = forge(leaked.JWT_SECRET)
    const byService = { token: leaked.SERVICE_TOKEN }
    const order = async () => seen(orders.post('/orders', ORDER, { token: await issue(customers) }))
    const night = runbook('JWT_SECRET or SERVICE_TOKEN leaked', {
      '`GET /orders` with a token that a stranger signed': () => seen(orders.get('/orders', { token: forged })),
      '`GET /internal/customers/1` with the leaked service token': () =>
        seen(customers.get('/internal/customers/1', byService)),
      '`GET /orders` with a new token of Customers': reading(customers, orders, '/orders'),
      '`POST /orders` with a key': order,
    })
    await night.during()
    const fresh = { JWT_SECRET: newKey(), SERVICE_TOKEN: newKey() }
    for (const service of ['customers', 'orders'] as const) await services.restart(service, fresh)
    await night.after()
  })
})

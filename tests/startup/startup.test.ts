import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { randomSecret } from '../../src/platform/core/crypto.ts'
import { ensureDatabase, openDatabase } from '../../src/platform/database/open.ts'
import { apiClient } from '../../testing/api-client.ts'
import { readBanner } from '../../testing/banner.ts'
import { freePort } from '../../testing/database-server.ts'
import type { Variables } from '../../testing/fixture.ts'
import {
  BINARIES,
  type Ended,
  freshDatabase,
  logged,
  ROOT,
  runProgram,
  startCommand,
  startProgram,
} from '../../testing/programs.ts'
import { describeEachEngine } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

const FREE_PORTS = { CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }
const PRODUCTION = { NODE_ENV: 'production', JWT_SECRET: randomSecret(), SERVICE_TOKEN: randomSecret() }
const SERVICES = ['start:customers', 'start:orders', 'start:orchestrator']

/** Expects a refused start. @returns its one message on standard error, without a stack trace */
function refusal({ code, stdout, stderr, ms }: Ended): string {
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).not.toMatch(/^\s+at /m)
  expect(stderr).toBe(`\n${stderr.trim()}\n\n`)
  expect(ms).toBeLessThan(10_000)
  return stderr.trim()
}

/** The same in production, where the message is one line of the log. */
function refusalInProduction({ code, stdout, stderr }: Ended): string {
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
  const lines = stdout.trim().split('\n')
  expect(lines).toHaveLength(1)
  const { level, msg, reasons } = JSON.parse(lines[0] ?? '')
  expect({ level, msg }).toEqual({ level: 'fatal', msg: 'the start failed' })
  return reasons.join('\n')
}

describe('a faulty environment', () => {
  const bad = {
    PORT: 'abc',
    CUSTOMERS_PORT: '70000',
    DB_POOL: '0',
    NODE_ENV: 'staging',
    LOG_LEVEL: 'loud',
    CUSTOMERS_API_BASE: 'ftp://customers',
    ORCHESTRATOR_PUBLIC: 'yes',
    ORDER_HOLD_MINUTES: '1.5',
    SERVICE_TOKEN: 'one,two,three',
  }

  it.each(['start', 'start:orders'])(
    'when several variables are wrong, then npm run %s lists each with its bounds',
    async (script) => {
      const lines = refusal(await runProgram(script, bad)).split('\n')
      expect(lines.shift()).toBe('The environment is not usable:')
      expect(lines.sort()).toEqual([
        '  - CUSTOMERS_API_BASE: must be an http(s) URL',
        '  - CUSTOMERS_PORT: must be a whole number from 0 to 65535',
        '  - DB_POOL: must be a whole number from 1 to 500',
        '  - LOG_LEVEL: must be one of: fatal, error, warn, info, debug, trace, silent',
        '  - NODE_ENV: must be one of: development, test, production',
        '  - ORCHESTRATOR_PUBLIC: must be one of: true, false',
        '  - ORDER_HOLD_MINUTES: must be a whole number from 1 to 10080',
        '  - PORT: must be a whole number from 0 to 65535',
        '  - SERVICE_TOKEN: must be one token, or two with a comma between while one is rotated',
      ])
    },
  )
})

it('when three services share PUBLIC_URL, then npm start says how to set three', async () => {
  const message = refusal(await runProgram('start', { ...FREE_PORTS, PUBLIC_URL: 'https://api.example.com' }))
  expect(message).toBe(
    'The environment is not usable:\n  - PUBLIC_URL: must have {service} in it, where one process runs all three',
  )
})

describe('a .env in the folder of the start', () => {
  it('when it sets variables, then they apply unless they are set already', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, '.env'), 'DB_POOL=0\nLOG_LEVEL="loud" # wrong too\nCUSTOMERS_PORT=70000\n')
    const program = startCommand(join(BINARIES, 'node'), [join(ROOT, 'src/entrypoints/all.ts')], FREE_PORTS, folder)
    const lines = refusal(await program.ended).split('\n')
    expect(
      lines
        .slice(1)
        .map((line) => line.split(':')[0])
        .sort(),
    ).toEqual(['  - DB_POOL', '  - LOG_LEVEL'])
  })
})

it('when .env alone sets production, then a failed start is a line of the log', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, '.env'), 'NODE_ENV=production\n')
  const program = startCommand(join(BINARIES, 'node'), [join(ROOT, 'src/entrypoints/all.ts')], FREE_PORTS, folder)
  expect(refusalInProduction(await program.ended)).toContain('JWT_SECRET: must be set in production')
})

describe('a start with a wrong SERVICE or .env', () => {
  const service = join(ROOT, 'src/entrypoints/service.ts')

  it.each(['nope', '', '../commands/migrate'])(
    'when SERVICE is %j, then the refusal lists its values',
    async (SERVICE) => {
      const { ended } = startCommand(join(BINARIES, 'node'), [service], { ...FREE_PORTS, SERVICE })
      expect(refusal(await ended)).toBe('SERVICE: must be one of: customers, orders, orchestrator, all')
    },
  )

  it('when SERVICE names a service, then that one runs', async () => {
    const variables = { PORT: '0', SERVICE: 'customers', ...freshDatabase('sqlite') }
    const program = startCommand(join(BINARIES, 'node'), [service], variables)
    expect(await logged(program, ({ msg }) => msg === 'listening')).toMatchObject({ service: 'customers' })
    expect(await program.stop()).toMatchObject({ code: 0 })
  })

  it.each(['entrypoints/all', 'commands/migrate'])('when .env cannot be read, then %s says so', async (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    mkdirSync(join(folder, '.env'))
    const program = startCommand(join(BINARIES, 'node'), [join(ROOT, `src/${name}.ts`)], FREE_PORTS, folder)
    expect(refusal(await program.ended)).toMatch(/^\.env can't be read: EISDIR: /)
  })
})

describe('a port that is in use', () => {
  async function takenPort(): Promise<string> {
    const port = await freePort()
    const server = createServer().listen(port)
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    return String(port)
  }

  const cases = [
    { script: 'start', variable: 'CUSTOMERS_PORT' },
    { script: 'start', variable: 'ORDERS_PORT' },
    { script: 'start', variable: 'ORCHESTRATOR_PORT' },
    { script: 'start:customers', variable: 'PORT' },
    { script: 'start:orchestrator', variable: 'ORCHESTRATOR_PORT' },
  ]

  it.each(cases)('when $variable is taken, then npm run $script names it', async ({ script, variable }) => {
    const port = await takenPort()
    const variables = { ...FREE_PORTS, ...freshDatabase('sqlite'), LOG_LEVEL: 'error', [variable]: port }
    const message = refusal(await runProgram(script, variables))
    expect(message).toMatch(new RegExp(`^Port ${port} is in use\\..*${variable}`))
  })
})

describe('who can reach a service', () => {
  const bases = { CUSTOMERS_API_BASE: 'http://localhost:1', ORDERS_API_BASE: 'http://localhost:1' }
  // Another loopback address of this machine: it is reachable only when all addresses are bound.
  const elsewhere = '127.0.0.2'
  const isUp = (host: string, port: unknown) =>
    fetch(`http://${host}:${port}/health`).then(
      ({ status }) => status === 200,
      () => false,
    )

  const cases: { title: string; variables: Variables; reached: boolean }[] = [
    { title: 'nothing is set', variables: {}, reached: false },
    {
      title: 'the secrets are real, but NODE_ENV is unset',
      variables: { ...PRODUCTION, NODE_ENV: '' },
      reached: false,
    },
    { title: 'HOST is every address', variables: { HOST: '0.0.0.0' }, reached: true },
    { title: 'it is production', variables: PRODUCTION, reached: true },
    {
      title: 'it is production with HOST on loopback',
      variables: { ...PRODUCTION, HOST: '127.0.0.1' },
      reached: false,
    },
  ]

  it.each(cases)('when $title, then other machines reach it: $reached', async ({ variables, reached }) => {
    const program = startProgram('start:orchestrator', { ...FREE_PORTS, ...bases, ...variables })
    const { port } = await logged(program, ({ msg }) => msg === 'listening')
    expect(await isUp('localhost', port)).toBe(true)
    expect(await isUp(elsewhere, port)).toBe(reached)
  })

  it('when npm start is run, then only this machine reaches it, as its banner says', async () => {
    const { text, ...services } = await readBanner(startProgram('start', { ...FREE_PORTS, ...freshDatabase('sqlite') }))
    expect(text).toMatch(/Listening on +127\.0\.0\.1 alone \(HOST chooses another address\)/)
    for (const { base } of [services.customers, services.orders, services.orchestrator]) {
      const { hostname, port } = new URL(base)
      expect(hostname).toBe('localhost')
      expect(await isUp(hostname, port)).toBe(true)
      expect(await isUp(elsewhere, port)).toBe(false)
    }
  })

  it('when HOST is no address of this machine, then the start is refused and names it', async () => {
    const message = refusal(await runProgram('start:orchestrator', { ...FREE_PORTS, ...bases, HOST: '192.0.2.1' }))
    expect(message).toBe('The address 192.0.2.1 is none of this machine. Check HOST.')
  })
})

describe('a database that is down', () => {
  const programs = ['start', 'start:orders', 'migrate', 'seed']

  it.each(programs)('when nothing listens there, then npm run %s says where it looked', async (script) => {
    const port = await freePort()
    const variables = { ...FREE_PORTS, DB_HOST: '127.0.0.1', DB_PORT: String(port), DB_NAME: 'nowhere' }
    const message = refusal(await runProgram(script, variables))
    expect(message).toContain(`The database nowhere at 127.0.0.1:${port} can't be used: `)
    expect(message).toContain('Check DB_HOST and DB_PORT.')
  })

  it('when the server is no database, then it gives up within seconds', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const address = server.address()
    const port = typeof address === 'object' ? String(address?.port) : ''
    const message = refusal(await runProgram('start', { ...FREE_PORTS, DB_HOST: '127.0.0.1', DB_PORT: port }))
    expect(message).toContain(`The database b2b at 127.0.0.1:${port} can't be used: connect ETIMEDOUT`)
  })

  it.each(programs)('when its path leads through a file, then npm run %s names the path', async (script) => {
    const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    writeFileSync(join(folder, 'file'), '')
    const DB_FILE = join(folder, 'file', 'b2b.sqlite')
    const message = refusal(await runProgram(script, { ...FREE_PORTS, DB_FILE }))
    expect(message).toContain(`The database ${DB_FILE} can't be used: `)
    expect(message).toContain('Check DB_FILE.')
  })

  it('when its file is not a database, then the path is named', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const DB_FILE = join(folder, 'notes.txt')
    writeFileSync(DB_FILE, 'nothing that SQLite knows'.repeat(100))
    const message = refusal(await runProgram('start', { ...FREE_PORTS, DB_FILE }))
    expect(message).toBe(`The database ${DB_FILE} can't be used: file is not a database\nCheck DB_FILE.`)
  })
})

describe.each(inject('mysql') === null ? [] : ['MySQL'])('a database on %s', () => {
  it('when the password is wrong, then the refusal does not show it', async () => {
    const password = randomSecret()
    const message = refusal(await runProgram('start', { ...FREE_PORTS, ...freshDatabase('mysql'), DB_PASS: password }))
    expect(message).toMatch(/can't be used: Access denied.*\nCheck DB_USER and DB_PASS\.$/)
    expect(message).not.toContain(password)
  })

  it('when its Unix socket is configured, then that is used', async () => {
    const { host, port, user, password } = inject('mysql') ?? expect.unreachable()
    const admin = await createConnection({ host, port, user, password })
    const [[variables]] = await admin.query<RowDataPacket[]>('select @@socket as path')
    await admin.end()
    const { DB_HOST: _, ...database } = freshDatabase('mysql')
    const program = startProgram('start', { ...FREE_PORTS, ...database, DB_SOCKET: variables?.path })
    const { text, orders } = await readBanner(program)
    expect(text).toContain(`${database.DB_NAME} at ${variables?.path}\n`)
    expect((await orders.get('/orders/1')).status).toBe(200)
  })

  it('when the socket does not exist, then the start is refused and says which', async () => {
    const message = refusal(await runProgram('start', { ...FREE_PORTS, DB_SOCKET: '/nowhere/mysqld.sock' }))
    expect(message).toMatch(/^The database b2b at \/nowhere\/mysqld.sock can't be used: .*ENOENT.*\nCheck DB_SOCKET\.$/)
  })

  it('when it does not exist yet, then production says how to create it', async () => {
    const message = refusalInProduction(
      await runProgram('start', { ...FREE_PORTS, ...PRODUCTION, ...freshDatabase('mysql') }),
    )
    expect(message).toMatch(/can't be used: Unknown database.*\nCheck DB_NAME, or make it with: npm run migrate$/)
  })
})

describe('production', () => {
  const remedy = 'make one with: openssl rand -base64 32'
  const weak: { are: string; secrets: Variables; faults: string[] }[] = [
    {
      are: 'missing',
      secrets: {},
      faults: [
        `JWT_SECRET: must be set in production; ${remedy}`,
        `SERVICE_TOKEN: must be set in production; ${remedy}`,
      ],
    },
    {
      are: 'published',
      secrets: { JWT_SECRET: 'secret123', SERVICE_TOKEN: 'internal123' },
      faults: [`JWT_SECRET: this value is published; ${remedy}`, `SERVICE_TOKEN: this value is published; ${remedy}`],
    },
    {
      are: 'short',
      secrets: { JWT_SECRET: 'x'.repeat(31), SERVICE_TOKEN: `${'y'.repeat(32)},${'z'.repeat(31)}` },
      faults: [
        `JWT_SECRET: must be at least 32 bytes in production; ${remedy}`,
        `SERVICE_TOKEN: must be at least 32 bytes in production; ${remedy}`,
      ],
    },
  ]

  it.each(weak)('when its secrets are $are, then each is named and none shown', async (weakness) => {
    const { secrets, faults } = weakness
    const message = refusalInProduction(
      await runProgram('start', { NODE_ENV: 'production', ...FREE_PORTS, ...secrets }),
    )
    const expected = ['The environment is not usable:', ...faults.map((fault) => `  - ${fault}`)]
    expect(message.split('\n')).toEqual(expected)
    for (const secret of Object.values(secrets)) expect(message).not.toContain(secret)
  })

  it.each(SERVICES)('when its secrets are missing, then npm run %s is refused', async (script) => {
    const message = refusalInProduction(await runProgram(script, { NODE_ENV: 'production', ...FREE_PORTS }))
    expect(message).toContain('JWT_SECRET: must be set')
    expect(message).toContain('SERVICE_TOKEN: must be set')
  })

  it('when weak secrets are not the only fault, then one list names everything', async () => {
    const message = refusalInProduction(
      await runProgram('start', { NODE_ENV: 'production', DB_POOL: 'many', JWT_SECRET: 'short' }),
    )
    for (const name of ['DB_POOL', 'JWT_SECRET', 'SERVICE_TOKEN']) expect(message).toContain(`  - ${name}: `)
  })

  it('when the addresses of other services are missing, then both are named', async () => {
    const message = refusalInProduction(await runProgram('start:orchestrator', PRODUCTION))
    expect(message).toContain('  - CUSTOMERS_API_BASE: must be set in production\n')
    expect(message).toContain('  - ORDERS_API_BASE: must be set in production')
  })
})

describeEachEngine('production', (engine) => {
  it('when migrations are pending, then each service refuses and says how to migrate', async () => {
    const database = freshDatabase(engine)
    await createEmpty(database)
    const variables = { ...FREE_PORTS, ...PRODUCTION, ...database, CUSTOMERS_API_BASE: 'http://localhost:1' }
    for (const script of ['start', 'start:customers', 'start:orders']) {
      const message = refusalInProduction(await runProgram(script, variables))
      expect(message).toMatch(/^The database .* lacks 0001_initial.*\. Run: npm run migrate$/)
    }
  })

  it('when it is migrated with strong secrets, then it serves authenticated callers', async () => {
    const database = freshDatabase(engine)
    expect(await runProgram('migrate', { NODE_ENV: 'production', ...database })).toMatchObject({ code: 0 })
    // Demo data in production: `npm run seed` is refused with NODE_ENV=production.
    expect(await runProgram('seed', database)).toMatchObject({ code: 0 })
    const args = ['--name', 'ERP', '--scope', 'orders:read orders:write']
    const created = await runProgram('client:create', { NODE_ENV: 'production', ...database }, args)
    const [, id = '', secret = ''] = /client_id: +(\S+)\nclient_secret: +(\S+)/.exec(created.stdout) ?? []

    const program = startProgram('start', { ...PRODUCTION, ...FREE_PORTS, ...database })
    const listening = await logged(program, ({ msg }) => msg === 'listening')
    expect(program.stderr()).toBe('')
    expect(program.stdout()).not.toMatch(/TOKEN|curl|eyJ/)
    const at = (service: string) => String(listening[`at${service}`])
    const orchestrator = apiClient(at('Orchestrator'), '')
    const orders = apiClient(at('Orders'), '')

    const path = '/orchestrator/create-and-confirm-order'
    const body = { customer_id: 1, items: [{ product_id: 1, qty: 2 }], idempotency_key: 'abc-123' }
    expect((await orchestrator.call('POST', path, { body, token: null })).status).toBe(401)
    const tokenFor = (client_id: string, client_secret: string) =>
      orders.call('POST', '/auth/token', {
        body: { grant_type: 'client_credentials', client_id, client_secret },
        token: null,
      })
    expect(await tokenFor('demo', 'demo-secret')).toMatchObject({ status: 401, body: { code: 'invalid_client' } })
    const { access_token } = (await tokenFor(id, secret)).body
    const placed = await orchestrator.call('POST', path, { body, token: access_token })
    expect(placed.status).toBe(201)
    const order = await orders.get(`/orders/${placed.body.data.order.id}`, { token: access_token })
    expect(order.body).toMatchObject({ status: 'CONFIRMED' })
    expect(await program.stop()).toMatchObject({ code: 0 })
  })

  it('when demo data or a development token is requested, then it refuses', async () => {
    const variables = { NODE_ENV: 'production', ...freshDatabase(engine) }
    expect(refusal(await runProgram('seed', variables))).toBe('The demo data does not belong in production.')
    expect(refusal(await runProgram('token', variables))).toBe('In production, tokens come from POST /auth/token.')
  })

  async function createEmpty(database: Variables): Promise<void> {
    const db = parseEnv(database).database
    await ensureDatabase(db)
    await (await openDatabase(db)).destroy()
  }
})

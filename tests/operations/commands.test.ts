import { randomBytes } from 'node:crypto'
import { chmodSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { sha256 } from '../../src/platform/core/crypto.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import { apiClient } from '../../testing/api-client.ts'
import type { Variables } from '../../testing/fixture.ts'
import {
  addressOf,
  BINARIES,
  freshDatabase,
  migratedDatabase,
  ROOT,
  runProgram,
  startCommand,
  startProgram,
} from '../../testing/programs.ts'
import { describeEachEngine } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

/** Expects success. @returns standard output, where standard error is empty */
async function said(script: string, variables: Variables, args: string[] = []): Promise<string> {
  const { code, stdout, stderr } = await runProgram(script, variables, args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

/** Expects exit code 1. @returns the message on standard error, which has no stack trace */
async function refused(script: string, variables: Variables, args: string[] = []): Promise<string> {
  const { code, stdout, stderr } = await runProgram(script, variables, args)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).not.toMatch(/^\s+at /m)
  return stderr.trim()
}

/** The database's name in messages. */
function named({ DB_HOST, DB_PORT, DB_NAME, DB_FILE }: Variables): string {
  return DB_HOST === undefined ? String(DB_FILE) : `${DB_NAME} at ${DB_HOST}:${DB_PORT}`
}

describeEachEngine('npm run', (engine) => {
  it('when migrate and seed are run twice, then each says what it did', async () => {
    const variables = freshDatabase(engine)
    expect(await said('migrate', variables)).toMatch(/^Migrated (.*): 0001_initial.*\n$/)
    expect(await said('migrate', variables)).toBe(`${named(variables)} is up to date.\n`)
    expect(await said('seed', variables)).toBe(`The demo data is in ${named(variables)}.\n`)
    const again = `The demo data was in ${named(variables)} already. Nothing was changed.\n`
    expect(await said('seed', variables)).toBe(again)
    expect(await said('audit:books', variables)).toContain('Balanced.')
  })

  it('when a client is created, then its secret is shown once and gets tokens', async () => {
    const variables = await migratedDatabase(engine, { seeded: true })
    const args = ['--name', 'ERP of ACME', '--scope', 'orders:read,orders:write', '--customer-id', '1']
    const output = await said('client:create', variables, args)
    expect(output).toMatch(/^client_id: {5}client_\S+\nclient_secret: [\w-]{43}\n\nThe secret is not shown again\.\n$/)
    const [, id = '', secret = ''] = /client_id: +(\S+)\nclient_secret: +(\S+)/.exec(output) ?? []

    const customers = apiClient(await addressOf(startProgram('start:customers', { PORT: '0', ...variables })), '')
    const ordersVariables = { PORT: '0', CUSTOMERS_API_BASE: customers.base, ...variables }
    const orders = apiClient(await addressOf(startProgram('start:orders', ordersVariables)), '')
    const body = { grant_type: 'client_credentials', client_id: id, client_secret: secret }
    const issued = await orders.call('POST', '/auth/token', { body, token: null })
    expect(issued).toMatchObject({ status: 200, body: { token_type: 'Bearer', scope: 'orders:read orders:write' } })
    const token = issued.body.access_token
    const order = { customer_id: 1, items: [{ product_id: 1, qty: 1 }] }
    expect((await orders.post('/orders', order, { token })).status).toBe(201)
    expect((await orders.post('/orders', { ...order, customer_id: 2 }, { token })).status).not.toBe(201)
    expect((await orders.get('/products', { token })).status).toBe(403)
    expect((await orders.get('/orders/1', { token })).status).toBe(200)
    expect((await orders.get('/orders/2', { token })).status).toBe(404)
  })

  it('when a client is rotated, disabled or enabled, then older tokens open nothing', async () => {
    const variables = await migratedDatabase(engine)
    const made = await said('client:create', variables, ['--name', 'ERP', '--scope', 'customers:read'])
    const [, id = '', first = ''] = /client_id: +(\S+)\nclient_secret: +(\S+)/.exec(made) ?? []
    const customers = apiClient(await addressOf(startProgram('start:customers', { PORT: '0', ...variables })), '')
    const ask = (client_secret: string) => {
      const body = { grant_type: 'client_credentials', client_id: id, client_secret }
      return customers.call('POST', '/auth/token', { body, token: null })
    }
    const opens = async (token: string) => (await customers.get('/customers', { token })).status === 200

    const before = (await ask(first)).body.access_token
    const output = await said('client:rotate', variables, ['--id', id])
    expect(output).toMatch(/^client_id: {5}client_\S+\nclient_secret: [\w-]{43}\n\nThe secret is not shown again\.\n$/)
    const [, secret = ''] = /client_secret: +(\S+)/.exec(output) ?? []
    expect(secret).not.toBe(first)
    expect((await ask(first)).status).toBe(401)
    expect(await opens(before)).toBe(false)
    const rotated = (await ask(secret)).body.access_token
    expect(await said('client:disable', variables, ['--id', id])).toMatch(/^client_\S+ is disabled since 2\S+Z\.\n$/)
    expect((await ask(secret)).status).toBe(401)
    expect(await opens(rotated)).toBe(false)
    expect(await said('client:disable', variables, ['--id', id, '--enable'])).toBe(`${id} may get tokens.\n`)
    expect(await opens((await ask(secret)).body.access_token)).toBe(true)
    expect(await opens(rotated)).toBe(false)

    for (const [script, args] of [
      ['client:rotate', []],
      ['client:disable', []],
      ['client:disable', ['--enable']],
    ] as const) {
      expect(await refused(script, variables, ['--id', 'erp', ...args])).toBe('There is no client erp.')
    }
  })

  it('when a client is disabled already, then the commands say so', async () => {
    const variables = await migratedDatabase(engine)
    const made = await said('client:create', variables, ['--name', 'ERP', '--scope', 'orders:read'])
    const [, id = ''] = /client_id: +(\S+)/.exec(made) ?? []
    const enable = ['--id', id, '--enable']
    expect(await said('client:disable', variables, enable)).toBe(`${id} was not disabled. Nothing was changed.\n`)
    const [, since = ''] = / since (\S+Z)\.\n$/.exec(await said('client:disable', variables, ['--id', id])) ?? []
    const again = await said('client:disable', variables, ['--id', id])
    expect(again.startsWith(`${id} was disabled already, since ${since}. `)).toBe(true)
    const rotated = await said('client:rotate', variables, ['--id', id])
    expect(rotated).toContain(`\n${id} is disabled since ${since}, and gets no token until: `)
    expect(await said('client:disable', variables, enable)).toBe(`${id} may get tokens.\n`)
  })

  it('when clients are listed, then each has its state and no secret', async () => {
    const variables = await migratedDatabase(engine)
    expect(await said('client:list', variables)).toBe('There are no clients.\n')
    await said('seed', variables)
    const args = ['--name', 'ERP of ACME', '--scope', 'orders:read orders:write', '--customer-id', '1']
    const made = await said('client:create', variables, args)
    const [, id = '', secret = ''] = /client_id: +(\S+)\nclient_secret: +(\S+)/.exec(made) ?? []
    const [demo, erp] = JSON.parse(await said('client:list', variables, ['--json']))
    expect(demo).toMatchObject({ id: 'demo', customer_id: null, disabled_since: null, tokens_not_before: null })
    const bound = { id, name: 'ERP of ACME', scopes: ['orders:read', 'orders:write'], customer_id: 1 }
    expect(erp).toEqual({ ...bound, created_at: erp.created_at, disabled_since: null, tokens_not_before: null })
    await said('client:disable', variables, ['--id', id])
    const [, disabled] = JSON.parse(await said('client:list', variables, ['--json']))
    const times = { disabled_since: expect.stringMatching(/Z$/), tokens_not_before: expect.stringMatching(/Z$/) }
    expect(disabled).toMatchObject(times)
    const text = await said('client:list', variables)
    for (const told of [id, 'ERP of ACME', 'orders:read orders:write', `since ${disabled.disabled_since}`]) {
      expect(text).toContain(told)
    }
    for (const hidden of [secret, sha256(secret), sha256('demo-secret'), 'secret_hash']) {
      expect(text + JSON.stringify([demo, disabled])).not.toContain(hidden)
    }
  })

  it('when a development token is printed, then it opens its scopes, and is all output', async () => {
    const variables = freshDatabase(engine)
    const all = (await said('token', variables)).trim()
    const bound = (await said('token', variables, ['--scope', 'orders:read', '--customer-id', '2'])).trim()
    expect(all).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
    const upstreams = { CUSTOMERS_API_BASE: 'http://localhost:1' }
    const program = startProgram('start:orders', { PORT: '0', ...upstreams, ...variables })
    const orders = apiClient(await addressOf(program), all)
    expect((await orders.get('/products')).status).toBe(200)
    expect((await orders.get('/orders')).body.data).toHaveLength(4)
    expect((await orders.get('/products', { token: bound })).status).toBe(403)
    expect((await orders.get('/orders', { token: bound })).body.data).toHaveLength(1)
  })

  it('when the database is not migrated, then commands that need it say what to run', async () => {
    const variables = freshDatabase(engine)
    const client = ['--name', 'ERP', '--scope', 'orders:read']
    for (const [script, args] of [
      ['seed', []],
      ['client:create', client],
      ['client:rotate', ['--id', 'erp']],
      ['client:disable', ['--id', 'erp']],
      ['client:list', []],
      ['purge', ['--older-than', '730d']],
      ['audit:books', []],
    ] as const) {
      expect(await refused(script, variables, [...args])).toMatch(/ npm run migrate$/)
    }
  })

  it('when the books are audited, then it ends with 0 if they balance, otherwise 1', async () => {
    const variables = await migratedDatabase(engine, { seeded: true })
    expect(await said('audit:books', variables)).toMatch(/Balanced\.\n$/)
    const db = await openDatabase(parseEnv(variables).database)
    await db.updateTable('products').set({ stock: 7 }).where('id', '=', 1).execute()
    await db.destroy()
    const { code, stdout } = await runProgram('audit:books', variables, ['--json'])
    expect(code).toBe(1)
    const { balanced, findings } = JSON.parse(stdout)
    expect(balanced).toBe(false)
    expect(findings[0]).toMatchObject({ check: 'stock', differences: [{ product_id: 1, stock: 7 }] })
    expect((await runProgram('audit:books', variables)).stdout).toMatch(/NOT balanced\.\n$/)
  })

  it('when the database is read-only, then the books can still be audited', async () => {
    const variables = await migratedDatabase(engine, { seeded: true })
    const { ended } = startCommand(...withoutRights('src/commands/audit-books.ts'), await readOnly(variables))
    const { code, stdout, stderr } = await ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('Balanced.')
  })

  it('when a client is bound to a missing or deleted customer, then it is refused', async () => {
    const variables = await migratedDatabase(engine, { seeded: true })
    const customers = startProgram('start:customers', { PORT: '0', ...variables })
    const token = (await said('token', variables)).trim()
    expect((await apiClient(await addressOf(customers), token).delete('/customers/3')).status).toBe(204)
    for (const id of ['3', '99']) {
      const args = ['--name', 'ERP', '--scope', 'orders:read', '--customer-id', id]
      expect(await refused('client:create', variables, args)).toBe(`There is no customer ${id}.`)
    }
  })
})

/** The same database without write access: by file permissions, or as a read-only user. */
async function readOnly(variables: Variables): Promise<Variables> {
  const { DB_HOST, DB_PORT, DB_USER, DB_PASS, DB_NAME, DB_FILE } = variables
  if (DB_HOST === undefined) {
    const folder = dirname(String(DB_FILE))
    chmodSync(String(DB_FILE), 0o400)
    chmodSync(folder, 0o500)
    onTestFinished(() => chmodSync(folder, 0o700))
    return variables
  }
  const name = `ro_${randomBytes(6).toString('hex')}`
  const login = { user: DB_USER ?? '', password: DB_PASS ?? '' }
  const root = await createConnection({ host: DB_HOST, port: Number(DB_PORT), ...login })
  onTestFinished(async () => {
    await root.query("drop user if exists ?@'%'", [name])
    await root.end()
  })
  await root.query("create user ?@'%' identified by 'read'", [name])
  await root.query("grant select on ??.* to ?@'%'", [DB_NAME, name])
  return { ...variables, DB_USER: name, DB_PASS: 'read' }
}

/** A program without root's capabilities, so that file permissions apply to it. */
function withoutRights(file: string): [string, string[]] {
  const node = join(BINARIES, 'node')
  const args = [join(ROOT, file)]
  if (process.getuid?.() !== 0) return [node, args]
  return ['setpriv', ['--bounding-set=-all', '--inh-caps=-all', node, ...args]]
}

describe('the command line', () => {
  const commands = [
    'migrate',
    'seed',
    'demo:reset',
    'client:create',
    'client:list',
    'order:find',
    'client:rotate',
    'client:disable',
    'token',
    'audit:books',
    'backup',
    'purge',
    'webhooks:listen',
  ]

  it.each(commands)('when npm run %s gets --help, then it prints how to call it and does nothing', async (script) => {
    // An environment in which nothing could run.
    const variables = { DB_HOST: '127.0.0.1', DB_PORT: 'none', NODE_ENV: 'production' }
    const help = await said(script, variables, ['--help'])
    expect(help).toMatch(/^[A-Z].*\.\n/)
    expect(help).toMatch(new RegExp(`^  npm run .*${script}`, 'm'))
  })

  it.each(['migrate', 'token'])(
    'when npm run %s gets an unknown option, then it says so, with the help',
    async (script) => {
      const help = await said(script, {}, ['-h'])
      const message = await refused(script, freshDatabase('sqlite'), ['--unknown', 'x'])
      expect(message).toMatch(/^Unknown option '--unknown'/)
      expect(message).toContain(help.trim())
    },
  )

  const wrong: { args: string[]; fault: string }[] = [
    { args: [], fault: '--name and --scope are needed.' },
    { args: ['--name', 'ERP'], fault: '--name and --scope are needed.' },
    { args: ['--name', 'ERP', '--scope', ' '], fault: 'At least one scope is needed.' },
    { args: ['--name', 'ERP', '--scope', 'orders:read orders:eat'], fault: 'Unknown scope: orders:eat.' },
    {
      args: ['--name', 'ERP', '--scope', 'orders:read', '--customer-id', '1.5'],
      fault: '--customer-id must be a positive integer.',
    },
    {
      args: ['--name', 'ERP', '--scope', 'orders:read products:write', '--customer-id', '1'],
      fault: "A client bound to a customer can't have: products:write.",
    },
    {
      args: ['--name', 'x'.repeat(201), '--scope', 'orders:read'],
      fault: '--name may have 200 characters at most.',
    },
    { args: ['ERP'], fault: "Unexpected argument 'ERP'." },
  ]

  it.each(wrong)('when a client is created with $args, then it is refused: $fault', async ({ args, fault }) => {
    const message = await refused('client:create', freshDatabase('sqlite'), args)
    expect(message.startsWith(fault)).toBe(true)
    expect(message).toContain('npm run client:create -- --name')
  })

  it.each(['client:rotate', 'client:disable'])('when npm run %s gets no client, then it says so', async (script) => {
    for (const args of [[], ['--id', '']]) {
      const message = await refused(script, freshDatabase('sqlite'), args)
      expect(message.startsWith('--id is needed.')).toBe(true)
      expect(message).toContain(`npm run ${script} -- --id`)
    }
  })

  it.each(['0', 'x', '-1'])('when a token is requested for %s minutes, then it is refused', async (minutes) => {
    const message = await refused('token', {}, [`--minutes=${minutes}`])
    expect(message.startsWith('--minutes must be a positive integer.')).toBe(true)
  })
})

describe.each(inject('mysql') === null ? [] : ['MySQL'])('npm run database:user on %s', () => {
  /** A migrated database with the demo data, and a name for its user. */
  async function prepared() {
    const variables = await migratedDatabase('mysql', { seeded: true })
    const name = `svc_${randomBytes(6).toString('hex')}`
    const root = await connect(variables)
    onTestFinished(async () => {
      await root.query("drop user if exists ?@'%'", [name])
      await root.end()
    })
    return { variables, name, root }
  }

  function connect({ DB_HOST, DB_PORT, DB_USER, DB_PASS, DB_NAME }: Variables) {
    const login = { user: DB_USER ?? '', password: DB_PASS ?? '', database: DB_NAME ?? '' }
    return createConnection({ host: DB_HOST ?? '', port: Number(DB_PORT), ...login })
  }

  it('when the services run as that user, then all routes work', async () => {
    const { variables, name } = await prepared()
    const output = await said('database:user', variables, ['--name', name])
    expect(output).toBe(
      `${name} may read and write rows in ${named(variables)}.\n${output.split('\n')[1]}\n\nThe password is not shown again.\n`,
    )
    const [, password = ''] = /^DB_PASS: (\S{43})$/m.exec(output) ?? []
    const own = { ...variables, DB_USER: name, DB_PASS: password }
    const token = (await said('token', own)).trim()
    const customers = apiClient(await addressOf(startProgram('start:customers', { PORT: '0', ...own })), token)
    const bases = { CUSTOMERS_API_BASE: customers.base }
    const orders = apiClient(await addressOf(startProgram('start:orders', { PORT: '0', ...bases, ...own })), token)
    const customer = await customers.post('/customers', { name: 'New', email: 'new@example.com' })
    expect(customer.status).toBe(201)
    const order = await orders.post('/orders', { customer_id: customer.body.id, items: [{ product_id: 1, qty: 1 }] })
    expect(order.status).toBe(201)
    expect((await orders.post(`/orders/${order.body.id}/cancel`)).status).toBe(200)
    expect((await customers.call('DELETE', `/customers/${customer.body.id}`)).status).toBe(204)
    expect(await said('audit:books', own)).toContain('Balanced.')
  })

  it('when that user changes the schema or reads another database, then it is denied', async () => {
    const { variables, name, root } = await prepared()
    const args = ['--name', name, '--password', "it's \\ odd"]
    for (let i = 0; i < 2; i++) {
      expect(await said('database:user', variables, args)).toBe(
        `${name} may read and write rows in ${named(variables)}.\n`,
      )
    }
    const own = await connect({ ...variables, DB_USER: name, DB_PASS: "it's \\ odd" })
    onTestFinished(() => own.end())
    // An underscore in the name of a database is no wildcard.
    const similarDatabase = String(variables.DB_NAME).replaceAll('_', 'x')
    await root.query('create database ??', [similarDatabase])
    onTestFinished(() => root.query('drop database ??', [similarDatabase]).then(() => {}))
    const changes = [
      'create table t (id int)',
      'drop table orders',
      'alter table orders add column x int',
      'create index x on orders (status)',
      'truncate table orders',
      'create view v as select 1',
      `create table ${similarDatabase}.t (id int)`,
      `select 1 from ${similarDatabase}.t`,
      "create user 'another'@'%'",
      'grant select on orders to root',
    ]
    for (const change of changes) {
      const error: unknown = await own.query(change).catch((thrown) => thrown)
      expect({ change, error }).toEqual({
        change,
        error: expect.objectContaining({ code: expect.stringMatching(/DENIED/) }),
      })
    }
  })

  it('when it is called wrongly, then it says how to call it', async () => {
    const variables = freshDatabase('mysql')
    expect(await refused('database:user', variables)).toMatch(/^--name is needed\./)
    const own = ['--name', String(variables.DB_USER)]
    expect(await refused('database:user', variables, own)).toMatch(/is the user that this runs as/)
    expect(await refused('database:user', freshDatabase('sqlite'), ['--name', 'b2b'])).toMatch(/has no users/)
  })
})

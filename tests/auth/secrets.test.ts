import { randomBytes } from 'node:crypto'
import { createConnection } from 'mysql2/promise'
import { expect, inject, it, onTestFinished, vi } from 'vitest'
import type { Engine } from '../../src/platform/database/dialect.ts'
import { type ApiResponse, apiClient } from '../../testing/api-client.ts'
import { freePort } from '../../testing/database-server.ts'
import type { Variables } from '../../testing/fixture.ts'
import { operationsOf, readDocuments, SERVICES } from '../../testing/openapi.ts'
import { freshDatabase, logged, type Program, runProgram, startProgram } from '../../testing/programs.ts'
import { openProxy } from '../../testing/proxy.ts'
import { describeEachEngine } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 90_000 })

const operations = operationsOf(await readDocuments())
const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'

const newSecret = () => `${randomBytes(24).toString('base64url')}+/=${randomBytes(9).toString('hex')}`

/** Every secret value in an environment. */
function secretsOf(variables: Variables): string[] {
  const secret = Object.entries(variables).filter(([name]) => /SECRET|TOKEN|PASS/.test(name))
  return secret.flatMap(([, value]) => value.split(',')).filter((value) => value !== '')
}

/** A database whose user has a password of its own, and what takes it away from whoever uses it. */
async function guardedDatabase(engine: Engine): Promise<{ variables: Variables; takeAway(): void }> {
  const variables = freshDatabase(engine)
  const server = inject('mysql')
  if (engine === 'sqlite' || server === null) return { variables, takeAway: () => {} }
  const { host, port, user, password } = server
  const own = { DB_USER: `b2b_${randomBytes(6).toString('hex')}`, DB_PASS: newSecret() }
  const admin = await createConnection({ host, port, user, password })
  const at = `${own.DB_USER}'@'%`
  await admin.query(`create user '${at}' identified by '${own.DB_PASS}'`)
  await admin.query(`grant all on ${variables.DB_NAME}.* to '${at}'`)
  onTestFinished(async () => {
    await admin.query(`drop user '${at}'`)
    await admin.end()
  })
  const proxy = await openProxy({ host, port })
  onTestFinished(() => proxy.close())
  const through = { DB_HOST: '127.0.0.1', DB_PORT: String(proxy.port) }
  return { variables: { ...variables, ...own, ...through }, takeAway: () => void proxy.close() }
}

async function addressesOf(program: Program) {
  const listening = await logged(program, ({ msg }) => msg === 'listening')
  const at = (service: string) => apiClient(String(listening[`at${service}`]), '')
  return { customers: at('Customers'), orders: at('Orders'), orchestrator: at('Orchestrator') }
}

describeEachEngine('secrets', (engine) => {
  it('when all routes are called, with and without a database, then no secret leaks', async () => {
    const { variables: database, takeAway } = await guardedDatabase(engine)
    const [serviceToken, oldServiceToken] = [newSecret(), newSecret()]
    const variables: Variables = {
      NODE_ENV: 'production',
      LOG_LEVEL: 'trace',
      JWT_SECRET: newSecret(),
      SERVICE_TOKEN: `${serviceToken},${oldServiceToken}`,
      ORCHESTRATOR_PUBLIC: 'false',
      CUSTOMERS_PORT: '0',
      ORDERS_PORT: '0',
      ORCHESTRATOR_PORT: '0',
      DB_CONNECT_TIMEOUT_MS: '1000',
      ...database,
    }
    expect((await runProgram('migrate', variables)).code).toBe(0)
    const scope = 'customers:read customers:write products:read products:write orders:read orders:write support:read'
    const created = await runProgram('client:create', variables, ['--name', 'ERP', '--scope', scope])
    const [, id = '', secret = ''] = /client_id: +(\S+)\nclient_secret: +(\S+)/.exec(created.stdout) ?? []
    const program = startProgram('start', variables)
    const services = await addressesOf(program)
    const responses: ApiResponse[] = []
    const said = (response: ApiResponse) => {
      responses.push(response)
      return response
    }

    const basic = `Basic ${btoa(`${id}:${secret}`)}`
    const grant = { grant_type: 'client_credentials', client_id: id, client_secret: secret }
    const issued = await services.orders.post('/auth/token', grant, { token: null })
    expect(issued.status).toBe(200)
    const token: string = issued.body.access_token
    const tokens = [token, `${token}x`, serviceToken, oldServiceToken, `${serviceToken}x`, secret, variables.JWT_SECRET]

    async function callEverything() {
      for (const { service, method, path } of operations) {
        for (const shown of tokens) {
          const at = path.replace('{id}', '1')
          said(await services[service].call(method, at, { token: shown ?? '' }))
          if (method !== 'GET')
            said(await services[service].call(method, at, { token: shown ?? '', body: { secret: shown } }))
        }
      }
      for (const shown of tokens) {
        const where = encodeURIComponent(shown ?? '')
        said(await services.orders.get(`/orders?cursor=${where}`, { token }))
        said(await services.orders.get(`/nowhere/${where}`, { token: shown ?? '' }))
        said(await services.orders.post('/orders', `{"access_token": "${shown}"`, { token }))
        said(await services.customers.post('/auth/token', { ...grant, client_secret: `${shown}y` }, { token: null }))
      }
      const headers = { authorization: basic, 'content-type': 'application/x-www-form-urlencoded' }
      said(await services.orders.post('/auth/token', `grant_type=password&client_secret=${secret}`, { headers }))
    }

    const added = await services.customers.post('/customers', { name: 'A', email: 'a@example.com' }, { token })
    const product = { sku: 'S', name: 'P', price_cents: 1, stock: 9 }
    const { body: made } = await services.orders.post('/products', product, { token })
    const order = { customer_id: added.body.id, items: [{ product_id: made.id, qty: 1 }], idempotency_key: 'k' }
    expect(said(await services.orchestrator.post(CREATE_AND_CONFIRM, order, { token })).status).toBe(201)
    await callEverything()
    for (const service of SERVICES) {
      for (const path of ['/openapi.json', '/docs', '/docs/swagger-ui-dist/swagger-ui.css']) {
        said(await services[service].get(path, { token: null }))
      }
    }
    if (engine === 'mysql') {
      takeAway()
      await callEverything()
      expect(responses.filter(({ status }) => status === 503).length).toBeGreaterThan(5)
      expect(program.stdout()).toMatch(/ECONNREFUSED|PROTOCOL_CONNECTION_LOST|ECONNRESET/)
    }
    await program.stop()

    const told = responses.map(({ text, headers }) => `${text}\n${JSON.stringify([...headers])}`)
    told.push(program.stdout(), program.stderr())
    expect(program.log().length).toBeGreaterThan(responses.length / 2)
    const secrets = [...secretsOf(variables), token, secret, basic, btoa(`${id}:${secret}`), 'Bearer ey']
    expect(secrets.length).toBeGreaterThan(6)
    for (const known of secrets) {
      const forms = [known, encodeURIComponent(known), Buffer.from(known).toString('base64')]
      for (const form of forms) expect(told.filter((text) => text.includes(form)).length, 'texts with a secret').toBe(0)
    }
  })
})

it.each(['start', 'start:customers', 'migrate', 'client:create', 'audit:books'])(
  'when the database is unreachable or refuses, then npm run %s hides the password',
  async (script) => {
    const DB_PASS = newSecret()
    const secret = { DB_PASS, JWT_SECRET: newSecret(), SERVICE_TOKEN: newSecret() }
    const ports = { PORT: '0', CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }
    const server = inject('mysql')
    const addresses = [{ DB_HOST: '127.0.0.1', DB_PORT: String(await freePort()) }]
    if (server) addresses.push({ DB_HOST: server.host, DB_PORT: String(server.port) })
    for (const address of addresses) {
      const args = script === 'client:create' ? ['--name', 'ERP', '--scope', 'orders:read'] : []
      const variables = { ...secret, ...ports, ...address, DB_USER: 'nobody', DB_NAME: 'nothing', LOG_LEVEL: 'trace' }
      const { code, stdout, stderr } = await runProgram(script, variables, args)
      expect(code).toBe(1)
      expect(stderr).toMatch(/The database nothing at .* can't be used/)
      for (const known of secretsOf(variables)) expect((stdout + stderr).includes(known)).toBe(false)
    }
  },
)

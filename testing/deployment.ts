import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { seed } from '../src/compose/demo-data.ts'
import { parseEnv } from '../src/compose/env.ts'
import type { Engine } from '../src/platform/database/dialect.ts'
import type { Database } from '../src/platform/database/types.ts'
import { type ApiClient, apiClient } from './api-client.ts'
import { type Aws, startAws } from './aws.ts'
import { bytesOf, type FunctionResult, headersOf, restEvent } from './events.ts'
import { addClient, tokenFor, type Variables } from './fixture.ts'
import { type LambdaInstance, startInstanceOf } from './lambda.ts'
import { listen } from './listen.ts'
import type { UnpackedFunction } from './packages.ts'
import { createTestDatabase } from './system.ts'

export const FUNCTIONS = ['customers', 'orders', 'orchestrator', 'sweep', 'events', 'docs'] as const
export type FunctionName = (typeof FUNCTIONS)[number]

/** Long enough for production. */
export const SECRETS = {
  SERVICE_TOKEN: randomBytes(32).toString('base64url'),
  JWT_SECRET: randomBytes(32).toString('base64url'),
  WEBHOOK_KEYS: randomBytes(32).toString('base64url'),
}

/** Lets webhooks go to receivers on this machine. */
export const LOOPBACK = { WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' }

/** All functions, one instance each, behind a gateway on this machine and a stand-in for AWS. */
export interface Deployment {
  instances: Record<FunctionName, LambdaInstance>
  /** The variables that point a function at the database. */
  database: Variables
  aws: Aws
  db: Database
  token: string
  /** Over real HTTP, through the gateway. */
  customers: ApiClient
  orders: ApiClient
  orchestrator: ApiClient
  stop(): Promise<void>
}

/** Starts the functions over a fresh database with the demo data. */
export async function deploy(engine: Engine, unpacked: Record<FunctionName, UnpackedFunction>): Promise<Deployment> {
  const { db, variables: database, drop } = await createTestDatabase(engine)
  await seed(db)
  await addClient(db, 'tests')
  const token = await tokenFor('tests', parseEnv(SECRETS), 600)

  const instances: Partial<Record<FunctionName, LambdaInstance>> = {}
  const gateway = await startGateway((name) => instances[name])
  const aws = await startAws()
  const own = { ...settle(aws, database), ...LOOPBACK }
  const start = (name: FunctionName) => {
    const asked = unpacked[name].parameters.split(',').filter((it) => database.DB_HOST || !it.includes('/db-'))
    return startInstanceOf(unpacked[name], { ...aws.variables, ...own, SSM_PARAMETERS: asked.join(',') })
  }
  const all = {
    customers: await start('customers'),
    orders: await start('orders'),
    orchestrator: await start('orchestrator'),
    sweep: await start('sweep'),
    events: await start('events'),
    docs: await start('docs'),
  }
  Object.assign(instances, all)
  aws.functions.set('customers-api-dev', (event) => all.customers.invoke(event))
  aws.functions.set('orders-api-dev', (event) => all.orders.invoke(event))
  return {
    instances: all,
    database,
    aws,
    db,
    token,
    customers: apiClient(`${gateway.base}/customers-api`, token),
    orders: apiClient(`${gateway.base}/orders-api`, token),
    orchestrator: apiClient(gateway.base, token),
    async stop() {
      await Promise.all(Object.values(all).map((instance) => instance.stop()))
      await gateway.close()
      await aws.stop()
      await drop()
    },
  }
}

const SSM_PATH = '/b2b-orders/dev'

/** Stores in SSM what a deployment stores there, and returns the other variables. SSM holds no SQLite file. */
function settle({ parameters }: Aws, { DB_HOST, DB_USER, DB_PASS, ...rest }: Variables): Variables {
  const { SERVICE_TOKEN, JWT_SECRET, WEBHOOK_KEYS } = SECRETS
  parameters.set(`${SSM_PATH}/service-token`, SERVICE_TOKEN).set(`${SSM_PATH}/jwt-secret`, JWT_SECRET)
  parameters.set(`${SSM_PATH}/webhook-keys`, WEBHOOK_KEYS)
  if (DB_HOST === undefined) return rest
  parameters.set(`${SSM_PATH}/db-host`, DB_HOST).set(`${SSM_PATH}/db-user`, DB_USER ?? '')
  parameters.set(`${SSM_PATH}/db-pass`, DB_PASS ?? '')
  return rest
}

/** The routes of serverless.yml's REST API. */
const ROUTES: readonly [RegExp, FunctionName][] = [
  [/^(\/(customers|orders)-api)?\/docs\/swagger-ui-dist\/[^/]+$/, 'docs'],
  [/^\/customers-api(\/.|$)/, 'customers'],
  [/^\/orders-api(\/.|$)/, 'orders'],
  [/^\//, 'orchestrator'],
]

/** Turns requests into events and results into responses, as a REST API with the stage `dev` does. */
async function startGateway(instanceOf: (name: FunctionName) => LambdaInstance | undefined) {
  const server = createServer(async (request, response) => {
    const [target = '', query] = (request.url ?? '').split('?')
    const path = target.replace(/^\/dev(?=\/|$)/, '') || '/'
    const name = path === target ? undefined : ROUTES.find(([pattern]) => pattern.test(path))?.[1]
    const instance = name && instanceOf(name)
    if (instance === undefined) {
      response.writeHead(403).end('{"message":"Missing Authentication Token"}')
      return
    }
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const headers = Object.fromEntries(Object.entries(request.headers).map(([key, value]) => [key, String(value)]))
    const body = chunks.length > 0 ? Buffer.concat(chunks).toString() : undefined
    try {
      const event = restEvent('rest-api', '/dev', { method: request.method ?? 'GET', path, query, headers, body })
      const result = (await instance.invoke(event)) as FunctionResult
      response.writeHead(result.statusCode, Object.fromEntries(headersOf(result))).end(bytesOf(result))
    } catch {
      response.writeHead(502).end('{"message": "Internal server error"}')
    }
  })
  const port = await listen(server)
  return {
    base: `http://127.0.0.1:${port}/dev`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient, signToken } from '../../src/auth/service.ts'
import { SCOPES } from '../../src/platform/auth.ts'
import type { Database } from '../../src/platform/database.ts'
import type { Engine } from '../../src/platform/dialect.ts'
import { parseEnv } from '../../src/platform/env.ts'
import { seed } from '../../src/platform/migrations.ts'
import { type ApiClient, apiClient } from './api-client.ts'
import { bytesOf, type FunctionResult, headersOf, restEvent } from './events.ts'
import { type LambdaInstance, startInstanceOf } from './lambda.ts'
import type { UnpackedFunction } from './packages.ts'
import type { Variables } from './programs.ts'
import { createTestDatabase } from './system.ts'

export const FUNCTIONS = ['customers', 'orders', 'orchestrator', 'sweep', 'docs'] as const
export type FunctionName = (typeof FUNCTIONS)[number]

/** Long enough for production, and of nobody. */
export const SECRETS = {
  SERVICE_TOKEN: randomBytes(32).toString('base64url'),
  JWT_SECRET: randomBytes(32).toString('base64url'),
}

/** All functions, each in one instance, behind a gateway that listens on this machine. */
export interface Deployment {
  instances: Record<FunctionName, LambdaInstance>
  /** What points a function at the database. */
  database: Variables
  db: Database
  token: string
  /** Over real HTTP, through the gateway. */
  customers: ApiClient
  orders: ApiClient
  orchestrator: ApiClient
  stop(): Promise<void>
}

/** Starts the functions over a fresh database with the demo data in it, each with the variables that it is given. */
export async function deploy(engine: Engine, unpacked: Record<FunctionName, UnpackedFunction>): Promise<Deployment> {
  const { db, variables: database, drop } = await createTestDatabase(engine)
  await seed(db)
  // In production no token is taken of a client that is not there.
  await createClient(db, { id: 'tests', name: 'Tests', scopes: SCOPES, customerId: null })
  const { jwt } = parseEnv(SECRETS)
  const client = { clientId: 'tests', scope: SCOPES.join(' '), customerId: null }
  const { access_token: token } = await signToken({ ...jwt, ttlSeconds: 600 }, client)

  const instances: Partial<Record<FunctionName, LambdaInstance>> = {}
  const gateway = await startGateway((name) => instances[name])
  const customersBase = { CUSTOMERS_API_BASE: `${gateway.base}/customers-api` }
  const ordersBase = { ORDERS_API_BASE: `${gateway.base}/orders-api` }
  const all = {
    customers: await startInstanceOf(unpacked.customers, { ...SECRETS, ...database }),
    orders: await startInstanceOf(unpacked.orders, { ...SECRETS, ...customersBase, ...database }),
    orchestrator: await startInstanceOf(unpacked.orchestrator, { ...SECRETS, ...customersBase, ...ordersBase }),
    sweep: await startInstanceOf(unpacked.sweep, database),
    docs: await startInstanceOf(unpacked.docs, {}),
  }
  Object.assign(instances, all)
  return {
    instances: all,
    database,
    db,
    token,
    customers: apiClient(`${gateway.base}/customers-api`, token),
    orders: apiClient(`${gateway.base}/orders-api`, token),
    orchestrator: apiClient(gateway.base, token),
    async stop() {
      await Promise.all(Object.values(all).map((instance) => instance.stop()))
      await gateway.close()
      await drop()
    },
  }
}

/** A REST API's routes, as serverless.yml has them. */
const ROUTES: readonly [RegExp, FunctionName][] = [
  [/^(\/(customers|orders)-api)?\/docs\/swagger-ui-dist\/[^/]+$/, 'docs'],
  [/^\/customers-api\/./, 'customers'],
  [/^\/orders-api\/./, 'orders'],
  [/^\/./, 'orchestrator'],
]

/** Turns HTTP requests into events and results into answers, as a REST API with the stage `dev` does. */
async function startGateway(instanceOf: (name: FunctionName) => LambdaInstance | undefined) {
  const server = createServer(async (request, response) => {
    const [target = '', query] = (request.url ?? '').split('?')
    const path = target.replace(/^\/dev(?=\/)/, '')
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
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    base: `http://127.0.0.1:${port}/dev`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

import { randomUUID } from 'node:crypto'
import { parseEnv } from '../../src/compose/env.ts'
import { composeCustomers, composeOrders } from '../../src/compose/services.ts'
import { serve } from '../../src/platform/http/server.ts'
import { createLogger } from '../../src/platform/telemetry/logger.ts'
import type { DatabaseServer } from '../../testing/database-server.ts'
import {
  addClient,
  createDatabase,
  dropDatabase,
  newDatabaseVariables,
  newSecrets,
  tokenFor,
} from '../../testing/fixture.ts'

/** The first event of each function: from a REST API of API Gateway, or from a schedule. */
export interface Events {
  customers(): object
  orders(): object
  orchestrator(): object
  sweep(): object
  events(): object
  docs(): object
}

/** What the functions use: a database with the demo data, and the services that they call. */
export interface Surroundings {
  /** The environment of a function. */
  variables: Record<string, string>
  events: Events
  stop(): Promise<void>
}

/** More than any run sells. */
const STOCK = 1_000_000
const CLIENT = 'bench'
const SCHEDULED = { 'detail-type': 'Scheduled Event', source: 'aws.events' }

export async function startSurroundings(server: DatabaseServer): Promise<Surroundings> {
  const shared = { NODE_ENV: 'production', ...newDatabaseVariables(server, ''), ...newSecrets() }
  const env = parseEnv(shared)
  const db = await createDatabase(env.database, { seeded: true })
  await addClient(db, CLIENT)
  await db.updateTable('products').set({ stock: STOCK }).where('id', '=', 1).execute()

  const logger = await createLogger('silent')
  const lifecycle = { draining: false }
  const customers = await serve(composeCustomers(env, db, logger, lifecycle).app, 0)
  const customersBase = `http://127.0.0.1:${customers.port}`
  const orders = await serve(composeOrders(env, db, customersBase, logger, lifecycle).app, 0)
  return {
    variables: {
      ...shared,
      AWS_LAMBDA_FUNCTION_NAME: 'bench',
      DB_POOL: '2',
      CUSTOMERS_API_BASE: customersBase,
      ORDERS_API_BASE: `http://127.0.0.1:${orders.port}`,
      ORCHESTRATOR_PUBLIC: 'true',
    },
    events: eventsFor(await tokenFor(CLIENT, env)),
    async stop() {
      await Promise.all([customers.close(), orders.close()])
      await db.destroy()
      await dropDatabase(env.database)
    },
  }
}

function eventsFor(token: string): Events {
  const order = { customer_id: 1, items: [{ product_id: 1, qty: 2 }] }
  return {
    customers: () => restEvent('GET', '/customers-api/customers/1', { token }),
    orders: () => restEvent('POST', '/orders-api/orders', { token, body: order }),
    orchestrator: () =>
      restEvent('POST', '/orchestrator/create-and-confirm-order', {
        body: { ...order, idempotency_key: randomUUID(), correlation_id: 'bench' },
      }),
    sweep: () => SCHEDULED,
    events: () => SCHEDULED,
    docs: () => restEvent('GET', '/docs/swagger-ui-dist/swagger-ui.css', {}),
  }
}

/** An event of a REST API (v1) whose binary media types are all types: bodies are base64. */
function restEvent(httpMethod: string, path: string, { token, body }: { token?: string; body?: object }) {
  const headers = {
    Accept: 'application/json',
    Host: 'example.execute-api.us-east-1.amazonaws.com',
    'User-Agent': 'bench',
    'X-Forwarded-For': '192.0.2.1',
    'X-Forwarded-Port': '443',
    'X-Forwarded-Proto': 'https',
    ...(token !== undefined && { Authorization: `Bearer ${token}` }),
    ...(body !== undefined && { 'Content-Type': 'application/json' }),
  }
  const multiValueHeaders = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]))
  return {
    resource: '/{proxy+}',
    path,
    httpMethod,
    headers,
    multiValueHeaders,
    queryStringParameters: null,
    multiValueQueryStringParameters: null,
    pathParameters: { proxy: path.slice(1) },
    stageVariables: null,
    requestContext: {
      accountId: '123456789012',
      apiId: 'example',
      httpMethod,
      identity: { sourceIp: '192.0.2.1', userAgent: 'bench' },
      path: `/dev${path}`,
      protocol: 'HTTP/1.1',
      requestId: randomUUID(),
      resourcePath: '/{proxy+}',
      stage: 'dev',
    },
    body: body === undefined ? null : Buffer.from(JSON.stringify(body)).toString('base64'),
    isBase64Encoded: body !== undefined,
  }
}

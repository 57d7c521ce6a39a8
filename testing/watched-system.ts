import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Connection, createConnection } from 'mysql2/promise'
import { endProcess } from '../scripts/children.ts'
import { parseEnv } from '../src/compose/env.ts'
import { type ApiClient, apiClient } from './api-client.ts'
import { freePort } from './database-server.ts'
import {
  databaseVariables,
  dropDatabase,
  newDatabaseVariables,
  type ServerAddress,
  tokenFor,
  type Variables,
} from './fixture.ts'
import { type Prometheus, startPrometheus } from './prometheus.ts'
import { type NetworkProxy, openProxy } from './proxy.ts'
import { newKey } from './rows.ts'
import { allInOneProgram, freePorts, launch, type ServiceProcess, untilUp, urlAt } from './service-processes.ts'

/** All services in one process, the demo data behind a network that can be broken, callers, and a Prometheus that watches. */
export interface WatchedSystem {
  prometheus: Prometheus
  service: ServiceProcess
  metricsUrl: string
  orders: ApiClient
  callers: Callers
  /** Between the services and their database. */
  network: NetworkProxy
  server: ServerAddress
  /** The variables of the database, past the network. */
  database: Variables
  /** Opens a session of the database, past the network, until the system stops. */
  openSession(): Promise<Connection>
  stop(): Promise<void>
}

/** @param rules of Prometheus @param variables of the services */
export async function startWatchedSystem(
  server: ServerAddress,
  rules: string,
  variables: Variables,
): Promise<WatchedSystem> {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-watched-'))
  const database = newDatabaseVariables(server, folder)
  const network = await openProxy(server)
  const through = databaseVariables({ ...server, host: network.host, port: network.port }, database.DB_NAME ?? '')
  const [ports, metricsPort] = [await freePorts(), await freePort()]
  const own = { NODE_ENV: 'test', ORCHESTRATOR_PUBLIC: 'true', METRICS_PORT: String(metricsPort) }
  const service = launch(allInOneProgram(ports, { ...own, ...through, ...variables }), folder)
  await untilUp(Object.values(ports), [service], '/ready')

  const token = await tokenFor('tests', parseEnv({ ...own, ...database }))
  const orders = apiClient(urlAt(ports.orders), token)
  const callers = startCallers(orders, apiClient(urlAt(ports.orchestrator), token))
  const prometheus = await startPrometheus({
    targets: [{ address: `127.0.0.1:${metricsPort}`, service: 'all' }],
    rules,
  })
  const sessions: Connection[] = []
  return {
    prometheus,
    service,
    metricsUrl: urlAt(metricsPort),
    orders,
    callers,
    network,
    server,
    database,
    async openSession() {
      const { host, port, user, password } = server
      const session = await createConnection({ host, port, user, password, database: database.DB_NAME ?? '' })
      sessions.push(session)
      return session
    },
    async stop() {
      callers.stop()
      for (const session of sessions) session.destroy()
      await prometheus.stop()
      await endProcess(service.child)
      await network.close()
      await dropDatabase(parseEnv(database).database)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export interface Callers {
  /** Sends so many requests at once, besides the usual ones. */
  burst(requests: number): void
  stop(): void
}

const PAUSE_MS = 60

/** Calls that come all the time, whatever becomes of them. */
export function startCallers(orders: ApiClient, orchestrator: ApiClient): Callers {
  const ORDER = { customer_id: 1, items: [{ product_id: 3, qty: 1 }] }
  const again = { headers: { 'idempotency-key': newKey() } }
  const place = () => orders.post('/orders', ORDER, { headers: { 'idempotency-key': newKey() } })
  const calls = [
    () => orchestrator.post('/orchestrator/create-and-confirm-order', { ...ORDER, idempotency_key: newKey() }),
    () => orders.get('/orders?limit=20'),
    async () => {
      const { body } = await place()
      await orders.post(`/orders/${body.id}/confirm`)
    },
    async () => {
      const { body } = await place()
      await orders.post(`/orders/${body.id}/cancel`)
    },
    () => orders.post('/orders', ORDER, again),
    () => orders.get('/nowhere'),
  ]
  let made = 0
  const callOnce = () => calls[made++ % calls.length]?.().catch(() => undefined)
  const timer = setInterval(callOnce, PAUSE_MS)
  return {
    burst(requests) {
      for (let i = 0; i < requests; i++) place().catch(() => undefined)
    },
    stop: () => clearInterval(timer),
  }
}

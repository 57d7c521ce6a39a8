import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Connection, createConnection } from 'mysql2/promise'
import { endProcess } from '../scripts/children.ts'
import { parseEnv } from '../src/compose/env.ts'
import { type ApiClient, apiClient } from './api-client.ts'
import {
  databaseVariables,
  dropDatabase,
  newDatabaseVariables,
  type ServerAddress,
  tokenFor,
  type Variables,
} from './fixture.ts'
import { SERVICES } from './openapi.ts'
import { type Prometheus, startPrometheus } from './prometheus.ts'
import { type NetworkProxy, openProxy } from './proxy.ts'
import { newKey } from './rows.ts'
import {
  freePorts,
  launch,
  type Ports,
  type ServiceProcess,
  separatePrograms,
  untilUp,
  urlAt,
} from './service-processes.ts'

/** The three services, the demo data behind a network that can be broken, callers, and a Prometheus that watches. */
export interface WatchedSystem {
  prometheus: Prometheus
  processes: readonly ServiceProcess[]
  orders: ApiClient
  callers: Callers
  /** Between the services and their database. */
  network: NetworkProxy
  server: ServerAddress
  /** The variables of the database, past the network. */
  database: Variables
  /** Opens a session of the database, past the network, until the system stops. */
  openSession(): Promise<Connection>
  /** What is done first when the system stops, the last one first. */
  cleanups: (() => unknown)[]
  stop(): Promise<void>
}

interface Options {
  /** The text of the file of rules of Prometheus. Default: the committed one. */
  rules?: string
  /** Of the services. */
  variables?: Variables
}

const OWN = { NODE_ENV: 'test', ORCHESTRATOR_PUBLIC: 'true' }

/** Starts all of it; it stops in the opposite order, also when the start fails. */
export async function startWatchedSystem(
  server: ServerAddress,
  { rules, variables }: Options = {},
): Promise<WatchedSystem> {
  const cleanups: (() => unknown)[] = []
  const stop = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  }
  try {
    const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-watched-'))
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
    const database = newDatabaseVariables(server, folder)
    cleanups.push(() => dropDatabase(parseEnv(database).database))
    const network = await openProxy(server)
    cleanups.push(() => network.close())
    const through = databaseVariables({ ...server, host: network.host, port: network.port }, database.DB_NAME ?? '')

    const [ports, metricsPorts] = [await freePorts(), await freePorts()]
    const programs = separatePrograms(ports, { ...OWN, ...through, ...variables }, metricsVariables(metricsPorts))
    const processes = programs.map((program) => launch(program, folder))
    cleanups.push(() => Promise.all(processes.map(({ child }) => endProcess(child))))
    await untilUp(Object.values(ports), processes, '/ready')

    const targets = SERVICES.map((service) => ({ address: `127.0.0.1:${metricsPorts[service]}`, service }))
    const prometheus = await startPrometheus({ targets, ...(rules !== undefined && { rules }) })
    cleanups.push(() => prometheus.stop())
    const token = await tokenFor('tests', parseEnv({ ...OWN, ...database }))
    const orders = apiClient(urlAt(ports.orders), token)
    const callers = startCallers(orders, apiClient(urlAt(ports.orchestrator), token))
    cleanups.push(() => callers.stop())

    const openSession = async () => {
      const { host, port, user, password } = server
      const session = await createConnection({ host, port, user, password, database: database.DB_NAME ?? '' })
      cleanups.push(() => session.destroy())
      return session
    }
    return {
      prometheus,
      processes,
      orders,
      callers,
      network,
      server,
      database,
      openSession,
      cleanups,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function metricsVariables(ports: Ports): Record<keyof Ports, Variables> {
  const at = (port: number) => ({ METRICS_PORT: String(port) })
  return { customers: at(ports.customers), orders: at(ports.orders), orchestrator: at(ports.orchestrator) }
}

export interface Callers {
  /** Sends so many requests at once, besides the usual ones. */
  burst(requests: number): void
  stop(): void
}

const PAUSE_MS = 60

/** Calls that come all the time, whatever becomes of them. */
function startCallers(orders: ApiClient, orchestrator: ApiClient): Callers {
  const ORDER = { customer_id: 1, items: [{ product_id: 3, qty: 1 }] }
  const keyed = () => ({ headers: { 'idempotency-key': newKey() } })
  const again = keyed()
  const place = () => orders.post('/orders', ORDER, keyed())
  const placeAnd = async (change: 'confirm' | 'cancel') => {
    const { status, body } = await place()
    if (status === 201) await orders.post(`/orders/${body.id}/${change}`, undefined, keyed())
  }
  const calls = [
    () => orchestrator.post('/orchestrator/create-and-confirm-order', { ...ORDER, idempotency_key: newKey() }),
    () => orders.get('/orders?limit=20'),
    () => placeAnd('confirm'),
    () => placeAnd('cancel'),
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

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type CrashableServer, freePort } from '../testing/database-server.ts'
import { databaseVariables, newSecrets, tokenFor, type Variables } from '../testing/fixture.ts'
import type { GaleraCluster } from '../testing/galera.ts'
import { SERVICES, type ServiceName } from '../testing/openapi.ts'
import { type NetworkProxy, openProxy } from '../testing/proxy.ts'
import {
  allInOneProgram,
  freePorts,
  isUp,
  type Ports,
  type ServiceProgram,
  separatePrograms,
} from '../testing/service-processes.ts'
import { CLIENT, type Fixture, openFixture } from './fixture.ts'
import { type Supervised, supervise } from './supervisor.ts'

/** A proxy by its two ends. */
export type ProxyName =
  | `callers → ${ServiceName}`
  | 'orchestrator → customers'
  | 'orchestrator → orders'
  | 'orders → customers'
  | 'orders → database'
  | 'customers → database'

/** A process that can be killed: one of three services, or one that is all of them; a cluster has one of those at each node. */
export type Victim = ServiceName | Dispatcher | 'all' | `all-${number}`

/** More processes of Orders, which only send webhooks: nobody calls them. */
export const DISPATCHERS = ['dispatcher-2', 'dispatcher-3'] as const
type Dispatcher = (typeof DISPATCHERS)[number]

/** Real processes over a real database, with a proxy before each of them. */
export interface System {
  fixture: Fixture
  /** The proxies that callers use, for each instance. */
  ports: readonly Ports[]
  token: string
  proxies: ReadonlyMap<ProxyName, NetworkProxy>
  processes: ReadonlyMap<Victim, Supervised>
  /** Undefined for a file or a cluster. */
  database: CrashableServer | undefined
  cluster: GaleraCluster | undefined
  /** Whether `/ready` of every service says so. */
  ready(): Promise<boolean>
  stop(): Promise<void>
}

/** Seconds from one sweep to the next. */
export const SWEEP_SECONDS = 2
const READY_LIMIT_MS = 6_000
const DATABASE = 'b2b_faults'

/** As in production, but with short times: within a minute, holds end and timeouts pass. */
const SETTINGS = {
  NODE_ENV: 'production',
  LOG_LEVEL: 'info',
  DB_POOL: '5',
  DB_CONNECT_TIMEOUT_MS: '2000',
  DB_QUERY_TIMEOUT_MS: '5000',
  HTTP_TIMEOUT_MS: '3000',
  ORDER_SWEEP_SECONDS: String(SWEEP_SECONDS),
  ORDER_HOLD_MINUTES: '1',
  ORCHESTRATOR_PUBLIC: 'true',
  WEBHOOK_ALLOW_HTTP: 'true',
  WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
}

/** @param database undefined for SQLite in one process */
export async function startSystem(database: CrashableServer | undefined, folder: string): Promise<System> {
  const own = await freePorts()
  const common = { ...SETTINGS, ...newSecrets(), WEBHOOK_KEYS: randomBytes(32).toString('hex') }
  const where = database ? databaseVariables(database, DATABASE) : { DB_FILE: join(folder, 'b2b.sqlite') }
  const fixture = await openFixture({ ...common, ...where })
  const proxies = await openProxies(own, database)
  const portOf = (name: ProxyName) => proxies.get(name)?.port ?? 0
  const programs = database
    ? [
        ...threePrograms({ ...common, ...where }, own, (name) => String(portOf(name))),
        ...(await dispatchersOf({ ...common, ...where }, own)),
      ]
    : [allInOneProgram(own, { ...common, ...where })]
  const ports = {
    customers: portOf('callers → customers'),
    orders: portOf('callers → orders'),
    orchestrator: portOf('callers → orchestrator'),
  }
  return run(fixture, programs, folder, { ports: [ports], own: [own], proxies, database, cluster: undefined })
}

/** One process at each node of the cluster, which uses that node alone. Callers use all processes. */
export async function startSystemOnCluster(cluster: GaleraCluster, folder: string): Promise<System> {
  const common = { ...SETTINGS, ...newSecrets(), WEBHOOK_KEYS: randomBytes(32).toString('hex') }
  const [first] = cluster.nodes
  if (first === undefined) throw new Error('the cluster has no node')
  const nodePorts = cluster.nodes.map(({ port }) => port)
  const fixture = await openFixture({ ...common, ...databaseVariables(first, DATABASE) }, nodePorts)
  const own = await Promise.all(cluster.nodes.map(freePorts))
  const programs = cluster.nodes.map((node, i): ServiceProgram<Victim> => {
    const ports = own[i] ?? { customers: 0, orders: 0, orchestrator: 0 }
    return { ...allInOneProgram(ports, { ...common, ...databaseVariables(node, DATABASE) }), name: `all-${i}` }
  })
  return run(fixture, programs, folder, { ports: own, own, proxies: new Map(), database: undefined, cluster })
}

async function run(
  fixture: Fixture,
  programs: readonly ServiceProgram<Victim>[],
  folder: string,
  { own, proxies, ...parts }: Pick<System, 'ports' | 'proxies' | 'database' | 'cluster'> & { own: readonly Ports[] },
): Promise<System> {
  const processes = new Map(programs.map((program) => [program.name, supervise(program, folder)]))
  const all = own.flatMap((ports) => SERVICES.map((service) => ports[service]))
  return {
    fixture,
    token: await tokenFor(CLIENT, fixture.env),
    proxies,
    processes,
    ...parts,
    ready: async () =>
      (await Promise.all(all.map((port) => isUp(port, '/ready', READY_LIMIT_MS)))).every((ready) => ready),
    async stop() {
      for (const proxy of proxies.values()) proxy.heal()
      await Promise.all([...processes.values()].map((process) => process.stop()))
      await Promise.all([...proxies.values()].map((proxy) => proxy.close()))
      await fixture.close()
    },
  }
}

const at = (port: number) => ({ host: '127.0.0.1', port })

async function openProxies(own: Ports, database: CrashableServer | undefined) {
  const proxies = new Map<ProxyName, NetworkProxy>()
  for (const service of SERVICES) proxies.set(`callers → ${service}`, await openProxy(at(own[service])))
  if (database === undefined) return proxies
  proxies.set('orchestrator → customers', await openProxy(at(own.customers)))
  proxies.set('orchestrator → orders', await openProxy(at(own.orders)))
  proxies.set('orders → customers', await openProxy(at(own.customers)))
  proxies.set('orders → database', await openProxy(at(database.port)))
  proxies.set('customers → database', await openProxy(at(database.port)))
  return proxies
}

async function dispatchersOf(variables: Variables, own: Ports): Promise<ServiceProgram<Victim>[]> {
  const programs = DISPATCHERS.map(async (name): Promise<ServiceProgram<Victim>[]> => {
    const orders = await freePort()
    const [program] = separatePrograms({ ...own, orders }, variables).filter(({ port }) => port === orders)
    return program ? [{ ...program, name }] : []
  })
  return (await Promise.all(programs)).flat()
}

function threePrograms(variables: Variables, own: Ports, portOf: (proxy: ProxyName) => string) {
  const urlOf = (proxy: ProxyName) => `http://127.0.0.1:${portOf(proxy)}`
  return separatePrograms(own, variables, {
    customers: { DB_PORT: portOf('customers → database') },
    orders: { DB_PORT: portOf('orders → database'), CUSTOMERS_API_BASE: urlOf('orders → customers') },
    orchestrator: {
      CUSTOMERS_API_BASE: urlOf('orchestrator → customers'),
      ORDERS_API_BASE: urlOf('orchestrator → orders'),
    },
  })
}

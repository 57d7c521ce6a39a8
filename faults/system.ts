import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { SCOPES } from '../src/compose/modules.ts'
import { signToken } from '../src/identity/service.ts'
import { type CrashableServer, type DatabaseServer, freePort } from '../testing/database-server.ts'
import type { GaleraCluster } from '../testing/galera.ts'
import { type NetworkProxy, openProxy } from '../testing/proxy.ts'
import { CLIENT, type Ground, openGround } from './fixture.ts'
import { type Program, type Supervised, supervise } from './supervisor.ts'

export type Service = 'customers' | 'orders' | 'orchestrator'
export const SERVICES = ['customers', 'orders', 'orchestrator'] as const

/** A proxy by its two ends. */
export type ProxyName =
  | `callers → ${Service}`
  | 'orchestrator → customers'
  | 'orchestrator → orders'
  | 'orders → customers'
  | 'orders → database'
  | 'customers → database'

/** What can be killed: the three services, or the one process that is all of them, of which a cluster has one at each node. */
export type Victim = Service | 'all' | `all-${number}`

/** Real processes over a real database, with a proxy in front of each of them. */
export interface System {
  ground: Ground
  /** Where callers go, of each instance: the beginnings of the proxies. */
  ports: readonly Record<Service, number>[]
  token: string
  proxies: ReadonlyMap<ProxyName, NetworkProxy>
  processes: ReadonlyMap<Victim, Supervised>
  /** Undefined where it is a file, or a cluster. */
  database: CrashableServer | undefined
  cluster: GaleraCluster | undefined
  /** Whether each service says that it can do its work. */
  ready(): Promise<boolean>
  stop(): Promise<void>
}

/** Seconds from one sweep to the next. */
export const SWEEP_SECONDS = 2

/** As in production, but with short times, so that a run of a minute sees holds end and limits of time passed. */
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
}

/** @param database undefined for SQLite in one process */
export async function startSystem(database: CrashableServer | undefined, folder: string): Promise<System> {
  const own = await freePorts()
  const common = commonSettings()
  const where = database ? databaseAt(database, database.port) : { DB_FILE: join(folder, 'b2b.sqlite') }
  const ground = await openGround({ ...common, ...where })
  const proxies = await openProxies(own, database)
  const portOf = (name: ProxyName) => proxies.get(name)?.port ?? 0
  const programs = database
    ? threePrograms({ ...common, ...where }, own, portOf)
    : [oneProgram({ ...common, ...where }, own)]
  const ports = {
    customers: portOf('callers → customers'),
    orders: portOf('callers → orders'),
    orchestrator: portOf('callers → orchestrator'),
  }
  return run(ground, programs, folder, { ports: [ports], own: [own], proxies, database, cluster: undefined })
}

/** One process at each node of the cluster, which works on that node alone. Callers go to all of them. */
export async function startSystemOnCluster(cluster: GaleraCluster, folder: string): Promise<System> {
  const common = commonSettings()
  const [first] = cluster.nodes
  if (first === undefined) throw new Error('the cluster has no node')
  const nodePorts = cluster.nodes.map(({ port }) => port)
  const ground = await openGround({ ...common, ...databaseAt(first, first.port) }, nodePorts)
  const own = await Promise.all(cluster.nodes.map(freePorts))
  const programs = cluster.nodes.map((node, i): Program<Victim> => {
    const ports = own[i] ?? { customers: 0, orders: 0, orchestrator: 0 }
    return { ...oneProgram({ ...common, ...databaseAt(node, node.port) }, ports), name: `all-${i}` }
  })
  return run(ground, programs, folder, { ports: own, own, proxies: new Map(), database: undefined, cluster })
}

async function run(
  ground: Ground,
  programs: readonly Program<Victim>[],
  folder: string,
  {
    own,
    proxies,
    ...parts
  }: Pick<System, 'ports' | 'proxies' | 'database' | 'cluster'> & { own: readonly Record<Service, number>[] },
): Promise<System> {
  const client = { clientId: CLIENT, scope: SCOPES.join(' '), customerId: null }
  const { access_token } = await signToken({ ...ground.env.jwt, ttlSeconds: 24 * 3600 }, client)
  const processes = new Map(programs.map((program) => [program.name, supervise(program, folder)]))
  const all = own.flatMap((ports) => SERVICES.map((service) => ports[service]))
  return {
    ground,
    token: access_token,
    proxies,
    processes,
    ...parts,
    ready: async () => (await Promise.all(all.map(isReady))).every((ready) => ready),
    async stop() {
      for (const proxy of proxies.values()) proxy.heal()
      await Promise.all([...processes.values()].map((process) => process.stop()))
      await Promise.all([...proxies.values()].map((proxy) => proxy.close()))
      await ground.close()
    },
  }
}

async function freePorts(): Promise<Record<Service, number>> {
  return { customers: await freePort(), orders: await freePort(), orchestrator: await freePort() }
}

function commonSettings() {
  return {
    ...SETTINGS,
    JWT_SECRET: randomBytes(32).toString('hex'),
    SERVICE_TOKEN: randomBytes(32).toString('hex'),
  }
}

function databaseAt(
  { host, user, password }: Pick<DatabaseServer, 'host' | 'user' | 'password'>,
  port: number,
): Record<string, string> {
  return { DB_HOST: host, DB_PORT: String(port), DB_USER: user, DB_PASS: password, DB_NAME: 'b2b_faults' }
}

const at = (port: number) => ({ host: '127.0.0.1', port })

async function openProxies(own: Record<Service, number>, database: CrashableServer | undefined) {
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

function threePrograms(
  variables: Record<string, string>,
  own: Record<Service, number>,
  portOf: (proxy: ProxyName) => number,
) {
  const addressOf = (proxy: ProxyName) => `http://127.0.0.1:${portOf(proxy)}`
  const program = (name: Service, more: Record<string, string>) => ({
    name,
    file: `../src/entrypoints/${name}.ts`,
    port: own[name],
    variables: { ...variables, PORT: String(own[name]), ...more },
  })
  return [
    program('customers', { DB_PORT: String(portOf('customers → database')) }),
    program('orders', {
      DB_PORT: String(portOf('orders → database')),
      CUSTOMERS_API_BASE: addressOf('orders → customers'),
    }),
    program('orchestrator', {
      CUSTOMERS_API_BASE: addressOf('orchestrator → customers'),
      ORDERS_API_BASE: addressOf('orchestrator → orders'),
    }),
  ]
}

function oneProgram(variables: Record<string, string>, own: Record<Service, number>) {
  return {
    name: 'all' as const,
    file: '../src/entrypoints/all.ts',
    port: own.orchestrator,
    variables: {
      ...variables,
      CUSTOMERS_PORT: String(own.customers),
      ORDERS_PORT: String(own.orders),
      ORCHESTRATOR_PORT: String(own.orchestrator),
    },
  }
}

async function isReady(port: number): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${port}/ready`, { signal: AbortSignal.timeout(6_000) }).catch(
    () => undefined,
  )
  await response?.body?.cancel()
  return response?.status === 200
}

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endProcess, hasEnded } from '../scripts/children.ts'
import type { Env } from '../src/compose/env.ts'
import { SCOPES } from '../src/compose/modules.ts'
import { signToken } from '../src/identity/service.ts'
import { SCOPES } from '../src/platform/http/auth.ts'
import { apiClient } from '../testing/api-client.ts'
import { type DatabaseServer, freePort } from '../testing/database-server.ts'
import { buildPrograms, IMAGE_OPTIONS, IMAGE_VARIABLES, programIn } from './build.ts'
import { type Books, CUSTOMER, FIRST_PRODUCT, openShop, PRODUCTS, type Shop } from './fixture.ts'
import type { Ground, Service } from './workloads.ts'

export const SYSTEMS = ['baseline', 'services', 'one process', 'one process, SQLite'] as const
export type SystemName = (typeof SYSTEMS)[number]

/** Whatever is put under load, with a database of its own. */
export interface Contestant {
  name: string
  /** Ours must not fail. */
  ours: boolean
  ground: Ground
  /** Of its processes by what they do. */
  pids: ReadonlyMap<string, number>
  /** Processor time of its database so far, in ms; undefined where the machine does not say. */
  databaseCpuMs(): number | undefined
  /** What ended, if anything: the processes must all be there to the end. */
  ended(): string | undefined
  books(): Promise<Books>
  stop(): Promise<void>
}

/** A system that runs and is called through HTTP. */
export interface System extends Contestant {
  name: SystemName
  ports: Ports
  shop: Shop
}

type Ports = Record<Service, number>

interface Program {
  name: string
  file: string
  port: number | undefined
}

const CONFIRMED_ORDERS = 64
const START_LIMIT_MS = 30_000

/** @param nodeOptions what its processes are started with besides */
export async function startSystem(
  name: SystemName,
  server: DatabaseServer,
  folder: string,
  nodeOptions: readonly string[] = [],
): Promise<System> {
  if (!existsSync(join(folder, 'programs'))) await buildPrograms(folder)
  const ports = { customers: await freePort(), orders: await freePort(), orchestrator: await freePort() }
  const embedded = name === 'one process, SQLite'
  const where = embedded ? { DB_FILE: join(folder, 'b2b.sqlite') } : databaseVariables(server)
  const variables = variablesOf(ports, where)
  const shop = await openShop(variables)

  const label = name.replace(/\W+/g, '-')
  const options = name === 'services' ? [...IMAGE_OPTIONS, ...nodeOptions] : nodeOptions
  const own = name === 'services' ? { ...variables, ...IMAGE_VARIABLES } : variables
  const start = (program: Program) => startProgram(program, label, own, folder, options)
  const children = programsOf(name, ports, folder).map(start)
  const stop = async () => {
    await Promise.all(children.map(({ child }) => endProcess(child)))
    await shop.close()
  }
  const ended = () => children.find(({ child }) => hasEnded(child))?.name
  try {
    await Promise.all(Object.values(ports).map((port) => healthy(port, name, ended)))
    const ground = await groundOf(shop.env, ports)
    const pids = new Map(children.flatMap(({ name, child }) => (child.pid === undefined ? [] : [[name, child.pid]])))
    return {
      name,
      ours: name !== 'baseline',
      ports,
      ground,
      pids,
      // An embedded one works in the process itself.
      databaseCpuMs: () => (embedded ? 0 : cpuMsOf(server.pid)),
      ended,
      books: shop.books,
      shop,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** As in production, for all systems alike; the orchestrator is open to callers without a token, as it was asked for. */
function variablesOf(ports: Ports, where: Record<string, string>): Record<string, string> {
  return {
    NODE_ENV: 'production',
    LOG_LEVEL: 'info',
    ...where,
    DB_POOL: '10',
    JWT_SECRET: randomBytes(32).toString('hex'),
    SERVICE_TOKEN: randomBytes(32).toString('hex'),
    ORCHESTRATOR_PUBLIC: 'true',
    CUSTOMERS_PORT: String(ports.customers),
    ORDERS_PORT: String(ports.orders),
    ORCHESTRATOR_PORT: String(ports.orchestrator),
  }
}

/** Of a new database on this server. */
export function databaseVariables(server: DatabaseServer): Record<string, string> {
  return {
    DB_HOST: server.host,
    DB_PORT: String(server.port),
    DB_USER: server.user,
    DB_PASS: server.password,
    DB_NAME: `b2b_bench_${randomBytes(6).toString('hex')}`,
  }
}

function programsOf(name: SystemName, ports: Ports, folder: string): Program[] {
  const file = (program: string) =>
    programIn(folder, name === 'baseline' ? 'bench/baseline' : 'src/entrypoints', program)
  if (name.startsWith('one process')) return [{ name: 'all', file: file('all'), port: undefined }]
  const services = ['customers', 'orders', 'orchestrator'] as const
  return services.map((service) => ({ name: service, file: file(service), port: ports[service] }))
}

function startProgram(
  { name, file, port }: Program,
  label: string,
  variables: Record<string, string>,
  folder: string,
  nodeOptions: readonly string[],
) {
  const separate = port !== undefined && {
    PORT: String(port),
    CUSTOMERS_API_BASE: `http://127.0.0.1:${variables.CUSTOMERS_PORT}`,
    ORDERS_API_BASE: `http://127.0.0.1:${variables.ORDERS_PORT}`,
  }
  const out = openSync(join(folder, `${label}-${name}.log`), 'w')
  const err = openSync(join(folder, `${label}-${name}.err`), 'w')
  const child = spawn(process.execPath, [...nodeOptions, file], {
    // Where no .env is.
    cwd: folder,
    env: { PATH: process.env.PATH, ...variables, ...separate },
    stdio: ['ignore', out, err],
  })
  closeSync(out)
  closeSync(err)
  return { name, child }
}

async function healthy(port: number, name: SystemName, ended: () => string | undefined): Promise<void> {
  const until = Date.now() + START_LIMIT_MS
  while (Date.now() < until && ended() === undefined) {
    const response = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined)
    await response?.body?.cancel()
    if (response?.ok) return
    await sleep(50)
  }
  throw new Error(`${name} did not start`)
}

async function groundOf({ jwt }: Env, ports: Ports): Promise<Ground> {
  const client = { clientId: 'bench', scope: SCOPES.join(' '), customerId: null }
  const { access_token } = await signToken({ ...jwt, ttlSeconds: 6 * 3600 }, client)
  const ground = { token: access_token, customerId: CUSTOMER, firstProduct: FIRST_PRODUCT, products: PRODUCTS }
  return { ...ground, confirmed: await confirmSome(ports.orders, ground) }
}

/** Orders that are there to be read and confirmed again. */
async function confirmSome(port: number, ground: Omit<Ground, 'confirmed'>): Promise<Ground['confirmed']> {
  const orders = apiClient(`http://127.0.0.1:${port}`, ground.token)
  const post = async (path: string, body?: object, headers = {}) => {
    const { status, text, body: order } = await orders.post(path, body, { headers })
    if (status >= 300) throw new Error(`POST ${path} answered ${status}: ${text}`)
    return order
  }
  const confirmed: Ground['confirmed'] = []
  for (let i = 0; i < CONFIRMED_ORDERS; i++) {
    const product_id = ground.firstProduct + i
    const items = [0, 1].map((more) => ({ product_id: product_id + more, qty: 1 }))
    const { id } = await post('/orders', { customer_id: ground.customerId, items })
    const key = crypto.randomUUID()
    await post(`/orders/${id}/confirm`, undefined, { 'x-idempotency-key': key })
    confirmed.push({ id, key })
  }
  return confirmed
}

/** Linux counts a process's time in these, whatever the machine. */
const TICKS_PER_SECOND = 100

/** Processor time of a process so far, its own and the kernel's for it, in ms; undefined where the system does not say. */
export function cpuMsOf(pid: number | undefined): number | undefined {
  const stat = readProc(pid, 'stat')
  // The name, in parentheses, may hold anything. After it come the state and the rest; utime and stime are 12th and 13th.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields === undefined) return undefined
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND
}

/** Memory that a process holds, in MiB. */
export function rssMibOf(pid: number | undefined): number | undefined {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(pid, 'status') ?? '') ?? []
  return kib === undefined ? undefined : Number(kib) / 1024
}

function readProc(pid: number | undefined, file: string): string | undefined {
  if (pid === undefined) return undefined
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined
  }
}

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { endProcess, hasEnded } from '../scripts/children.ts'
import type { Env } from '../src/compose/env.ts'
import { apiClient } from '../testing/api-client.ts'
import type { DatabaseServer } from '../testing/database-server.ts'
import { newDatabaseVariables, newSecrets, tokenFor, type Variables } from '../testing/fixture.ts'
import {
  allInOneProgram,
  freePorts,
  launch,
  type Ports,
  type ServiceProgram,
  separatePrograms,
  untilUp,
} from '../testing/service-processes.ts'
import { buildPrograms, IMAGE_OPTIONS, IMAGE_VARIABLES, programIn } from './build.ts'
import {
  type BenchDatabase,
  type Books,
  CLIENT,
  CUSTOMER,
  FIRST_PRODUCT,
  openBenchDatabase,
  PRODUCTS,
} from './fixture.ts'
import type { Fixture } from './workloads.ts'

export const SYSTEMS = ['baseline', 'services', 'one process', 'one process, SQLite'] as const
export type SystemName = (typeof SYSTEMS)[number]

/** Anything that takes load, with a database of its own. */
export interface RunningSystem {
  name: string
  /** Whether it is this system, which must not fail. */
  ours: boolean
  fixture: Fixture
  /** Its processes by role. */
  pids: ReadonlyMap<string, number>
  /** Processor time of its database so far, in ms; undefined where the machine does not say. */
  databaseCpuMs(): number | undefined
  /** The name of a process that has ended, if any. */
  ended(): string | undefined
  books(): Promise<Books>
  stop(): Promise<void>
}

/** A system that is called through HTTP. */
export interface System extends RunningSystem {
  name: SystemName
  ports: Ports
  database: BenchDatabase
  /** Its processes run and log there. */
  folder: string
}

const CONFIRMED_ORDERS = 64

/** @param nodeOptions more options of its processes */
export async function startSystem(
  name: SystemName,
  server: DatabaseServer,
  folder: string,
  nodeOptions: readonly string[] = [],
): Promise<System> {
  if (!existsSync(join(folder, 'programs'))) await buildPrograms(folder)
  const ports = await freePorts()
  const embedded = name === 'one process, SQLite'
  const variables = { ...SETTINGS, ...newSecrets(), ...newDatabaseVariables(embedded ? undefined : server, folder) }
  const database = await openBenchDatabase(variables, { writesEvents: name !== 'baseline' })

  const options = name === 'services' ? [...IMAGE_OPTIONS, ...nodeOptions] : nodeOptions
  const logs = join(folder, name.replace(/\W+/g, '-'))
  mkdirSync(logs)
  const programs = programsOf(
    name,
    ports,
    name === 'services' ? { ...variables, ...IMAGE_VARIABLES } : variables,
    folder,
  )
  const children = programs.map((program) => launch(program, logs, options))
  const stop = async () => {
    await Promise.all(children.map(({ child }) => endProcess(child)))
    await database.close()
  }
  const ended = () => children.find(({ child }) => hasEnded(child))?.name
  try {
    await untilUp(Object.values(ports), children)
    const fixture = await fixtureOf(database.env, ports)
    const pids = new Map(children.flatMap(({ name, child }) => (child.pid === undefined ? [] : [[name, child.pid]])))
    return {
      name,
      ours: name !== 'baseline',
      ports,
      fixture,
      pids,
      // An embedded database works inside the process.
      databaseCpuMs: () => (embedded ? 0 : cpuMsOf(server.pid)),
      ended,
      books: database.books,
      database,
      folder: logs,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** As in production, the same for all systems. The orchestrator needs no token, as the contract has it. */
const SETTINGS = { NODE_ENV: 'production', LOG_LEVEL: 'info', DB_POOL: '10', ORCHESTRATOR_PUBLIC: 'true' }

function programsOf(name: SystemName, ports: Ports, variables: Variables, folder: string): ServiceProgram[] {
  const from = name === 'baseline' ? 'bench/baseline' : 'src/entrypoints'
  const fileOf = (program: string) => programIn(folder, from, program)
  if (name.startsWith('one process')) return [allInOneProgram(ports, variables, fileOf('all'))]
  return separatePrograms(ports, variables, {}, fileOf)
}

async function fixtureOf(env: Env, ports: Ports): Promise<Fixture> {
  const fixture = {
    token: await tokenFor(CLIENT, env),
    customerId: CUSTOMER,
    firstProduct: FIRST_PRODUCT,
    products: PRODUCTS,
  }
  return { ...fixture, confirmed: await confirmSome(ports.orders, fixture) }
}

/** Orders for the workloads that read and confirm again. */
async function confirmSome(port: number, fixture: Omit<Fixture, 'confirmed'>): Promise<Fixture['confirmed']> {
  const orders = apiClient(`http://127.0.0.1:${port}`, fixture.token)
  const post = async (path: string, body?: object, headers = {}) => {
    const { status, text, body: order } = await orders.post(path, body, { headers })
    if (status >= 300) throw new Error(`POST ${path} answered ${status}: ${text}`)
    return order
  }
  const confirmed: Fixture['confirmed'] = []
  for (let i = 0; i < CONFIRMED_ORDERS; i++) {
    const product_id = fixture.firstProduct + i
    const items = [0, 1].map((more) => ({ product_id: product_id + more, qty: 1 }))
    const { id } = await post('/orders', { customer_id: fixture.customerId, items })
    const key = crypto.randomUUID()
    await post(`/orders/${id}/confirm`, undefined, { 'x-idempotency-key': key })
    confirmed.push({ id, key })
  }
  return confirmed
}

/** Linux reports processor time in this unit on every machine. */
const TICKS_PER_SECOND = 100

/** User and system time of a process so far, in ms; undefined where the machine does not say. */
export function cpuMsOf(pid: number | undefined): number | undefined {
  const stat = readProc(pid, 'stat')
  // The name, in parentheses, may contain anything. Counted from the state after it, utime and stime are 12th and 13th.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields === undefined) return undefined
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND
}

/** Resident memory of a process, in MiB. */
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

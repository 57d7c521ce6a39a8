import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createConnection } from 'mysql2/promise'
import { endProcess, hasEnded } from '../../scripts/children.ts'
import { type DatabaseServer, freePort } from '../../testing/database-server.ts'
import { execute } from './commands.ts'

const SOURCES = fileURLToPath(new URL('../../src', import.meta.url))
const START_LIMIT_MS = 60_000

export const SERVICES = ['customers', 'orders', 'orchestrator'] as const
export type Service = (typeof SERVICES)[number]

/** The three services as processes, over a fresh database with the demo data. */
export interface Services {
  urls: Record<Service, string>
  /** Opens the routes that are for the services alone. */
  serviceToken: string
  /** The folder with the documents as the services serve them. */
  documents: string
  stop(): Promise<void>
}

/**
 * On MySQL each service is a process; a SQLite file has one process for all three.
 * @param server undefined for SQLite
 */
export async function startServices(
  server: DatabaseServer | undefined,
  folder: string,
  signal: AbortSignal,
): Promise<Services> {
  mkdirSync(folder, { recursive: true })
  const ports = { customers: await freePort(), orders: await freePort(), orchestrator: await freePort() }
  const urls = {
    customers: urlAt(ports.customers),
    orders: urlAt(ports.orders),
    orchestrator: urlAt(ports.orchestrator),
  }
  const serviceToken = randomBytes(32).toString('hex')
  const database = `b2b_clients_${randomBytes(6).toString('hex')}`
  const where = server ? databaseAt(server, database) : { DB_HOST: '', DB_FILE: join(folder, 'b2b.sqlite') }
  const variables = { ...SETTINGS, SERVICE_TOKEN: serviceToken, ...where }
  for (const command of ['migrate', 'seed']) {
    const log = join(folder, `${command}.log`)
    const file = join(SOURCES, 'commands', `${command}.ts`)
    await execute(process.execPath, [file], { cwd: folder, env: variables, limitMs: START_LIMIT_MS, log, signal })
  }
  const children = programsOf(server, ports, urls).map(({ name, own }) =>
    launch(name, { ...variables, ...own }, folder),
  )
  const stop = async () => {
    await Promise.all(children.map(endProcess))
    if (server) await dropDatabase(server, database)
  }
  try {
    for (const service of SERVICES) await waitUntilReady(urls[service], children, signal)
    return { urls, serviceToken, documents: await saveDocuments(urls, folder), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** No anonymous access, and rate limits that allow many wrong secrets. */
const SETTINGS = {
  NODE_ENV: 'development',
  LOG_LEVEL: 'warn',
  ORCHESTRATOR_PUBLIC: 'false',
  LOGIN_ATTEMPTS_PER_MINUTE: '1000000',
  JWT_SECRET: randomBytes(32).toString('hex'),
}

function databaseAt({ host, port, user, password }: DatabaseServer, name: string): Record<string, string> {
  return { DB_HOST: host, DB_PORT: String(port), DB_USER: user, DB_PASS: password, DB_NAME: name }
}

async function dropDatabase({ host, port, user, password }: DatabaseServer, name: string): Promise<void> {
  const connection = await createConnection({ host, port, user, password })
  await connection.query('drop database if exists ??', [name])
  await connection.end()
}

interface Starting {
  /** The name of the entrypoint. */
  name: string
  own: Record<string, string>
}

function programsOf(
  server: DatabaseServer | undefined,
  ports: Record<Service, number>,
  urls: Record<Service, string>,
): Starting[] {
  if (server === undefined) {
    const { customers, orders, orchestrator } = ports
    const own = { CUSTOMERS_PORT: `${customers}`, ORDERS_PORT: `${orders}`, ORCHESTRATOR_PORT: `${orchestrator}` }
    return [{ name: 'all', own }]
  }
  const upstreams = { CUSTOMERS_API_BASE: urls.customers, ORDERS_API_BASE: urls.orders }
  return SERVICES.map((name) => ({ name, own: { PORT: String(ports[name]), ...upstreams } }))
}

function launch(name: string, variables: Record<string, string>, folder: string): ChildProcess {
  const out = openSync(join(folder, `${name}.log`), 'a')
  const child = spawn(process.execPath, [join(SOURCES, 'entrypoints', `${name}.ts`)], {
    // A folder without a `.env`.
    cwd: folder,
    env: { PATH: process.env.PATH, ...variables },
    stdio: ['ignore', out, out],
  })
  closeSync(out)
  process.once('exit', () => child.kill('SIGKILL'))
  return child
}

async function waitUntilReady(url: string, children: ChildProcess[], signal: AbortSignal): Promise<void> {
  const end = Date.now() + START_LIMIT_MS
  while (Date.now() < end && !children.some(hasEnded)) {
    signal.throwIfAborted()
    const response = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined)
    await response?.body?.cancel()
    if (response?.ok) return
    await sleep(100)
  }
  throw new Error(`The service at ${url} did not start.`)
}

async function saveDocuments(urls: Record<Service, string>, folder: string): Promise<string> {
  const documents = join(folder, 'documents')
  mkdirSync(documents, { recursive: true })
  for (const service of SERVICES) {
    const response = await fetch(`${urls[service]}/openapi.json`, { signal: AbortSignal.timeout(5_000) })
    writeFileSync(join(documents, `${service}.json`), await response.text())
  }
  return documents
}

function urlAt(port: number): string {
  return `http://127.0.0.1:${port}`
}

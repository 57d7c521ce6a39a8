import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { hasEnded } from '../scripts/children.ts'
import { freePort } from './database-server.ts'
import type { Variables } from './fixture.ts'
import { SERVICES, type ServiceName } from './openapi.ts'

// The services as processes: three on a server, or one that is all of them.

export type Ports = Record<ServiceName, number>

export interface ServiceProgram<Name extends string = string> {
  name: Name
  file: string
  /** Answers `/health` when it is up. */
  port: number
  variables: Variables
}

const START_LIMIT_MS = 60_000
const LOG_TAIL_CHARS = 1_000

export async function freePorts(): Promise<Ports> {
  return { customers: await freePort(), orders: await freePort(), orchestrator: await freePort() }
}

export function urlAt(port: number): string {
  return `http://127.0.0.1:${port}`
}

/** Where the program of a service is, from its sources. */
function sourceOf(name: string): string {
  return fileURLToPath(new URL(`../src/entrypoints/${name}.ts`, import.meta.url))
}

/** @param own variables of one service that differ from those of all */
export function separatePrograms(
  ports: Ports,
  variables: Variables,
  own: Partial<Record<ServiceName, Variables>> = {},
  fileOf = sourceOf,
): ServiceProgram<ServiceName>[] {
  const upstreams = { CUSTOMERS_API_BASE: urlAt(ports.customers), ORDERS_API_BASE: urlAt(ports.orders) }
  return SERVICES.map((name) => {
    const all = { ...variables, ...upstreams, PORT: String(ports[name]), ...own[name] }
    return { name, file: fileOf(name), port: ports[name], variables: all }
  })
}

export function allInOneProgram(ports: Ports, variables: Variables, file = sourceOf('all')): ServiceProgram<'all'> {
  const own = {
    CUSTOMERS_PORT: String(ports.customers),
    ORDERS_PORT: String(ports.orders),
    ORCHESTRATOR_PORT: String(ports.orchestrator),
  }
  return { name: 'all', file, port: ports.orchestrator, variables: { ...variables, ...own } }
}

export interface ServiceProcess {
  name: string
  child: ChildProcess
  /** The end of what it logged. */
  logTail(): string
}

/** Starts a program in a folder that has no `.env`. It logs to a file there, and ends with this process. */
export function launch(
  { name, file, variables }: ServiceProgram,
  folder: string,
  nodeOptions: readonly string[] = [],
): ServiceProcess {
  const log = join(folder, `${name}.log`)
  const out = openSync(log, 'a')
  const child = spawn(process.execPath, [...nodeOptions, file], {
    cwd: folder,
    env: { PATH: process.env.PATH, ...variables },
    stdio: ['ignore', out, out],
  })
  closeSync(out)
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  return { name, child, logTail: () => readFileSync(log, 'utf8').slice(-LOG_TAIL_CHARS) }
}

export async function isUp(port: number, path: '/health' | '/ready' = '/health', limitMs = 5_000): Promise<boolean> {
  const response = await fetch(`${urlAt(port)}${path}`, { signal: AbortSignal.timeout(limitMs) }).catch(() => undefined)
  await response?.body?.cancel()
  return response?.ok ?? false
}

/** @throws Error when a process ends first or the time is over */
export async function untilUp(
  ports: readonly number[],
  processes: readonly ServiceProcess[],
  path: '/health' | '/ready' = '/health',
  signal?: AbortSignal,
): Promise<void> {
  const end = Date.now() + START_LIMIT_MS
  const waiting = new Set(ports)
  while (Date.now() < end && !processes.some(({ child }) => hasEnded(child))) {
    signal?.throwIfAborted()
    for (const port of waiting) if (await isUp(port, path)) waiting.delete(port)
    if (waiting.size === 0) return
    await sleep(50)
  }
  throw new Error(`the services did not start:\n${processes.map(({ logTail }) => logTail()).join('\n')}`)
}

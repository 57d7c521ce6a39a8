import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { endProcess } from '../../scripts/children.ts'
import { parseEnv } from '../../src/compose/env.ts'
import type { DatabaseServer } from '../../testing/database-server.ts'
import { dropDatabase, newDatabaseVariables, newSecrets } from '../../testing/fixture.ts'
import { SERVICES, type ServiceName } from '../../testing/openapi.ts'
import {
  allInOneProgram,
  freePorts,
  launch,
  separatePrograms,
  untilUp,
  urlAt,
} from '../../testing/service-processes.ts'
import { execute } from './commands.ts'

const SOURCES = fileURLToPath(new URL('../../src', import.meta.url))
const START_LIMIT_MS = 60_000

/** The three services as processes, over a fresh database with the demo data in it. */
export interface Services {
  urls: Record<ServiceName, string>
  /** Opens the routes that are for the services alone. */
  serviceToken: string
  /** The folder with the document of each, as the service serves it. */
  documents: string
  stop(): Promise<void>
}

/**
 * On MySQL each service is a process of its own; a SQLite file has one process that is all three.
 * @param server undefined for SQLite
 */
export async function startServices(
  server: DatabaseServer | undefined,
  folder: string,
  signal: AbortSignal,
): Promise<Services> {
  mkdirSync(folder, { recursive: true })
  const ports = await freePorts()
  const urls = {
    customers: urlAt(ports.customers),
    orders: urlAt(ports.orders),
    orchestrator: urlAt(ports.orchestrator),
  }
  const secrets = newSecrets()
  // An empty DB_HOST outweighs one of the caller's environment.
  const variables = { ...SETTINGS, ...secrets, DB_HOST: '', ...newDatabaseVariables(server, folder) }
  for (const command of ['migrate', 'seed']) {
    const log = join(folder, `${command}.log`)
    const file = join(SOURCES, 'commands', `${command}.ts`)
    await execute(process.execPath, [file], { cwd: folder, env: variables, limitMs: START_LIMIT_MS, log, signal })
  }
  const programs = server ? separatePrograms(ports, variables) : [allInOneProgram(ports, variables)]
  const children = programs.map((program) => launch(program, folder))
  const stop = async () => {
    await Promise.all(children.map(({ child }) => endProcess(child)))
    await dropDatabase(parseEnv(variables).database)
  }
  try {
    await untilUp(Object.values(ports), children, '/ready', signal)
    const documents = await saveDocuments(urls, folder)
    return { urls, serviceToken: secrets.SERVICE_TOKEN, documents, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Open to nobody without a token, and with room for programs that try many wrong secrets. */
const SETTINGS = {
  NODE_ENV: 'development',
  LOG_LEVEL: 'warn',
  ORCHESTRATOR_PUBLIC: 'false',
  LOGIN_ATTEMPTS_PER_MINUTE: '1000000',
}

async function saveDocuments(urls: Record<ServiceName, string>, folder: string): Promise<string> {
  const documents = join(folder, 'documents')
  mkdirSync(documents, { recursive: true })
  for (const service of SERVICES) {
    const response = await fetch(`${urls[service]}/openapi.json`, { signal: AbortSignal.timeout(5_000) })
    writeFileSync(join(documents, `${service}.json`), await response.text())
  }
  return documents
}

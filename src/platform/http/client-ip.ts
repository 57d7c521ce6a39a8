import { isIP, isIPv6 } from 'node:net'
import type { Context } from 'hono'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { Logger } from '../telemetry/logger.ts'

/** What whoever took the request says of its connection: Node's server its socket, Lambda the gateway's event. */
interface Connection {
  incoming?: { socket: { remoteAddress?: string } }
  requestContext?: { identity?: { sourceIp?: string }; http?: { sourceIp?: string }; elb?: object; serviceArn?: string }
}

const NOWHERE = 'nowhere'

/**
 * Where a request comes from, as an IPv4 address or an IPv6 network: of those, whoever has one address has them all.
 * @param trustedProxies the proxies of ours that it passes. Each writes at the right end of `X-Forwarded-For` whom it has
 *   it from; what is further left was said by the caller and is not believed. A gateway's event says it by itself; a
 *   load balancer's or VPC Lattice's has passed one proxy at least.
 */
export function addressOf(c: Context, trustedProxies: number): string {
  const own = gatewayAddress(c)
  if (own !== undefined) return networkOf(own)
  const peer = connectionOf(c).incoming?.socket.remoteAddress ?? NOWHERE
  const hops = [...(c.req.header('x-forwarded-for')?.split(',') ?? []), peer].map((hop) => hop.trim())
  const proxies = isFromBalancer(c) ? Math.max(1, trustedProxies) : trustedProxies
  const hop = hops[Math.max(0, hops.length - 1 - proxies)] ?? peer
  return networkOf(isIP(hop) === 0 ? peer : hop)
}

function connectionOf(c: Context): Connection {
  return unsafeCast<Connection>(c.env ?? {})
}

function gatewayAddress(c: Context): string | undefined {
  const { requestContext } = connectionOf(c)
  return requestContext?.identity?.sourceIp ?? requestContext?.http?.sourceIp
}

/** Nobody but ALB and VPC Lattice can invoke a function with such an event. */
function isFromBalancer(c: Context): boolean {
  const { requestContext } = connectionOf(c)
  return requestContext?.elb !== undefined || requestContext?.serviceArn !== undefined
}

const FORWARDING_HEADERS = ['x-forwarded-for', 'forwarded']

/**
 * Makes a check of requests that warns once a process of a proxy in front that `TRUSTED_PROXIES` does not count: all its
 * callers share one address then, and one login limit.
 * @param process what the services of one process share
 */
export function createProxyWarning(logger: Logger, process: { proxyWarned?: boolean }): (c: Context) => void {
  return (c) => {
    if (process.proxyWarned || gatewayAddress(c) !== undefined || isFromBalancer(c)) return
    const header = FORWARDING_HEADERS.find((name) => c.req.header(name) !== undefined)
    if (header === undefined) return
    process.proxyWarned = true
    logger.warn({ header }, 'a proxy seems to be in front, and TRUSTED_PROXIES is 0')
  }
}

const V4_IN_V6 = /^::ffff:(?=\d+\.)/i
const GROUPS = 8
const GROUPS_OF_NETWORK = 4

function networkOf(address: string): string {
  const plain = address.replace(V4_IN_V6, '').replace(/%.*$/, '')
  if (!isIPv6(plain)) return plain
  const shortest = new URL(`http://[${plain}]`).hostname.slice(1, -1)
  const [left = [], right = []] = shortest.split('::').map((part) => part.split(':').filter((group) => group !== ''))
  const zeros = Array<string>(GROUPS - left.length - right.length).fill('0')
  return `${[...left, ...zeros, ...right].slice(0, GROUPS_OF_NETWORK).join(':')}::/64`
}

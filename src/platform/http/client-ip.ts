import { isIP, isIPv6 } from 'node:net'
import type { Context } from 'hono'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { Logger } from '../telemetry/logger.ts'

/** The app's environment: Node's server gives the socket, Lambda the event of the gateway. */
interface Connection {
  incoming?: { socket: { remoteAddress?: string } }
  requestContext?: { identity?: { sourceIp?: string }; http?: { sourceIp?: string }; elb?: object; serviceArn?: string }
}

const NOWHERE = 'nowhere'

/**
 * The address of a caller: IPv4, or the IPv6 /64 network, because the holder of one IPv6 address has its whole network.
 * A gateway's event names the address itself. An event of a load balancer or VPC Lattice has passed at least one proxy.
 * @param trustedProxies how many trusted proxies a request passes. Each appends its peer to `X-Forwarded-For`; entries
 *   left of those are caller-controlled and ignored.
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

/** Only ALB and VPC Lattice can invoke a function with such an event, so it is trusted. */
function isFromBalancer(c: Context): boolean {
  const { requestContext } = connectionOf(c)
  return requestContext?.elb !== undefined || requestContext?.serviceArn !== undefined
}

const FORWARDING_HEADERS = ['x-forwarded-for', 'forwarded']

/**
 * Makes a check that warns, once a process, of a proxy that `TRUSTED_PROXIES` does not count. All callers behind such a
 * proxy share one address, and so one login limit.
 * @param process the state that the services of one process share
 */
export function createProxyWarning(logger: Logger, process: { proxyWarned?: boolean }): (c: Context) => void {
  return (c) => {
    if (process.proxyWarned || gatewayAddress(c) !== undefined || isFromBalancer(c)) return
    const header = FORWARDING_HEADERS.find((name) => c.req.header(name) !== undefined)
    if (header === undefined) return
    process.proxyWarned = true
    logger.warn({ event: 'untrusted_proxy', header }, 'a proxy seems to be in front, and TRUSTED_PROXIES is 0')
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

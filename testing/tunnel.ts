import { type SeenRequest, startFaultyProxy } from './faulty-proxy.ts'

export interface Tunnel {
  /** The header that skips the tunnel's interstitial page, and the status of that page. */
  header: string
  pageStatus: number
  /** The service behind the tunnel. */
  target: string
  /** The path below which the service is reached, as `/some/prefix`. */
  prefix?: string
}

export interface Tunnels {
  /** A `fetch` that reaches the hosts of the tunnels here, as if their names resolved. */
  fetch: typeof fetch
  /** Every URL that reached a tunnel, and whether the tunnel let it through. */
  seen: { url: string; passed: boolean }[]
}

export const PAGE = '<!DOCTYPE html><html><body><h1>You are about to visit a site</h1></body></html>'

const HOST = 'x-tunnel-host'
const real = fetch

/**
 * Stands in for the providers of tunnels until the test ends: a caller without the right header gets a page, as
 * browsers do; every other request reaches the service.
 * @param tunnels by their host
 */
export async function startTunnels(tunnels: Record<string, Tunnel>): Promise<Tunnels> {
  const seen: Tunnels['seen'] = []
  const tunnelOf = ({ headers }: SeenRequest) => tunnels[headers[HOST] ?? '']
  const proxy = await startFaultyProxy(
    (request) => `${tunnelOf(request)?.target}${request.path.slice(tunnelOf(request)?.prefix?.length ?? 0)}`,
    (request) => {
      const tunnel = tunnelOf(request)
      const { path, headers } = request
      const passed = tunnel !== undefined && tunnel.header in headers && path.startsWith(`${tunnel.prefix ?? ''}/`)
      seen.push({ url: `${headers[HOST]}${path.split('?')[0]}`, passed })
      if (passed) return 'none'
      return { status: tunnel?.pageStatus ?? 404, body: PAGE, headers: { 'content-type': 'text/html' } }
    },
  )
  const throughTunnels: typeof fetch = async (input, init) => {
    const request = new Request(input, init)
    const { hostname, protocol, pathname, search } = new URL(request.url)
    if (!(hostname in tunnels)) return real(request)
    if (protocol !== 'https:') throw new TypeError('tunnels are reached over https')
    const tunnelled = new Request(`${proxy.base}${pathname}${search}`, request)
    tunnelled.headers.set(HOST, hostname)
    return real(tunnelled)
  }
  return { fetch: throughTunnels, seen }
}

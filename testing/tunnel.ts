import { onTestFinished } from 'vitest'
import { serve } from '../src/platform/http/server.ts'

export interface Tunnel {
  /** What shows its interstitial page at the tunnel's edge: the name of the header that skips it, and the page's status. */
  header: string
  pageStatus: number
  /** The service behind it. */
  target: string
  /** The path below which the service lies, as `/some/prefix`. */
  prefix?: string
}

export interface Tunnels {
  /** A `fetch` that finds the tunnels' hosts here, as if they could be resolved, and all others where they are. */
  fetch: typeof fetch
  /** Every path that reached a tunnel, with its host, and whether it was let through. */
  seen: { url: string; passed: boolean }[]
}

export const PAGE = '<!DOCTYPE html><html><body><h1>You are about to visit a site</h1></body></html>'

const HOST = 'x-tunnel-host'
const real = fetch

/**
 * Stands in for the providers of tunnels until the test ends: a caller that does not send the right header is shown a
 * page, as browsers are; all else reaches the service.
 * @param tunnels by their host
 */
export async function startTunnels(tunnels: Record<string, Tunnel>): Promise<Tunnels> {
  const seen: Tunnels['seen'] = []
  const serving = await serve({ fetch: answer }, 0)
  onTestFinished(() => serving.close())

  async function answer(request: Request): Promise<Response> {
    const host = request.headers.get(HOST) ?? ''
    const { pathname, search } = new URL(request.url)
    const tunnel = tunnels[host]
    const prefix = tunnel?.prefix ?? ''
    const passed = tunnel !== undefined && request.headers.has(tunnel.header) && pathname.startsWith(`${prefix}/`)
    seen.push({ url: `${host}${pathname}`, passed })
    if (!passed) {
      return new Response(PAGE, { status: tunnel?.pageStatus ?? 404, headers: { 'content-type': 'text/html' } })
    }
    const url = `${tunnel.target}${pathname.slice(prefix.length)}${search}`
    const response = await real(url, await copyOf(request))
    return new Response(await response.arrayBuffer(), {
      status: response.status,
      headers: ownHeaders(response.headers),
    })
  }

  const tunnelled: typeof fetch = async (input, init) => {
    const request = new Request(input, init)
    const { hostname, protocol, pathname, search } = new URL(request.url)
    if (!(hostname in tunnels)) return real(request)
    if (protocol !== 'https:') throw new TypeError('tunnels are reached over https')
    const copy = await copyOf(request)
    copy.headers.set(HOST, hostname)
    return real(`http://127.0.0.1:${serving.port}${pathname}${search}`, { ...copy, signal: request.signal })
  }
  return { fetch: tunnelled, seen }
}

async function copyOf(request: Request) {
  const body = await request.text()
  return { method: request.method, headers: ownHeaders(request.headers), ...(body !== '' && { body }) }
}

const OF_THE_CONNECTION = [
  'connection',
  'content-encoding',
  'content-length',
  'host',
  'keep-alive',
  'transfer-encoding',
]

function ownHeaders(headers: Headers): Headers {
  return new Headers([...headers].filter(([name]) => !OF_THE_CONNECTION.includes(name)))
}

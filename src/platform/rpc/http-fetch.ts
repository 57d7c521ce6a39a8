import { Agent, request } from 'node:http'

/** The part of `fetch` that calls between services need. The global `fetch` fits this type. */
export type Fetch = (url: string, init: FetchInit) => Promise<Fetched> | Fetched

export interface FetchInit {
  method: string
  headers: Record<string, string>
  redirect: 'manual'
  signal: AbortSignal
  body?: string
}

export interface Fetched {
  status: number
  headers: { get(name: string): string | null }
  text(): Promise<string>
}

/** For calls to services: HTTP through {@link createHttpFetch}, HTTPS (used by tunnels) through `fetch`. */
export function createServiceFetch(): Fetch {
  const httpFetch = createHttpFetch()
  return (url, init) => (url.startsWith('http:') ? httpFetch(url, init) : fetch(url, init))
}

/**
 * HTTP over kept-alive connections. A request costs a third of one by `fetch`, and nothing is loaded at first use: the
 * first `fetch` spends processor time on that.
 */
export function createHttpFetch(): Fetch {
  const plain = new Agent({ keepAlive: true })
  let secure: Promise<typeof import('node:https') & { agent: Agent }> | undefined
  return async (url, init) => {
    if (url.startsWith('http:')) return exchange(request, url, { ...init, agent: plain })
    secure ??= import('node:https').then((https) => ({ ...https, agent: new https.Agent({ keepAlive: true }) }))
    const https = await secure
    return exchange(https.request, url, { ...init, agent: https.agent })
  }
}

function exchange(
  send: typeof request,
  url: string,
  { method, headers, body, signal, agent }: FetchInit & { agent: Agent },
): Promise<Fetched> {
  return new Promise((resolve, reject) => {
    const outgoing = send(url, { agent, method, headers, signal }, (incoming) => {
      const { statusCode = 0, headers: answered } = incoming
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (chunk: string) => {
        text += chunk
      })
      incoming.on('error', reject)
      incoming.on('end', () => {
        const get = (name: string) => answered[name]?.toString() ?? null
        resolve({ status: statusCode, headers: { get }, text: async () => text })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

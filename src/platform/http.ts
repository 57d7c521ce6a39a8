import { Agent, request } from 'node:http'

/** The part of `fetch` that calls between services need. `fetch` itself is one. */
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

/** HTTPS through `fetch`, plain HTTP through {@link createHttpFetch}. */
export function createServiceFetch(): Fetch {
  const httpFetch = createHttpFetch()
  return (url, init) => (url.startsWith('http:') ? httpFetch(url, init) : fetch(url, init))
}

/** Plain HTTP over connections that are kept, for services in one network. It takes a third of what `fetch` takes. */
export function createHttpFetch(): Fetch {
  const agent = new Agent({ keepAlive: true })
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const outgoing = request(url, { agent, method, headers, signal }, (incoming) => {
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

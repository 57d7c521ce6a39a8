import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { onTestFinished } from 'vitest'
import { listen } from './listen.ts'

export interface SeenRequest {
  method: string
  path: string
  headers: Record<string, string>
  body: string
}

/**
 * What happens to a request: nothing unusual; no response ever; the connection ends before the service gets the
 * request, or before the caller gets the response; or the proxy responds in place of the service.
 */
export type Fault =
  | 'none'
  | 'hang'
  | 'refuse'
  | 'lose the answer'
  | { status: number; body: string; headers?: Record<string, string> }

/** Decides on a request, which waits until then. `earlier` counts the requests before it with its method and path. */
export type FaultOf = (request: SeenRequest, earlier: number) => Fault | Promise<Fault>

export interface FaultyProxy {
  base: string
  /** Every request, in order. */
  seen: SeenRequest[]
  /** The requests whose path ends so. */
  seenAt(ending: string): SeenRequest[]
}

/**
 * An HTTP proxy that records requests and breaks some of them, until the test ends.
 * @param target the base URL of the service, or what gives the URL of a request
 */
export async function startFaultyProxy(
  target: string | ((request: SeenRequest) => string),
  faultOf: FaultOf,
): Promise<FaultyProxy> {
  const seen: SeenRequest[] = []
  const urlOf = typeof target === 'string' ? ({ path }: SeenRequest) => `${target}${path}` : target
  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => incoming.socket.destroy())
  })

  async function handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const request = await read(incoming)
    const earlier = seen.filter(({ method, path }) => method === request.method && path === request.path).length
    seen.push(request)
    const fault = await faultOf(request, earlier)
    if (fault === 'hang') return
    if (fault === 'refuse') incoming.socket.destroy()
    else if (typeof fault === 'object') {
      outgoing.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers }).end(fault.body)
    } else {
      const response = await forward(urlOf(request), request)
      if (fault === 'lose the answer') incoming.socket.destroy()
      else outgoing.writeHead(response.status, response.headers).end(response.body)
    }
  }

  const port = await listen(server)
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return {
    base: `http://127.0.0.1:${port}`,
    seen,
    seenAt: (ending) => seen.filter(({ path }) => path.endsWith(ending)),
  }
}

/** A fault for the requests whose path ends so, and none for the others. */
export function at(ending: string, fault: Fault): FaultOf {
  return ({ path }) => (path.endsWith(ending) ? fault : 'none')
}

/** Headers of the connection, and of an encoding that `fetch` has undone. */
const NOT_FORWARDED = ['connection', 'content-encoding', 'content-length', 'host', 'keep-alive', 'transfer-encoding']

async function read(incoming: IncomingMessage): Promise<SeenRequest> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  const headers = Object.entries(incoming.headers).flatMap(([name, value]) =>
    typeof value === 'string' ? [[name, value] as const] : [],
  )
  return {
    method: incoming.method ?? '',
    path: incoming.url ?? '',
    headers: Object.fromEntries(headers),
    body: Buffer.concat(chunks).toString(),
  }
}

async function forward(url: string, { method, headers, body }: SeenRequest) {
  const response = await fetch(url, {
    method,
    headers: ownHeaders(Object.entries(headers)),
    redirect: 'manual',
    ...(body !== '' && { body }),
  })
  return { status: response.status, headers: ownHeaders(response.headers), body: await response.text() }
}

function ownHeaders(headers: Iterable<[string, string]>): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => !NOT_FORWARDED.includes(name)))
}

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { onTestFinished } from 'vitest'
import { freePort } from './database-server.ts'

export interface SeenRequest {
  method: string
  path: string
  headers: Record<string, string>
  body: string
}

/**
 * What happens to a request: nothing unusual; no answer ever; a connection that ends before the service hears of it;
 * a service that does it, and an answer that is lost on the way back; an answer in the service's place.
 */
export type Fault =
  | 'none'
  | 'hang'
  | 'refuse'
  | 'lose the answer'
  | { status: number; body: string; headers?: Record<string, string> }

/** Decides about a request; while it is undecided the request waits. `earlier` counts the like ones before it. */
export type FaultOf = (request: SeenRequest, earlier: number) => Fault | Promise<Fault>

export interface FaultyProxy {
  base: string
  /** Every request that came, in order. */
  seen: SeenRequest[]
  /** Those whose path ends so. */
  seenAt(ending: string): SeenRequest[]
}

/** Stands in front of a service until the test ends, notes what comes, and breaks what it is told to. */
export async function startFaultyProxy(target: string, faultOf: FaultOf): Promise<FaultyProxy> {
  const seen: SeenRequest[] = []
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
      const answer = await forward(target, request)
      if (fault === 'lose the answer') incoming.socket.destroy()
      else outgoing.writeHead(answer.status, answer.headers).end(answer.body)
    }
  }

  const port = await freePort()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
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

const OF_THE_CONNECTION = new Set(['connection', 'content-length', 'host', 'keep-alive', 'transfer-encoding'])

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

async function forward(target: string, { method, path, headers, body }: SeenRequest) {
  const response = await fetch(`${target}${path}`, {
    method,
    headers: ownHeaders(Object.entries(headers)),
    redirect: 'manual',
    ...(body !== '' && { body }),
  })
  return { status: response.status, headers: ownHeaders(response.headers), body: await response.text() }
}

function ownHeaders(headers: Iterable<[string, string]>): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => !OF_THE_CONNECTION.has(name)))
}

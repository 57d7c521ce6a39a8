import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { trusted } from './trusted.ts'

export interface Serving {
  port: number
  /** Stops accepting, lets what runs finish, resolves when nothing is left. */
  close(): Promise<void>
}

const IDLE_CHECK_MS = 50

/** Serves an app over HTTP. Port 0 takes a free one. Rejects when the port can't be had. */
export function serve(
  app: { fetch: (request: Request) => Response | Promise<Response> },
  port: number,
): Promise<Serving> {
  const server = trusted<Server>(createAdaptorServer({ fetch: app.fetch }))
  const unused = trackUnused(server)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => {
      const address = trusted<AddressInfo>(server.address())
      resolve({ port: address.port, close: () => drain(server, unused) })
    })
  })
}

/** Connections without a request so far, such as browsers and load balancers open ahead of need. */
function trackUnused(server: Server): ReadonlySet<Socket> {
  const unused = new Set<Socket>()
  server.on('connection', (socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  server.on('request', (request) => unused.delete(request.socket))
  return unused
}

function drain(server: Server, unused: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    // A kept-alive connection becomes idle only when its answer is out; until then it holds the server open.
    // An unused one would too, for as long as its first request may take to come: Node does not count it as idle.
    const idle = setInterval(() => {
      server.closeIdleConnections()
      for (const socket of unused) if (socket.bytesRead === 0) socket.destroy()
    }, IDLE_CHECK_MS)
    server.close(() => {
      clearInterval(idle)
      resolve()
    })
  })
}

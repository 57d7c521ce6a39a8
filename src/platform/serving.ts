import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
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
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => {
      const address = trusted<AddressInfo>(server.address())
      resolve({ port: address.port, close: () => drain(server) })
    })
  })
}

function drain(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // A kept-alive connection becomes idle only when its answer is out; until then it holds the server open.
    const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
    server.close(() => {
      clearInterval(idle)
      resolve()
    })
  })
}

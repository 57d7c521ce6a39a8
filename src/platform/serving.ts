import { type Server, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createAdaptorServer } from '@hono/node-server'
import { ALWAYS } from './answers.ts'
import { AppError } from './errors.ts'
import { problemDocument } from './problems.ts'
import { trusted } from './trusted.ts'

export interface Serving {
  port: number
  /** Stops accepting, lets what runs finish, resolves when nothing is left. */
  close(): Promise<void>
}

/** What a caller may take. All times in ms. */
export interface ServingLimits {
  /** A request must have arrived whole within this time of its first byte, its headers within half of it. */
  requestMs: number
  /** How long a connection is kept without a request. Longer than a load balancer's own time, so that it is never the one surprised. */
  keepAliveMs: number
}

const LIMITS: ServingLimits = { requestMs: 15_000, keepAliveMs: 65_000 }
const LARGEST_HEADERS_BYTES = 16 * 1024
const MOST_HEADERS = 100
const LATE_CHECK_MS = 1_000
const IDLE_CHECK_MS = 50

/** Serves an app over HTTP. Port 0 takes a free one. Rejects when the port can't be had. */
export function serve(
  app: { fetch: (request: Request) => Response | Promise<Response> },
  port: number,
  { requestMs, keepAliveMs }: ServingLimits = LIMITS,
): Promise<Serving> {
  const serverOptions = {
    requestTimeout: requestMs,
    headersTimeout: requestMs / 2,
    keepAliveTimeout: keepAliveMs,
    connectionsCheckingInterval: LATE_CHECK_MS,
    maxHeaderSize: LARGEST_HEADERS_BYTES,
  }
  const server = trusted<Server>(createAdaptorServer({ fetch: app.fetch, serverOptions }))
  server.maxHeadersCount = MOST_HEADERS
  server.on('clientError', refuseConnection)
  const unused = trackUnused(server)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => {
      const address = trusted<AddressInfo>(server.address())
      resolve({ port: address.port, close: () => drain(server, unused) })
    })
  })
}

const REFUSALS: Record<string, AppError> = {
  ERR_HTTP_REQUEST_TIMEOUT: new AppError('request_timeout', 'The request did not arrive in time.'),
  HPE_HEADER_OVERFLOW: new AppError(
    'headers_too_large',
    `The headers are larger than ${LARGEST_HEADERS_BYTES / 1024} KiB.`,
  ),
}
const MALFORMED = new AppError('malformed_request', 'The request could not be read as HTTP/1.1.')

/** What never became a request is answered with a problem document all the same, and its connection ends. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const problem = problemDocument(REFUSALS[error.code ?? ''] ?? MALFORMED, crypto.randomUUID())
  const body = JSON.stringify(problem)
  const headers = {
    ...ALWAYS,
    'x-correlation-id': problem.request_id,
    'content-type': 'application/problem+json',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${head.join('')}\r\n${body}`)
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

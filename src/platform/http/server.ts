import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { type AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { getRequestListener, RequestError } from '@hono/node-server'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import type { Logger } from '../telemetry/logger.ts'
import { NO_TELEMETRY, type Telemetry } from '../telemetry/telemetry.ts'
import { problemDocument } from './problem-document.ts'
import { type CountRefusal, createRefusalCount } from './refusal-log.ts'
import { ALWAYS } from './response.ts'

export interface Serving {
  port: number
  /** Stops accepting, lets requests in flight finish, and resolves when no connection is left. */
  close(): Promise<void>
}

/** Limits on what callers may use. All times in ms. */
export interface ServingLimits {
  /** A request must arrive whole within this time of its first byte, its headers within half of the time. */
  requestMs: number
  /** How long an idle connection is kept: longer than a load balancer keeps it, so that the balancer closes first. */
  keepAliveMs: number
  /** How long a connection may transfer nothing during a request: its caller does not read the response. */
  stallMs: number
  /** Connections that may be open at once. A further one is closed. */
  maxConnections: number
  /** The address to listen on; undefined is every address of the machine. */
  host?: string | undefined
}

const LIMITS: ServingLimits = { requestMs: 15_000, keepAliveMs: 65_000, stallMs: 120_000, maxConnections: 10_000 }
const MAX_HEADERS_BYTES = 16 * 1024
const MAX_HEADERS = 100
const LATE_CHECK_MS = 1_000
/** The listen backlog. Node accepts one connection a turn of the event loop; the kernel drops those past it. */
const MAX_UNACCEPTED = 4_096
const IDLE_CHECK_MS = 50
/** How long a stop waits, after the last response, for the rest of requests that have arrived in part. */
const PART_WAIT_MS = 1_000
/** How long a refused caller may take to read the refusal. Its input is dropped, then its connection destroyed. */
const LINGER_MS = 500
/** The host of an HTTP/1.0 request without `Host`. No response depends on it. */
const NO_HOST = 'localhost'

/** The connection of a request. An app sees it as its environment. */
export interface Connection {
  incoming: IncomingMessage | Http2ServerRequest
}

/**
 * Serves an app over HTTP. Port 0 takes a free port. Rejects when the server can't listen on the port.
 * @param logger logs refusals of requests that the app did not see
 * @param telemetry counts these refusals
 */
export function serve(
  app: { fetch: (request: Request, connection: Connection) => Response | Promise<Response> },
  port: number,
  { requestMs, keepAliveMs, stallMs, maxConnections, host }: ServingLimits = LIMITS,
  logger?: Logger,
  telemetry: Telemetry = NO_TELEMETRY,
): Promise<Serving> {
  const countRefusal = createRefusalCount(telemetry, logger)
  const serverOptions = {
    requestTimeout: requestMs,
    headersTimeout: requestMs / 2,
    keepAliveTimeout: keepAliveMs,
    connectionsCheckingInterval: LATE_CHECK_MS,
    maxHeaderSize: MAX_HEADERS_BYTES,
    // `hasValidHost` checks the header: Node's own refusal is no problem document.
    requireHostHeader: false,
  }
  const handle = (request: Request, connection: Connection) => {
    const { incoming } = connection
    if (!NAMES_USER.test(request.url) && hasValidHost(incoming)) return app.fetch(request, connection)
    return refuse(MALFORMED, countRefusal, incoming.socket.remoteAddress)
  }
  // A request with an invalid host or target can't be handed to the app.
  const errorHandler = (error: unknown) => refuse(error instanceof RequestError ? MALFORMED : UNFORESEEN, countRefusal)
  const server = createServer(serverOptions, getRequestListener(handle, { errorHandler, hostname: NO_HOST }))
  server.timeout = stallMs
  server.maxHeadersCount = MAX_HEADERS
  server.on('clientError', createConnectionRefusal(trackResponses(server), countRefusal))
  // Ignores an unknown `Expect` header, which Node would refuse with a 417.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
  const unused = trackUnused(server)
  const inFlight = trackUnderWay(server)
  boundConnections(server, maxConnections, countRefusal)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog: MAX_UNACCEPTED }, () => {
      const address = unsafeCast<AddressInfo>(server.address())
      resolve({ port: address.port, close: () => drain(server, unused, inFlight) })
    })
  })
}

/** User information in a URL is an error (RFC 9110, section 4.2.4), and no `Request` can be made from such a URL. */
const NAMES_USER = /^https?:\/\/[^/?#]*@/

const REFUSALS: Record<string, AppError> = {
  ERR_HTTP_REQUEST_TIMEOUT: new AppError(PLATFORM_ERRORS.request_timeout, 'The request did not arrive in time.'),
  HPE_HEADER_OVERFLOW: new AppError(
    PLATFORM_ERRORS.headers_too_large,
    `The headers are larger than ${MAX_HEADERS_BYTES / 1024} KiB, or more than ${MAX_HEADERS}.`,
  ),
}
const MALFORMED = new AppError(PLATFORM_ERRORS.malformed_request, 'The request could not be read as HTTP/1.1.')
const UNFORESEEN = new AppError(PLATFORM_ERRORS.internal_error, 'The request failed. It may be sent again.')

/** RFC 9112, section 3.2: an HTTP/1.1 request has a `Host`, and no request has two. */
function hasValidHost({ httpVersion, headers, rawHeaders }: Connection['incoming']): boolean {
  const hosts = rawHeaders.filter((name, i) => i % 2 === 0 && name.length === 4 && name.toLowerCase() === 'host')
  return hosts.length < 2 && (httpVersion === '1.0' || Boolean(headers.host))
}

/** The response to the last request of each connection. */
function trackResponses(server: Server): WeakMap<Duplex, ServerResponse> {
  const answers = new WeakMap<Duplex, ServerResponse>()
  server.on('request', (request, response) => answers.set(request.socket, response))
  return answers
}

/**
 * Sends a problem document for input that never became a request, then ends the connection: at once when the caller has
 * read the document, and after {@link LINGER_MS} in any case.
 */
function createConnectionRefusal(answers: WeakMap<Duplex, ServerResponse>, countRefusal: CountRefusal) {
  const refused = new WeakSet<Duplex>()
  return (error: NodeJS.ErrnoException, socket: Duplex): void => {
    // Bytes after the refused part of a stream are no request either.
    if (refused.has(socket)) return
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    refused.add(socket)
    const response = answers.get(socket)
    if (response?.req.complete && !response.writableEnded) {
      // A refusal now would be read as the response to the previous request, which may have succeeded.
      response.shouldKeepAlive = false
      return
    }
    const { status, headers, body } = refusalOf(REFUSALS[error.code ?? ''] ?? MALFORMED)
    countRefusal(String(status), socket instanceof Socket ? socket.remoteAddress : undefined)
    const all = { ...headers, 'content-length': String(Buffer.byteLength(body)) }
    const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head.join('')}\r\n${body}`)
    const lingering = setTimeout(() => socket.destroy(), LINGER_MS)
    socket.once('close', () => clearTimeout(lingering))
  }
}

function refuse(error: AppError, countRefusal: CountRefusal, address?: string): Response {
  const { status, headers, body } = refusalOf(error)
  countRefusal(String(status), address)
  return new Response(body, { status, headers })
}

function refusalOf(error: AppError) {
  const problem = problemDocument(error, crypto.randomUUID())
  const headers = {
    ...ALWAYS,
    'x-correlation-id': problem.request_id,
    'content-type': 'application/problem+json',
    connection: 'close',
  }
  return { status: problem.status, headers, body: JSON.stringify(problem) }
}

/** Connections without a request so far. Browsers and load balancers open such connections ahead of need. */
function trackUnused(server: Server): ReadonlySet<Socket> {
  const unused = new Set<Socket>()
  server.on('connection', (socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  server.on('request', (request) => unused.delete(request.socket))
  return unused
}

/** The responses that are not finished yet, with their requests. */
function trackUnderWay(server: Server): ReadonlySet<ServerResponse> {
  const inFlight = new Set<ServerResponse>()
  server.on('request', (_, response) => {
    inFlight.add(response)
    response.once('close', () => inFlight.delete(response))
  })
  return inFlight
}

/** Bounds open connections: each takes a file descriptor and some memory, even before its first request. */
function boundConnections(server: Server, max: number, countRefusal: CountRefusal): void {
  let open = 0
  server.on('connection', (socket) => {
    if (open >= max) {
      countRefusal('connection', socket.remoteAddress)
      socket.destroy()
      return
    }
    open++
    socket.once('close', () => open--)
  })
}

function drain(server: Server, unused: ReadonlySet<Socket>, inFlight: ReadonlySet<ServerResponse>): Promise<void> {
  return new Promise((resolve) => {
    let respondedAt = performance.now()
    // A kept-alive connection becomes idle only after its response; until then it holds the server open.
    // Node does not count an unused connection as idle: it would hold the server open until its request times out.
    const idle = setInterval(() => {
      server.closeIdleConnections()
      for (const socket of unused) if (socket.bytesRead === 0) socket.destroy()
      // A request that has not arrived whole has had no effect: its caller may send it again to another instance.
      if ([...inFlight].some(({ req }) => req.complete)) respondedAt = performance.now()
      else if (performance.now() - respondedAt > PART_WAIT_MS) server.closeAllConnections()
    }, IDLE_CHECK_MS)
    server.close(() => {
      clearInterval(idle)
      resolve()
    })
  })
}

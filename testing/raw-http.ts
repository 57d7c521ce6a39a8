import { connect, type Socket } from 'node:net'

// HTTP/1.1 over a bare socket: for load, because it costs a fraction of `fetch`, and for requests that `fetch` would
// correct. Text on the wire is latin1: one character is one byte.

const MAX_RESPONSE_MS = 15_000
/** Shorter than a server's keep-alive, so that no connection is used at the moment the server closes it. */
const MAX_IDLE_MS = 3_000
const END_OF_HEAD = '\r\n\r\n'

export interface HttpRequest {
  method: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  /** Sent as JSON. */
  body?: object
}

/** The bytes of a request whose body is ASCII. */
export function encodeRequest({ method, path, headers = {}, body }: HttpRequest): string {
  // Escaped, so that the text has as many bytes as characters.
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  const text = body === undefined ? '' : JSON.stringify(body).replace(/[\u0080-\uffff]/g, escaped)
  const fields = {
    host: '127.0.0.1',
    ...headers,
    ...(body !== undefined && { 'content-type': 'application/json' }),
    ...(method === 'POST' && { 'content-length': String(text.length) }),
  }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${head.join('')}\r\n${text}`
}

export interface RawResponse {
  status: number
  /** The status line and the headers, as received. */
  head: string
  text: string
  /** Bytes that it took of what was received. */
  length: number
}

/** Reads one response; undefined while it is incomplete. @throws RawHttpError when it is not HTTP */
export type ReadResponse = (received: string, isClosed: boolean) => RawResponse | undefined

/** Why there is no response. `cut off`: the connection ended inside the response. */
export class RawHttpError extends Error {
  readonly kind: 'no response' | 'cut off' | 'late' | 'malformed'

  constructor(kind: RawHttpError['kind'], message: string) {
    super(message)
    this.kind = kind
  }
}

/** One connection, with one request in flight at a time. */
export class RawConnection {
  readonly #socket: Socket
  readonly #limitMs: number
  #received = ''
  #failure: Error | undefined
  #pending: { read: ReadResponse; resolve(response: RawResponse): void; reject(error: Error): void } | undefined

  /** @param limitMs the longest silence of the server */
  constructor(port: number, limitMs = MAX_RESPONSE_MS) {
    this.#limitMs = limitMs
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.setTimeout(limitMs, () => {
      this.#socket.destroy(new RawHttpError('late', `no response within ${limitMs / 1000} s`))
    })
    let reason: Error | undefined
    this.#socket.on('data', (text: string) => this.#receive(text))
    this.#socket.on('error', (error) => {
      reason = error
    })
    this.#socket.on('close', () => this.#fail(reason))
  }

  /** Whether it can send, as far as is known. */
  get open(): boolean {
    return this.#failure === undefined && !this.#socket.destroyed
  }

  /** Bytes received after the last response. */
  get leftOver(): number {
    return this.#received.length
  }

  send(request: string, read: ReadResponse = readQuickly): Promise<RawResponse> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure)
      this.#pending = { read, resolve, reject }
      this.#received = ''
      // A write restarts the timer, but not while the socket connects.
      if (this.#socket.connecting) this.#socket.setTimeout(this.#limitMs)
      this.#socket.write(request, 'latin1')
    })
  }

  /** Whether the server closes it in time. */
  closesWithin(ms: number): Promise<boolean> {
    if (this.#failure) return Promise.resolve(true)
    return new Promise((resolve) => {
      const late = setTimeout(() => resolve(false), ms)
      this.#socket.once('close', () => {
        clearTimeout(late)
        resolve(true)
      })
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(text: string): void {
    this.#received += text
    this.#settle(false)
  }

  #settle(isClosed: boolean): void {
    const pending = this.#pending
    if (pending === undefined) return
    try {
      const response = pending.read(this.#received, isClosed)
      if (response === undefined) return
      this.#received = this.#received.slice(response.length)
      this.#pending = undefined
      pending.resolve(response)
    } catch (error) {
      this.#pending = undefined
      pending.reject(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #fail(reason: Error | undefined): void {
    const kind = this.#received === '' ? 'no response' : 'cut off'
    this.#failure =
      reason instanceof RawHttpError ? reason : new RawHttpError(kind, reason?.message ?? 'socket hang up')
    this.#settle(true)
    this.#pending?.reject(this.#failure)
    this.#pending = undefined
  }
}

/** Kept connections to one port: the one used last comes first, and new ones open while all are busy, up to a maximum. */
export class ConnectionPool {
  /** How many were opened. */
  opened = 0
  readonly #port: number
  readonly #maxConnections: number
  readonly #idle: { connection: RawConnection; since: number }[] = []
  #busy = 0

  constructor(port: number, maxConnections = Number.POSITIVE_INFINITY) {
    this.#port = port
    this.#maxConnections = maxConnections
  }

  /** @returns undefined when all connections are busy @param signal gives the request up and closes its connection */
  send(request: string, read?: ReadResponse, signal?: AbortSignal): Promise<RawResponse> | undefined {
    const connection = this.#takeIdle() ?? (this.#busy < this.#maxConnections ? this.#openOne() : undefined)
    return connection && this.#use(connection, request, read, signal)
  }

  async #use(connection: RawConnection, request: string, read?: ReadResponse, signal?: AbortSignal) {
    this.#busy++
    signal?.addEventListener('abort', () => connection.close())
    try {
      const response = await connection.send(request, read)
      if (/\r\nconnection: *close/i.test(response.head)) connection.close()
      else this.#idle.push({ connection, since: performance.now() })
      return response
    } catch (error) {
      connection.close()
      throw error
    } finally {
      this.#busy--
    }
  }

  #takeIdle(): RawConnection | undefined {
    const oldest = performance.now() - MAX_IDLE_MS
    for (;;) {
      const { connection, since } = this.#idle.pop() ?? {}
      if (connection === undefined || since === undefined) return undefined
      if (connection.open && since > oldest) return connection
      connection.close()
    }
  }

  #openOne(): RawConnection {
    this.opened++
    return new RawConnection(this.#port)
  }
}

/**
 * For load: trusts the server to send nothing after the response. A chunked body keeps its framing; JSON has no line
 * that is a lone zero, so that the last chunk ends it.
 */
function readQuickly(received: string): RawResponse | undefined {
  const end = received.indexOf(END_OF_HEAD)
  if (end === -1) return undefined
  const head = received.slice(0, end)
  const text = received.slice(end + END_OF_HEAD.length)
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? []
  const whole = length === undefined ? text.endsWith('0\r\n\r\n') : text.length >= Number(length)
  return whole ? { status: Number(head.slice(9, 12)), head, text, length: received.length } : undefined
}

/** Reads as RFC 9112 has it: interim responses are skipped, and the body ends where its framing says. */
export function readExactly(method: string): ReadResponse {
  return (received, isClosed) => readFinal(received, 0, method, isClosed)
}

function readFinal(received: string, from: number, method: string, isClosed: boolean): RawResponse | undefined {
  const end = received.indexOf(END_OF_HEAD, from)
  if (end === -1) {
    if (!'HTTP/1.1 '.startsWith(received.slice(from, from + 9))) throw new RawHttpError('malformed', NOT_HTTP)
    return undefined
  }
  const head = received.slice(from, end)
  const [, code] = /^HTTP\/1\.1 (\d{3})( |\r|$)/.exec(head) ?? []
  if (code === undefined) throw new RawHttpError('malformed', NOT_HTTP)
  const status = Number(code)
  const start = end + END_OF_HEAD.length
  if (status < 200) return readFinal(received, start, method, isClosed)
  if (method === 'HEAD' || status === 204 || status === 304) return { status, head, text: '', length: start }
  const body = readBody(received.slice(start), head, isClosed)
  return body && { status, head, text: body.text, length: start + body.length }
}

const NOT_HTTP = 'the response is not HTTP'

interface Body {
  text: string
  length: number
}

function readBody(received: string, head: string, isClosed: boolean): Body | undefined {
  if (/\r\ntransfer-encoding: *chunked *(\r|$)/i.test(head)) return readChunks(received)
  const [, stated] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? []
  if (stated === undefined) return isClosed ? { text: received, length: received.length } : undefined
  const length = Number(stated)
  return received.length < length ? undefined : { text: received.slice(0, length), length }
}

function readChunks(received: string): Body | undefined {
  const chunks: string[] = []
  for (let at = 0; ; ) {
    const line = received.indexOf('\r\n', at)
    if (line === -1) return undefined
    const size = Number.parseInt(received.slice(at, line), 16)
    if (Number.isNaN(size)) throw new RawHttpError('malformed', 'the response has a chunk without a length')
    const next = line + 2 + size + 2
    if (received.length < next) return undefined
    if (size === 0) return { text: chunks.join(''), length: next }
    chunks.push(received.slice(line + 2, line + 2 + size))
    at = next
  }
}

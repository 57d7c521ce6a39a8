import { connect, type Socket } from 'node:net'

const MAX_RESPONSE_MS = 15_000

export interface HttpRequest {
  method: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  body?: object
}

/** A request as it goes over the wire. */
export function textOf({ method, path, headers = {}, body }: HttpRequest): string {
  const text = body === undefined ? '' : JSON.stringify(body)
  const fields = {
    host: '127.0.0.1',
    ...headers,
    ...(body !== undefined && { 'content-type': 'application/json' }),
    ...(method === 'POST' && { 'content-length': String(text.length) }),
  }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${head.join('')}\r\n${text}`
}

export interface Answer {
  status: number
  text: string
}

/** With its first lines, as they came. */
export interface WireResponse extends Answer {
  head: string
}

/** One connection of HTTP/1.1, with one request under way at a time. */
export class Connection {
  readonly #socket: Socket
  #received = ''
  #failure: Error | undefined
  #waiting: { resolve(response: WireResponse): void; reject(error: Error): void } | undefined

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    // A character a byte, so that lengths are those of the headers.
    this.#socket.setEncoding('latin1')
    this.#socket.setTimeout(MAX_RESPONSE_MS, () => this.#socket.destroy(new Error('no answer in time')))
    this.#socket.on('data', (text: string) => this.#receive(text))
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the connection was closed')))
  }

  /** Whether it can be asked, as far as is known. */
  get open(): boolean {
    return this.#failure === undefined
  }

  ask(request: string): Promise<WireResponse> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure)
      this.#waiting = { resolve, reject }
      this.#received = ''
      this.#socket.write(request, 'latin1')
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(text: string): void {
    this.#received += text
    const response = wholeResponse(this.#received)
    if (response === undefined) return
    this.#waiting?.resolve(response)
    this.#waiting = undefined
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#waiting?.reject(this.#failure)
    this.#waiting = undefined
  }
}

/** An answer with its length in the head, or in chunks, as JSON comes: no line of it is a lone zero but the last. */
function wholeResponse(received: string): WireResponse | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = received.slice(0, end)
  const text = received.slice(end + 4)
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? []
  const whole = length === undefined ? text.endsWith('0\r\n\r\n') : text.length >= Number(length)
  return whole ? { status: Number(head.slice(9, 12)), head, text } : undefined
}

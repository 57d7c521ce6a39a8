import { RawConnection, RawHttpError, readExactly } from '../../testing/raw-http.ts'

// Requests made by hand: `fetch` and `node:http` would correct what must be sent wrong.

export interface RawRequest {
  method: string
  /** As it stands in the request line. */
  target: string
  /** One byte a character. */
  headers: [name: string, value: string][]
  body: Buffer
  /** How it goes over the wire, where that is not as usual. */
  encode?: ((request: RawRequest) => Buffer) | undefined
}

export interface RawResponse {
  status: number
  headers: [name: string, value: string][]
  body: Buffer
}

/** What came of a request. */
export interface Outcome {
  /** Absent where none came that could be read. */
  response?: RawResponse
  /** What was wrong with the connection itself. */
  broken: string[]
}

const REQUEST_LIMIT_MS = 10_000
const HEALTH = 'GET /health HTTP/1.1\r\nhost: a\r\n\r\n'
const HEALTHY = '{"status":"ok"}'

const TAKES_BODY = ['POST', 'PUT', 'PATCH']
const FRAMING = /^(content-length|transfer-encoding)$/i

/** The bytes of a request, with the length of its body where its headers say nothing of it. */
export function bytesOf(request: RawRequest): Buffer {
  if (request.encode) return request.encode(request)
  const { method, headers, body } = request
  const isFramed = headers.some(([name]) => FRAMING.test(name))
  const needsLength = !isFramed && (body.length > 0 || TAKES_BODY.includes(method))
  return Buffer.concat([headOf(request, needsLength ? [['content-length', String(body.length)]] : []), body])
}

export function headOf({ method, target, headers }: RawRequest, more: [string, string][] = []): Buffer {
  const lines = [...headers, ...more].map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
}

/** Sends one request after another to one service, over a connection that is kept while it stays open. */
export interface Line {
  /** @param odd whether the connection must prove afterwards that it is still in step */
  send(request: RawRequest, odd: boolean): Promise<Outcome>
  close(): void
}

export function openLine(port: number): Line {
  const connect = () => new RawConnection(port, REQUEST_LIMIT_MS)
  let connection = connect()
  return {
    async send(request, odd) {
      if (!isFree(connection)) connection = connect()
      const outcome = await attempt(async () => {
        const response = await exchange(connection, bytesOf(request).toString('latin1'), request.method)
        return { response, broken: await brokenAfter(connection, response, odd) }
      })
      if (outcome.broken.length > 0) connection.close()
      return outcome
    },
    close: () => connection.close(),
  }
}

function isFree({ open, leftOver }: RawConnection): boolean {
  return open && leftOver === 0
}

async function exchange(connection: RawConnection, request: string, method: string): Promise<RawResponse> {
  const { status, head, text } = await connection.send(request, readExactly(method))
  const headers = head.split('\r\n').slice(1)
  return { status, headers: headers.map(parseHeader), body: Buffer.from(text, 'latin1') }
}

function parseHeader(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
}

/** A response must end where it says, and the next request must be answered as if nothing had been before. */
async function brokenAfter(connection: RawConnection, response: RawResponse, odd: boolean): Promise<string[]> {
  const saysItEnds = headerOf(response, 'connection')?.toLowerCase() === 'close'
  if (saysItEnds && !(await connection.closesWithin(REQUEST_LIMIT_MS))) {
    return ['the connection was not closed, as the response had said']
  }
  if (connection.leftOver > 0) return ['more came than the response']
  if (!odd || !isFree(connection)) return []
  const { response: next, broken } = await attempt(async () => {
    return { response: await exchange(connection, HEALTH, 'GET'), broken: [] }
  })
  if (broken.includes(NO_RESPONSE)) return []
  if (next?.status === 200 && next.body.toString() === HEALTHY) return []
  return [`the next request on its connection was not answered as it should be: ${next?.status ?? broken}`]
}

export const NO_RESPONSE = 'the connection was closed without a response'
const CUT_OFF = 'the connection was closed inside a response'

async function attempt(work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof RawHttpError)) throw error
    if (error.kind === 'no response') return { broken: [NO_RESPONSE] }
    return { broken: [error.kind === 'cut off' ? CUT_OFF : error.message] }
  }
}

export function headerOf({ headers }: RawResponse | RawRequest, name: string): string | undefined {
  return headers.find(([other]) => other.toLowerCase() === name)?.[1]
}

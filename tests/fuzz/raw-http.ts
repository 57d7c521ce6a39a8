import { connect } from 'node:net'

// HTTP by hand: `fetch` and `node:http` would put right what is to be sent wrong.

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
const HEALTH = Buffer.from('GET /health HTTP/1.1\r\nhost: a\r\n\r\n')
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

/** A connection to one service, used for one request after the other, as long as it stays open. */
export interface Line {
  /** @param odd whether the connection must prove afterwards that it is still in step */
  send(request: RawRequest, odd: boolean): Promise<Outcome>
  close(): void
}

export function openLine(port: number): Line {
  let connection = openConnection(port)
  return {
    async send(request, odd) {
      if (!connection.isFree()) connection = openConnection(port)
      const outcome = await attempt(async () => {
        const response = await connection.exchange(bytesOf(request), request.method)
        return { response, broken: await brokenAfter(connection, response, odd) }
      })
      if (outcome.broken.length > 0) connection.close()
      return outcome
    },
    close: () => connection.close(),
  }
}

/** An answer ends where it says, and what is asked next is answered as if nothing had been before. */
async function brokenAfter(connection: Connection, response: RawResponse, odd: boolean): Promise<string[]> {
  const saysItEnds = headerOf(response, 'connection')?.toLowerCase() === 'close'
  if (saysItEnds && !(await connection.ends())) return ['the connection was not closed, as the answer had said']
  if (connection.leftOver() > 0) return ['more came than the answer']
  if (!odd || !connection.isFree()) return []
  const { response: next, broken } = await attempt(async () => {
    return { response: await connection.exchange(HEALTH, 'GET'), broken: [] }
  })
  if (broken.includes(NO_RESPONSE)) return []
  if (next?.status === 200 && next.body.toString() === HEALTHY) return []
  return [`the next request on its connection was not answered as it should be: ${next?.status ?? broken}`]
}

async function attempt(work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof Fault) return { broken: [error.message] }
    throw error
  }
}

/** What is not as HTTP has it. */
class Fault extends Error {}

export const NO_RESPONSE = 'the connection was closed without an answer'

interface Connection {
  exchange(bytes: Buffer, method: string): Promise<RawResponse>
  isFree(): boolean
  /** Bytes that nobody asked for. */
  leftOver(): number
  /** Whether it is closed in time. */
  ends(): Promise<boolean>
  close(): void
}

function openConnection(port: number): Connection {
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  let received = Buffer.alloc(0)
  let isClosed = false
  let look = () => {}
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk])
    look()
  })
  // A service may cut off whoever sends more than it takes.
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      isClosed = true
      resolve()
      look()
    })
  })

  function takeAnswer(method: string): RawResponse | undefined {
    const found = readResponse(received, method, isClosed)
    if (found === undefined) {
      if (isClosed) throw new Fault(received.length === 0 ? NO_RESPONSE : 'the connection was closed within an answer')
      return undefined
    }
    received = received.subarray(found.length)
    return found.response
  }

  return {
    exchange: (bytes, method) =>
      new Promise((resolve, reject) => {
        const late = setTimeout(() => {
          socket.destroy()
          reject(new Fault(`no answer came within ${REQUEST_LIMIT_MS / 1000} s`))
        }, REQUEST_LIMIT_MS)
        const settle = (end: () => void) => {
          look = () => {}
          clearTimeout(late)
          end()
        }
        look = () => {
          try {
            const response = takeAnswer(method)
            if (response) settle(() => resolve(response))
          } catch (error) {
            settle(() => reject(error))
          }
        }
        socket.write(bytes)
        if (isClosed) look()
      }),
    isFree: () => !isClosed && received.length === 0,
    leftOver: () => received.length,
    ends: () => {
      const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), REQUEST_LIMIT_MS).unref())
      return Promise.race([closed.then(() => true), late])
    },
    close: () => socket.destroy(),
  }
}

const END_OF_HEAD = '\r\n\r\n'

/** The first final answer in some bytes; undefined while it is not there whole. */
function readResponse(
  bytes: Buffer,
  method: string,
  isClosed: boolean,
): { response: RawResponse; length: number } | undefined {
  const end = bytes.indexOf(END_OF_HEAD)
  if (end === -1) {
    if (!'HTTP/1.1 '.startsWith(bytes.toString('latin1', 0, 9))) throw new Fault('the answer is not HTTP')
    return undefined
  }
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const [, code] = /^HTTP\/1\.1 (\d{3})( |$)/.exec(first) ?? []
  if (code === undefined) throw new Fault('the answer is not HTTP')
  const status = Number(code)
  const start = end + END_OF_HEAD.length
  if (status < 200) {
    const final = readResponse(bytes.subarray(start), method, isClosed)
    return final && { response: final.response, length: start + final.length }
  }
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  })
  const response = { status, headers, body: Buffer.alloc(0) }
  if (method === 'HEAD' || status === 204 || status === 304) return { response, length: start }
  const body = readBody(bytes.subarray(start), response, isClosed)
  return body && { response: { ...response, body: body.content }, length: start + body.length }
}

function readBody(
  bytes: Buffer,
  response: RawResponse,
  isClosed: boolean,
): { content: Buffer; length: number } | undefined {
  if (headerOf(response, 'transfer-encoding') === 'chunked') return readChunks(bytes)
  const stated = headerOf(response, 'content-length')
  if (stated === undefined) return isClosed ? { content: bytes, length: bytes.length } : undefined
  const length = Number(stated)
  return bytes.length < length ? undefined : { content: bytes.subarray(0, length), length }
}

function readChunks(bytes: Buffer): { content: Buffer; length: number } | undefined {
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const line = bytes.indexOf('\r\n', at)
    if (line === -1) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16)
    if (Number.isNaN(size)) throw new Fault('the answer has a chunk without a length')
    const next = line + 2 + size + 2
    if (bytes.length < next) return undefined
    if (size === 0) return { content: Buffer.concat(chunks), length: next }
    chunks.push(bytes.subarray(line + 2, line + 2 + size))
    at = next
  }
}

export function headerOf({ headers }: RawResponse | RawRequest, name: string): string | undefined {
  return headers.find(([other]) => other.toLowerCase() === name)?.[1]
}

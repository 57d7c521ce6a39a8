import { type IncomingMessage, request } from 'node:http'
import type { Socket } from 'node:net'
import { untilAborted } from '../platform/core/timeout.ts'
import { AttemptFailed } from './attempt-failed.ts'
import { excerptOf, MAX_EXCERPT_BYTES } from './excerpt.ts'

const MAX_HEADERS_BYTES = 16 * 1024
const MAX_BODY_BYTES = 64 * 1024
/** Longer than any date. */
const MAX_RETRY_AFTER = 100

export interface Message {
  /** By names in lower case. `host`, `content-length` and `accept-encoding` are added. */
  headers: Readonly<Record<string, string>>
  body: string | Uint8Array
}

export interface ReceiverResponse {
  status: number
  /** The start of the body, safe to store and show. */
  excerpt: string
  /** The `Retry-After` header as it came. */
  retryAfter: string | null
}

/**
 * Posts a message over this connection, then closes it. Redirects are not followed. The body of the response is read to its
 * end, up to {@link MAX_BODY_BYTES}, until the connection ends, or until the signal: the status counts in each case.
 * @throws AttemptFailed `invalid_response`; errors of the socket and of the parser; the signal's reason
 */
export async function exchange(
  socket: Socket,
  url: URL,
  message: Message,
  signal: AbortSignal,
): Promise<ReceiverResponse> {
  try {
    const { response } = await untilAborted(signal, post(socket, url, message, signal))
    return await response
  } finally {
    socket.destroy()
  }
}

/** A response whose status has arrived. */
interface Begun {
  response: Promise<ReceiverResponse>
}

/** Asks for a body without encoding, so that the excerpt is readable. */
function post(socket: Socket, url: URL, { headers, body }: Message, signal: AbortSignal): Promise<Begun> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      // With a connection there is no agent: no proxy of the environment, and no connection is used twice.
      createConnection: () => socket,
      method: 'POST',
      path: `${url.pathname}${url.search}`,
      headers: {
        ...headers,
        host: url.host,
        'accept-encoding': 'identity',
        'content-length': String(Buffer.byteLength(body)),
      },
      maxHeaderSize: MAX_HEADERS_BYTES,
    })
    // Without effect once the status has arrived: a receiver need not read the whole request.
    outgoing.on('error', reject)
    outgoing.on('response', (incoming) => resolve({ response: readResponse(incoming, socket, signal) }))
    // No other protocol was asked for. Without this listener, such a response would raise no event.
    outgoing.on('upgrade', () => reject(new AttemptFailed('invalid_response', 'the receiver changes the protocol')))
    outgoing.end(body)
  })
}

function readResponse(incoming: IncomingMessage, socket: Socket, signal: AbortSignal): Promise<ReceiverResponse> {
  const begin: Uint8Array[] = []
  let bytes = 0
  incoming.on('data', (chunk: Uint8Array) => {
    if (bytes < MAX_EXCERPT_BYTES) begin.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) socket.destroy()
  })
  return new Promise((resolve) => {
    const finish = () => resolve(responseOf(incoming, Buffer.concat(begin)))
    incoming.on('end', finish).on('error', finish).on('close', finish)
    signal.addEventListener('abort', finish)
  })
}

function responseOf({ statusCode = 0, headers }: IncomingMessage, begin: Uint8Array): ReceiverResponse {
  const retryAfter = headers['retry-after'] ?? null
  return {
    status: statusCode,
    excerpt: excerptOf(begin, headers['content-encoding']),
    retryAfter: retryAfter !== null && retryAfter.length > MAX_RETRY_AFTER ? null : retryAfter,
  }
}

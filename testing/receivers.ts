import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { expect, onTestFinished } from 'vitest'
import type { Attempt } from '../src/webhooks/sender.ts'
import type { Certificate } from './certificates.ts'
import { listen } from './listen.ts'

// Receivers of webhooks, on this machine, until the test ends: good ones, broken ones and hostile ones.

export type Connected = (socket: Socket) => void

export interface Receiver {
  port: number
  /** Every connection so far. */
  sockets: Socket[]
}

/** A receiver that gets the bare connection. */
export function startRawReceiver(connected: Connected, certificate?: Certificate): Promise<Receiver> {
  return certificate === undefined
    ? start(createTcpServer(connected))
    : start(createTlsServer({ ...certificate, ALPNProtocols: ['http/1.1'] }, connected))
}

/** A receiver that speaks HTTP as it should. */
export function startReceiver(handle: RequestListener, certificate?: Certificate): Promise<Receiver> {
  const server = createServer(handle)
  return startRawReceiver((socket) => void server.emit('connection', socket), certificate)
}

async function start(server: Server): Promise<Receiver> {
  const sockets: Socket[] = []
  server.on('connection', (socket) => sockets.push(socket.on('error', () => {})))
  // What a TLS client did wrong is no fault of the receiver.
  server.on('secureConnection', (socket) => socket.on('error', () => {})).on('tlsClientError', () => {})
  const port = await listen(server)
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port, sockets }
}

/** A receiver that writes this at the first byte of the request, and then ends the connection. */
function writes(...parts: (string | Uint8Array)[]): Connected {
  return (socket) => socket.once('data', () => socket.end(Buffer.concat(parts.map((part) => Buffer.from(part)))))
}

/** A receiver that writes this, and then the rest again and again until the connection is closed. */
function writesForEver(begin: string, rest: string, everyMs: number): Connected {
  return (socket) =>
    socket.once('data', () => {
      socket.write(begin)
      const timer = setInterval(() => socket.writableNeedDrain || socket.write(rest), everyMs)
      socket.once('close', () => clearInterval(timer))
    })
}

const OK = 'HTTP/1.1 200 OK\r\n'
const HALF = `${OK}Content-Length: 1000\r\n\r\nhalf`

/** What a receiver does, and what the sender makes of it. */
type Case = [does: string, connected: Connected, attempt: Partial<Attempt>]

const ENDING: Case[] = [
  ['answers', writes(OK, 'Content-Length: 2\r\n\r\nok'), { status: 200, excerpt: 'ok' }],
  [
    'answers in chunks',
    writes(OK, 'Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'),
    { status: 200, excerpt: 'ok' },
  ],
  ['answers in HTTP/1.0', writes('HTTP/1.0 200 OK\r\n\r\nok'), { status: 200, excerpt: 'ok' }],
  ['answers nothing', writes('HTTP/1.1 204 No Content\r\n\r\n'), { status: 204, excerpt: '' }],
  ['answers a status of its own', writes('HTTP/1.1 599 \r\n\r\n'), { status: 599 }],
  [
    'asks to wait',
    writes('HTTP/1.1 429 \r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n'),
    { status: 429, retryAfter: '120' },
  ],
  [
    'asks to wait in too many words',
    writes(`HTTP/1.1 503 \r\nRetry-After: ${'1'.repeat(101)}\r\n\r\n`),
    { status: 503, retryAfter: null },
  ],
  [
    'answers in bytes that are no text',
    writes('HTTP/1.1 500 \r\n\r\n', Uint8Array.of(0x61, 0, 0x1b, 0xff, 0xc3, 0xa9, 9, 10)),
    { status: 500, excerpt: 'a\u{FFFD}\u{FFFD}\u{FFFD}é\t\n' },
  ],
  [
    'compresses unasked',
    writes(OK, 'Content-Encoding: gzip\r\n\r\n', gzipSync('ok')),
    { status: 200, excerpt: '(encoded, although the request asked for no encoding)' },
  ],
  [
    'says more than once that it goes on',
    writes('HTTP/1.1 100 \r\n\r\nHTTP/1.1 102 \r\n\r\nHTTP/1.1 103 \r\nLink: </a>\r\n\r\n', OK, '\r\nok'),
    { status: 200, excerpt: 'ok' },
  ],
  [
    'never ends the body',
    writesForEver(`${OK}\r\n`, 'x'.repeat(10_000), 1),
    { status: 200, excerpt: 'x'.repeat(1024) },
  ],
  ['writes one huge header', writes(OK, `X-Huge: ${'x'.repeat(1_000_000)}\r\n\r\n`), { error: 'invalid_response' }],
  ['never ends the headers', writesForEver(OK, 'X-More: more\r\n'.repeat(1_000), 1), { error: 'invalid_response' }],
  ['speaks another protocol', writes('SSH-2.0-OpenSSH_10.0\r\n'), { error: 'invalid_response' }],
  ['resets at once', (socket) => socket.resetAndDestroy(), { error: 'connection_lost' }],
  ['closes at once', (socket) => socket.resume().end(), { error: 'connection_lost' }],
  ['closes without an answer', (socket) => socket.once('data', () => socket.end()), { error: 'connection_lost' }],
  ['resets', (socket) => socket.once('data', () => socket.resetAndDestroy()), { error: 'connection_lost' }],
  ['closes inside the headers', writes(OK, 'X-Half: '), { error: 'connection_lost' }],
  ['closes inside the body', writes(HALF), { status: 200, excerpt: 'half' }],
  ['breaks off a chunk', writes(OK, 'Transfer-Encoding: chunked\r\n\r\nxyz\r\n'), { status: 200, excerpt: '' }],
  [
    'changes the protocol',
    writes('HTTP/1.1 101 \r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n'),
    { error: 'invalid_response' },
  ],
]

/** These end only when the sender gives them up. */
const ENDLESS: Case[] = [
  ['goes on for ever', writesForEver('', 'HTTP/1.1 102 \r\n\r\n', 5), { error: 'timeout' }],
  ['says nothing', (socket) => socket.resume(), { error: 'timeout' }],
  ['stops inside the headers', writesForEver(OK, '', 1_000), { error: 'timeout' }],
  ['writes headers byte by byte', writesForEver(OK, 'x', 20), { error: 'timeout' }],
  ['stops inside the body', writesForEver(HALF, '', 1_000), { status: 200, excerpt: 'half' }],
  [
    'writes the body byte by byte',
    writesForEver('HTTP/1.1 500 \r\n\r\nslow', '.', 20),
    { status: 500, excerpt: expect.stringMatching(/^slow\.*$/) },
  ],
]

const ENDLESS_LIMIT_MS = 500
const LIMIT_MS = 10_000

/** Each with the time limit that its sender has. */
export const RECEIVERS = [
  ...ENDING.map(([does, connected, attempt]) => {
    const durationMs = expect.toSatisfy((ms: number) => ms < LIMIT_MS)
    return { does, connected, attempt: { ...attempt, durationMs }, timeoutMs: LIMIT_MS }
  }),
  ...ENDLESS.map(([does, connected, attempt]) => ({ does, connected, attempt, timeoutMs: ENDLESS_LIMIT_MS })),
]

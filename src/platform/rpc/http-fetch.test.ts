import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { nowhere } from '../../../testing/services.ts'
import { createHttpFetch, type FetchInit } from './http-fetch.ts'

type Responding = (incoming: IncomingMessage, outgoing: ServerResponse) => void

/** A server that responds this way until the test ends, and the connections it accepted. */
async function serverThat(response: Responding) {
  const connections = new Set<Socket>()
  const server = createServer(response).on('connection', (socket) => connections.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = addressOf(server.address())
  return { base: `http://127.0.0.1:${port}`, connections }
}

function addressOf(address: AddressInfo | string | null): AddressInfo {
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return address
}

function asking(change: Partial<FetchInit> = {}): FetchInit {
  return { method: 'GET', headers: {}, redirect: 'manual', signal: new AbortController().signal, ...change }
}

const TEXT = 'é 株式会社 🏭 '

it('when a request is sent, then method, path, headers and body arrive', async () => {
  const { base } = await serverThat((incoming, outgoing) => {
    const { method, url, headers } = incoming
    incoming.setEncoding('utf8')
    incoming
      .reduce((all, some) => all + some, '')
      .then((body) => {
        outgoing.end(JSON.stringify({ method, url, body, headers }))
      })
  })
  const init = asking({ method: 'POST', headers: { authorization: 'Bearer t', 'x-a': 'b' }, body: TEXT })
  const response = await createHttpFetch()(`${base}/a/b?c=d%20e`, init)
  expect(JSON.parse(await response.text())).toMatchObject({
    method: 'POST',
    url: '/a/b?c=d%20e',
    body: TEXT,
    headers: { authorization: 'Bearer t', 'x-a': 'b', 'content-length': String(Buffer.byteLength(TEXT)) },
  })
})

it('when the response is cut anywhere, then status, headers and text arrive whole', async () => {
  const bytes = Buffer.from(TEXT.repeat(50_000))
  const { base } = await serverThat((_, outgoing) => {
    outgoing.writeHead(409, { 'Idempotent-Replayed': 'true' })
    for (let i = 0; i < bytes.length; i += 9_999) outgoing.write(bytes.subarray(i, i + 9_999))
    outgoing.end()
  })
  const response = await createHttpFetch()(base, asking())
  expect([response.status, response.headers.get('idempotent-replayed'), response.headers.get('x-none')]).toEqual([
    409,
    'true',
    null,
  ])
  expect((await response.text()) === bytes.toString()).toBe(true)
})

it.each([204, 302, 304])('when the response is a bare %d, then it arrives as it is', async (status) => {
  const { base } = await serverThat((_, outgoing) => outgoing.writeHead(status, { location: '/other' }).end())
  const response = await createHttpFetch()(base, asking())
  expect([response.status, await response.text()]).toEqual([status, ''])
})

it('when many calls follow each other, then they share one connection', async () => {
  const { base, connections } = await serverThat((_, outgoing) => outgoing.end('ok'))
  const fetch = createHttpFetch()
  for (let i = 0; i < 5; i++) expect(await (await fetch(base, asking())).text()).toBe('ok')
  expect(connections.size).toBe(1)
})

it('when many calls come at once, then none waits for another', async () => {
  const all: ServerResponse[] = []
  const { base } = await serverThat((_, outgoing) => {
    all.push(outgoing)
    if (all.length === 20) for (const one of all) one.end('ok')
  })
  const fetch = createHttpFetch()
  const responses = await Promise.all(Array.from({ length: 20 }, () => fetch(base, asking())))
  expect(responses.map(({ status }) => status)).toEqual(Array(20).fill(200))
})

it('when nobody listens, then the call is rejected', async () => {
  await expect(createHttpFetch()(await nowhere(), asking())).rejects.toThrow(/ECONNREFUSED/)
})

it.each<[string, Responding]>([
  ['before the response', (incoming) => incoming.socket.destroy()],
  [
    'in the middle of the response',
    (incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-length': '100' })
      outgoing.write('half', () => incoming.socket.destroy())
    },
  ],
  [
    'in the middle of a chunked response',
    (incoming, outgoing) => void outgoing.write('half', () => incoming.socket.destroy()),
  ],
])('when the connection ends %s, then the call is rejected, and the next one works', async (_, end) => {
  let calls = 0
  const { base } = await serverThat((incoming, outgoing) =>
    ++calls === 1 ? end(incoming, outgoing) : outgoing.end('ok'),
  )
  const fetch = createHttpFetch()
  await expect(fetch(base, asking())).rejects.toThrow(/ECONNRESET|aborted|socket hang up/)
  expect(await (await fetch(base, asking())).text()).toBe('ok')
})

it.each<[string, Responding]>([
  ['the response begins', () => {}],
  ['the response is complete', (_, outgoing) => void outgoing.write('half')],
])('when the signal fires before %s, then the call is rejected and its socket closed', async (_, halt) => {
  const reached = Promise.withResolvers<void>()
  const { base, connections } = await serverThat((incoming, outgoing) => {
    halt(incoming, outgoing)
    reached.resolve()
  })
  const controller = new AbortController()
  const calling = createHttpFetch()(base, asking({ signal: controller.signal }))
  await reached.promise
  controller.abort()
  await expect(calling).rejects.toThrow(/abort/i)
  await expect.poll(() => [...connections].every((socket) => socket.destroyed)).toBe(true)
})

it('when the signal fired before the call, then nothing is sent', async () => {
  let calls = 0
  const { base } = await serverThat((_, outgoing) => {
    calls++
    outgoing.end()
  })
  await expect(createHttpFetch()(base, asking({ signal: AbortSignal.abort() }))).rejects.toThrow(/abort/i)
  expect(calls).toBe(0)
})

it('when a header cannot be sent, then the call is rejected and does not throw', async () => {
  const { base } = await serverThat((_, outgoing) => outgoing.end())
  const calling = Promise.resolve().then(() => createHttpFetch()(base, asking({ headers: { 'x-a': 'é\n' } })))
  await expect(calling).rejects.toThrow(/invalid/i)
})

it('when the address is HTTPS, then it speaks TLS and names the host', async () => {
  const first = Promise.withResolvers<Buffer>()
  const server = createTcpServer((socket) =>
    socket.once('data', (bytes) => {
      first.resolve(bytes)
      socket.destroy()
    }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = addressOf(server.address())
  await expect(createHttpFetch()(`https://localhost:${port}`, asking())).rejects.toThrow()
  const hello = await first.promise
  expect(hello[0]).toBe(TLS_HANDSHAKE)
  expect(hello.includes('localhost')).toBe(true)
})

/** The record type of a client hello (RFC 8446, section 5.1). */
const TLS_HANDSHAKE = 22

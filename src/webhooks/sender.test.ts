import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { RECEIVERS, startRawReceiver, startReceiver } from '../../testing/receivers.ts'
import { nowhere } from '../../testing/services.ts'
import { parseNetworks } from './addresses.ts'
import { createSender, type SenderOptions } from './sender.ts'

const MESSAGE = { headers: { 'content-type': 'application/json', 'webhook-id': 'evt_1' }, body: '{"é":1}' }
const HERE = ['127.0.0.1']

/** A sender that may call this machine, and for which every name has these addresses. */
function senderTo(addresses: readonly string[], change: Partial<SenderOptions> = {}) {
  const { networks } = parseNetworks('127.0.0.0/8')
  return createSender({ allowHttp: true, allowedNetworks: networks, lookup: async () => addresses, ...change })
}

/** Responds with what it received. */
async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.setEncoding('utf8')
  const body = await request.reduce((all, some) => all + some, '')
  const { method, url, headers } = request
  response.end(JSON.stringify({ method, url, headers, body }))
}

describe('a receiver', () => {
  it.each(RECEIVERS)('when it $does, then the attempt says so', async ({ connected, attempt, timeoutMs }) => {
    const { port, sockets } = await startRawReceiver(connected)
    const send = senderTo(HERE, { timeoutMs })
    const outcome = await send(`http://hooks.example:${port}/`, MESSAGE)
    expect(outcome).toMatchObject({ status: null, error: null, excerpt: '', retryAfter: null, ...attempt })
    await expect.poll(() => sockets.every(({ destroyed }) => destroyed), { interval: 5 }).toBe(true)
  })

  it('when it gets a message, then it gets it whole', async () => {
    const { port } = await startReceiver(echo)
    const { status, excerpt } = await senderTo(HERE)(`http://hooks.example:${port}/a%20b?c=d`, MESSAGE)
    expect({ status, ...JSON.parse(excerpt) }).toEqual({
      status: 200,
      method: 'POST',
      url: '/a%20b?c=d',
      body: MESSAGE.body,
      headers: {
        ...MESSAGE.headers,
        host: `hooks.example:${port}`,
        'accept-encoding': 'identity',
        'content-length': '8',
        connection: 'close',
      },
    })
  })

  it('when it gets many messages, then each has a connection and a lookup of its own', async () => {
    const { port, sockets } = await startReceiver(echo)
    let lookups = 0
    const lookup = async () => {
      lookups++
      return HERE
    }
    const send = senderTo([], { lookup })
    for (let i = 0; i < 3; i++) await send(`http://hooks.example:${port}/`, MESSAGE)
    expect([sockets.length, lookups]).toEqual([3, 3])
  })

  it('when it gets messages at once, then their lookup is shared', async () => {
    const { port, sockets } = await startReceiver(echo)
    const lookups: string[] = []
    const lookup = async (name: string) => {
      lookups.push(name)
      return HERE
    }
    const send = senderTo([], { lookup })
    await Promise.all(['a', 'a', 'b'].map((name) => send(`http://${name}.example:${port}/`, MESSAGE)))
    expect([sockets.length, lookups]).toEqual([3, ['a.example', 'b.example']])
  })

  it.each([301, 302, 303, 307, 308])('when it answers %d, then the redirect is not followed', async (status) => {
    const target = await startReceiver(echo)
    const { port } = await startReceiver((_, response) => {
      response.writeHead(status, { location: `http://127.0.0.1:${target.port}/` }).end('moved')
    })
    const attempt = await senderTo(HERE)(`http://hooks.example:${port}/`, MESSAGE)
    expect(attempt).toMatchObject({ status, error: null, excerpt: 'moved' })
    expect(target.sockets).toHaveLength(0)
  })

  it('when it answers before it read the message, then its status counts', async () => {
    const { port } = await startRawReceiver((socket) => {
      socket.end('HTTP/1.1 413 \r\nContent-Length: 8\r\n\r\ntoo much')
    })
    const body = 'x'.repeat(10_000_000)
    const attempt = await senderTo(HERE)(`http://hooks.example:${port}/`, { ...MESSAGE, body })
    expect(attempt).toMatchObject({ status: 413, error: null, excerpt: 'too much' })
  })

  it('when nobody listens, then the connection is refused', async () => {
    const attempt = await senderTo([])(await nowhere(), MESSAGE)
    expect(attempt).toMatchObject({ status: null, error: 'connection_refused', cause: expect.any(Error) })
  })

  it('when one of its addresses refuses, then the next one is tried', async () => {
    const { port } = await startReceiver(echo)
    const attempt = await senderTo(['127.0.0.2', ...HERE])(`http://hooks.example:${port}/`, MESSAGE)
    expect(attempt).toMatchObject({ status: 200, error: null })
  })
})

describe('an address', () => {
  it.each([
    [['10.0.0.1']],
    [['::ffff:127.0.0.1']],
    [['127.0.0.1', '10.0.0.1']],
    [['127.0.0.1', '::1']],
    [['64:ff9b::7f00:1', '127.0.0.1']],
  ])('when a name has %j, then no connection is made', async (addresses) => {
    const { port, sockets } = await startReceiver(echo)
    const attempt = await senderTo(addresses)(`http://hooks.example:${port}/`, MESSAGE)
    expect(attempt).toMatchObject({ status: null, error: 'address_not_allowed', excerpt: '', retryAfter: null })
    expect(sockets).toHaveLength(0)
  })

  it('when a name changes after a lookup, then only the addresses of that lookup are called', async () => {
    const { port, sockets } = await startReceiver(echo)
    const turns = [HERE, ['169.254.169.254'], HERE]
    const send = senderTo([], { lookup: async () => turns.shift() ?? [] })
    const statuses = []
    for (let i = 0; i < 3; i++) {
      const { status, error } = await send(`http://hooks.example:${port}/`, MESSAGE)
      statuses.push(status ?? error)
    }
    expect(statuses).toEqual([200, 'address_not_allowed', 200])
    expect(sockets).toHaveLength(2)
  })

  it('when it leads to another one that is not allowed, then nothing is sent', async () => {
    const received: Buffer[] = []
    const { port } = await startRawReceiver((socket) => socket.on('data', (data) => received.push(data)))
    const { networks: allowedNetworks } = parseNetworks('0.0.0.0/32')
    const attempt = await senderTo(['0.0.0.0'], { allowedNetworks })(`http://hooks.example:${port}/`, MESSAGE)
    expect(attempt.error).toBe('address_not_allowed')
    expect(received).toEqual([])
  })

  it.each([
    ['is not found', () => Promise.reject(new Error('ENOTFOUND'))],
    ['has no address', async () => []],
  ])('when a name %s, then the attempt says so', async (_, lookup) => {
    const attempt = await senderTo([], { lookup })('http://nobody.example/', MESSAGE)
    expect(attempt).toMatchObject({ status: null, error: 'dns' })
  })
})

describe('a URL', () => {
  it.each(['http://hooks.example/', 'ftp://hooks.example/', 'https://user@hooks.example/', 'nonsense'])(
    'when it is %s, which is no longer allowed, then no name is resolved',
    async (url) => {
      const lookups: string[] = []
      const lookup = async (name: string) => {
        lookups.push(name)
        return HERE
      }
      const attempt = await senderTo([], { lookup, allowHttp: false })(url, MESSAGE)
      expect(attempt).toMatchObject({ status: null, error: 'url_not_allowed' })
      expect(lookups).toEqual([])
    },
  )
})

describe('the time of an attempt', () => {
  const never = () => new Promise<never>(() => {})

  it('when a name takes too long, then the attempt times out', async () => {
    const attempt = await senderTo([], { lookup: never, timeoutMs: 30 })('http://hooks.example/', MESSAGE)
    expect(attempt).toMatchObject({ status: null, error: 'timeout' })
  })

  it('when it ends, then it is told in whole milliseconds', async () => {
    const { durationMs } = await senderTo([], { lookup: never, timeoutMs: 30 })('http://hooks.example/', MESSAGE)
    expect(durationMs).toBeGreaterThanOrEqual(29)
    expect(Number.isInteger(durationMs)).toBe(true)
  })

  it('when the name and the response share it, then the limit is for both', async () => {
    const { port } = await startRawReceiver((socket) => socket.resume())
    const lookup = () => new Promise<string[]>((resolve) => setTimeout(resolve, 290, HERE))
    const send = senderTo([], { lookup, timeoutMs: 300 })
    const { error, durationMs } = await send(`http://hooks.example:${port}/`, MESSAGE)
    expect(error).toBe('timeout')
    expect(durationMs).toBeLessThan(590)
  })
})

describe('the signal', () => {
  it('when it is aborted before, then nothing is sent', async () => {
    const { port, sockets } = await startReceiver(echo)
    const attempt = await senderTo(HERE)(`http://hooks.example:${port}/`, MESSAGE, AbortSignal.abort())
    expect(attempt).toMatchObject({ status: null, error: 'aborted' })
    expect(sockets).toHaveLength(0)
  })

  it('when it is aborted while the receiver works, then the connection is closed', async () => {
    const controller = new AbortController()
    const { port, sockets } = await startReceiver(() => controller.abort())
    const attempt = await senderTo(HERE)(`http://hooks.example:${port}/`, MESSAGE, controller.signal)
    expect(attempt).toMatchObject({ status: null, error: 'aborted' })
    await expect.poll(() => sockets.every(({ destroyed }) => destroyed), { interval: 5 }).toBe(true)
  })
})

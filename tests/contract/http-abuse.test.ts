import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Env } from '../../src/compose/env.ts'
import { composeCustomers } from '../../src/compose/services.ts'
import { type Serving, type ServingLimits, serve } from '../../src/platform/http/server.ts'
import { addressOf, startProgram, until } from '../../testing/programs.ts'
import { newOrder, newProduct } from '../../testing/rows.ts'
import { type TestSystem, useSystem } from '../../testing/system.ts'

/** Node checks its time limits once a second. */
const CHECKED_EVERY_MS = 1_000
const LIMITS: ServingLimits = { requestMs: 800, keepAliveMs: 200, stallMs: 1_500, maxConnections: 1_000 }
/** The delay after a refusal of the connection itself. */
const GONE_AFTER_MS = 1_000
/** Node keeps a connection for a second longer than announced. */
const KEPT_LONGER_MS = 1_000
/** Tolerance for a busy machine. */
const GRACE_MS = 3_000

const system = useSystem('sqlite')
let serving: Serving

const silent = pino({ level: 'silent' })

function serveCustomers(changes: Partial<Env> = {}, limits: Partial<ServingLimits> = {}, logger = silent) {
  const { app } = composeCustomers({ ...system.env, ...changes }, system.db, silent, { draining: false })
  return serve(app, 0, { ...LIMITS, ...limits }, logger)
}

/** A service that ends with the test. */
async function servedToTestEnd(...how: Parameters<typeof serveCustomers>): Promise<Serving> {
  const own = await serveCustomers(...how)
  onTestFinished(() => own.close())
  return own
}

beforeAll(async () => {
  serving = await serveCustomers()
})
afterAll(() => serving.close())

interface Raw {
  socket: Socket
  text(): string
  /** How long the connection was open, once it is closed. */
  closed: Promise<number>
}

function open(port = serving.port, options = {}): Raw {
  const began = Date.now()
  const socket = connect({ port, host: '127.0.0.1', ...options })
  onTestFinished(() => void socket.destroy())
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  // Errors after the end do not matter.
  socket.on('error', () => {})
  const closed = new Promise<number>((resolve) => socket.once('close', () => resolve(Date.now() - began)))
  return { socket, text: () => text, closed }
}

/** Sends a little at a time until the other side closes. */
function dribble(socket: Socket, some: string): void {
  const timer = setInterval(() => socket.write(some), 50)
  socket.once('close', () => clearInterval(timer))
}

/** Expects the last response to be a whole problem document; @returns its code. */
function codeOf(text: string, status: number): string {
  const response = text.slice(text.lastIndexOf('HTTP/1.1 '))
  const [head = '', body = ''] = response.split('\r\n\r\n')
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} \\w`))
  expect(head).toMatch(/^content-type: application\/problem\+json$/im)
  expect(head).toMatch(/^x-content-type-options: nosniff$/im)
  expect(head).toMatch(/^cache-control: no-store$/im)
  const problem = JSON.parse(body)
  expect(problem).toMatchObject({ status, type: `urn:problem:${problem.code}`, title: expect.any(String) })
  expect(head).toMatch(new RegExp(`^x-correlation-id: ${problem.request_id}$`, 'im'))
  return problem.code
}

const HEALTH = 'GET /health HTTP/1.1\r\nhost: a\r\n\r\n'
const CHUNK = `8000\r\n${'x'.repeat(0x8000)}\r\n`
const HEAD = 'POST /auth/token HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n'

describe('a slow caller', () => {
  const slow: { title: string; first: string; more: string }[] = [
    { title: 'sends nothing', first: '', more: '' },
    { title: 'sends half a request line', first: 'GET /hea', more: '' },
    { title: 'dribbles its headers', first: 'GET /health HTTP/1.1\r\nhost: a\r\n', more: 'x: y\r\n' },
    { title: 'dribbles its body', first: `${HEAD}content-length: 60000\r\n\r\n`, more: 'x' },
    { title: 'dribbles chunks', first: `${HEAD}transfer-encoding: chunked\r\n\r\n`, more: '1\r\nx\r\n' },
    { title: 'sends a part of its body', first: `${HEAD}content-length: 9\r\n\r\n{`, more: '' },
  ]

  it.each(slow)('when it $title, then 408 and the connection is closed', async ({ first, more }) => {
    const { socket, text, closed } = open()
    if (first !== '') socket.write(first)
    if (more !== '') dribble(socket, more)
    expect(await closed).toBeLessThan(LIMITS.requestMs + CHECKED_EVERY_MS + GRACE_MS)
    expect(codeOf(text(), 408)).toBe('request_timeout')
  })

  it('when it got a response and sends no more, then its connection ends silently', async () => {
    const { socket, text, closed } = open()
    socket.write('GET /health HTTP/1.1\r\nhost: a\r\n\r\n')
    expect(await closed).toBeLessThan(LIMITS.keepAliveMs + KEPT_LONGER_MS + GRACE_MS)
    expect(text().match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(text()).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  it('when it got a response and dribbles its next request, then it is cut off', async () => {
    const { socket, text, closed } = open()
    socket.write('GET /health HTTP/1.1\r\nhost: a\r\n\r\nGET /health HTTP/1.1\r\n')
    dribble(socket, 'x: y\r\n')
    expect(await closed).toBeLessThan(LIMITS.requestMs + CHECKED_EVERY_MS + GRACE_MS)
    expect(text()).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  it('when it does not read its responses, then it is cut off, without delaying a stop', async () => {
    const own = await serveCustomers()
    const { socket } = open(own.port)
    socket.pause()
    const request = 'GET /docs/swagger-ui-dist/swagger-ui-bundle.js HTTP/1.1\r\nhost: a\r\n\r\n'
    socket.write(request.repeat(30))
    await until(
      () => (socket.bytesWritten === request.length * 30 ? true : undefined),
      () => 'the requests were not sent',
    )
    const began = Date.now()
    await own.close()
    expect(Date.now() - began).toBeLessThan(2 * LIMITS.stallMs + GRACE_MS)
  })

  it('when it sends each next request in time, then its connection stays', async () => {
    const { socket, text } = open()
    for (let i = 1; i <= 5; i++) {
      socket.write('GET /health HTTP/1.1\r\nhost: a\r\n\r\n')
      await until(
        () => (text().match(/\{"status":"ok"\}/g)?.length === i ? true : undefined),
        () => text(),
      )
    }
  })
})

describe('a caller that sends too much', () => {
  const many = Array.from({ length: 150 }, (_, i) => `x-${i}: y\r\n`).join('')
  const large: { title: string; request: string; status: number; code: string }[] = [
    {
      title: 'a header',
      request: `GET /health HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(17_000)}\r\n\r\n`,
      status: 431,
      code: 'headers_too_large',
    },
    {
      title: 'a path',
      request: `GET /${'y'.repeat(17_000)} HTTP/1.1\r\nhost: a\r\n\r\n`,
      status: 431,
      code: 'headers_too_large',
    },
    {
      title: 'headers by their number',
      request: `GET /health HTTP/1.1\r\nhost: a\r\n${many}\r\n`,
      status: 431,
      code: 'headers_too_large',
    },
    {
      title: 'a body by its stated length',
      request: `${HEAD}content-length: 100000000\r\n\r\n${'x'.repeat(10_000)}`,
      status: 413,
      code: 'payload_too_large',
    },
    {
      title: 'a body by its chunks',
      request: `${HEAD}transfer-encoding: chunked\r\n\r\n${`8000\r\n${'x'.repeat(0x8000)}\r\n`.repeat(3)}`,
      status: 413,
      code: 'payload_too_large',
    },
  ]

  it.each(large)('when it is $title, then $status and the connection is closed', async ({ request, status, code }) => {
    const { socket, text, closed } = open()
    socket.write(request)
    expect(await closed).toBeLessThan(LIMITS.requestMs + CHECKED_EVERY_MS + GRACE_MS)
    expect(codeOf(text(), status)).toBe(code)
  })

  it('when it keeps sending a refused body, then the service does not wait for its end', async () => {
    const { socket, text, closed } = open()
    socket.write(`${HEAD}content-length: 100000000\r\n\r\n`)
    dribble(socket, 'x'.repeat(10_000))
    expect(await closed).toBeLessThan(LIMITS.requestMs + CHECKED_EVERY_MS + GRACE_MS)
    expect(codeOf(text(), 413)).toBe('payload_too_large')
  })

  it('when the headers are just small enough, then they are accepted', async () => {
    const { socket, text } = open()
    socket.write(`GET /health HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(15_000)}\r\n\r\n`)
    await until(
      () => (text().includes('{"status":"ok"}') ? true : undefined),
      () => text(),
    )
  })
})

describe('a caller that stays after a refusal', () => {
  const refused: { title: string; first: string; more: string; status: number }[] = [
    { title: 'dribbles its headers', first: 'GET /health HTTP/1.1\r\nhost: a\r\n', more: 'x: y\r\n', status: 408 },
    { title: 'dribbles its body', first: `${HEAD}content-length: 60000\r\n\r\n{`, more: ' ', status: 408 },
    { title: 'does not speak HTTP', first: 'hello\r\n\r\n', more: 'hello\r\n\r\n', status: 400 },
    { title: 'has no Host', first: 'GET /health HTTP/1.1\r\n\r\n', more: 'x', status: 400 },
    { title: 'sends headers without end', first: `GET / HTTP/1.1\r\nx: ${'y'.repeat(17_000)}`, more: 'y', status: 431 },
    { title: 'sends a body without end', first: `${HEAD}content-length: 100000000\r\n\r\n`, more: 'x', status: 413 },
    { title: 'sends chunks without end', first: `${HEAD}transfer-encoding: chunked\r\n\r\n`, more: CHUNK, status: 413 },
  ]

  it.each(refused)('when it $title and keeps its side open, then it is gone a second later', async (it) => {
    const own = await servedToTestEnd({}, { stallMs: 60_000 })
    const { socket, text, closed } = open(own.port, { allowHalfOpen: true })
    const responded = new Promise<number>((resolve) => socket.once('data', () => resolve(Date.now())))
    socket.write(it.first)
    dribble(socket, it.more)
    const from = await responded
    await closed
    expect(Date.now() - from).toBeLessThan(GONE_AFTER_MS + GRACE_MS)
    expect(text()).toMatch(new RegExp(`^HTTP/1\\.1 ${it.status} `))
  })

  it('when it sends more than its request, then it gets the response to that request', async () => {
    const { socket, text, closed } = open()
    const body = '{"grant_type":"password"}'
    socket.write(`${HEAD}content-length: ${body.length}\r\n\r\n${body}}}}}\r\n\r\n`)
    await closed
    expect(text().match(/^HTTP\/1\.1 /gm)).toHaveLength(1)
    expect(codeOf(text(), 400)).toBe('unsupported_grant_type')
  })

  it('when many are refused, then one log line a second sums them up', async () => {
    const log: string[] = []
    const began = Date.now()
    const own = await servedToTestEnd({}, {}, pino({}, { write: (line) => void log.push(line) }))
    const sent = [
      ...Array(20).fill('hello\r\n\r\n'),
      `GET /${'y'.repeat(17_000)} HTTP/1.1\r\n`,
      'GET / HTTP/1.1\r\n\r\n',
    ]
    const all = sent.map((some) => {
      const raw = open(own.port)
      raw.socket.write(some)
      return raw.closed
    })
    await Promise.all(all)
    const counted = () => log.map((line) => JSON.parse(line).refused).reduce(addUp, {})
    await expect.poll(counted, { timeout: 10_000 }).toEqual({ 400: 21, 431: 1 })
    expect(log.length).toBeLessThanOrEqual((Date.now() - began) / 1_000 + 1)
    expect(JSON.parse(log[0] ?? '')).toMatchObject({ address: expect.stringMatching(/127\.0\.0\.1$/) })
  })

  function addUp(all: Record<string, number>, some: Record<string, number>): Record<string, number> {
    const sums = Object.entries(some).map(([kind, count]) => [kind, count + (all[kind] ?? 0)])
    return { ...all, ...Object.fromEntries(sums) }
  }
})

describe('a caller that opens many connections', () => {
  it('when the maximum is open, then one more is closed without a response', async () => {
    const log: string[] = []
    const logger = pino({}, { write: (line) => void log.push(line) })
    const own = await servedToTestEnd({}, { maxConnections: 2, keepAliveMs: 60_000 }, logger)
    const [first, second] = [open(own.port), open(own.port)]
    for (const one of [first, second]) await expectHealth(one)
    const more = open(own.port)
    more.socket.write(HEALTH)
    await more.closed
    expect(more.text()).toBe('')
    await expect
      .poll(() => log.map((line) => JSON.parse(line).refused), { timeout: 10_000 })
      .toEqual([{ connection: 1 }])
    await expectHealth(first)
    second.socket.end()
    await second.closed
    await until(
      async () => {
        const next = open(own.port)
        next.socket.write(HEALTH)
        await Promise.race([next.closed, new Promise((resolve) => next.socket.once('data', resolve))])
        return next.text() === '' ? undefined : next
      },
      () => 'its slot was not given to another',
    )
  })

  async function expectHealth({ socket, text }: Raw): Promise<void> {
    const before = text().length
    socket.write(HEALTH)
    await until(
      () => (text().slice(before).includes('{"status":"ok"}') ? true : undefined),
      () => text(),
    )
  }
})

describe('a caller that speaks HTTP/1.0', () => {
  it.each([
    ['without a host', 'GET /health HTTP/1.0\r\n\r\n', 200],
    ['with an empty host', 'GET /health HTTP/1.0\r\nhost:\r\n\r\n', 200],
    ['with a host', 'HEAD /ready HTTP/1.0\r\nhost: a.example:3001\r\n\r\n', 200],
    ['as HAProxy does', 'OPTIONS /health HTTP/1.0\r\n\r\n', 405],
    ['with two hosts', 'GET /health HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n', 400],
  ])('when it calls %s, then it gets a response, and its connection ends', async (_, sent, status) => {
    const { socket, text, closed } = open()
    socket.write(sent)
    await closed
    expect(text()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  })
})

describe('a caller that bypasses a proxy that denies /internal/', () => {
  const ask = async (port: number, target: string) => {
    const { socket, text } = open(port)
    socket.write(`GET ${target} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${system.env.serviceTokens[0]}\r\n\r\n`)
    return until(
      () => /^HTTP\/1\.1 (\d+)/.exec(text())?.[1],
      () => text(),
    )
  }
  const spellings =
    `/%69nternal/customers/1  /internal%2fcustomers/1  /x/../internal/customers/1  /./internal/customers/1
    /x/%2e%2e/internal/customers/1  //internal/customers/1  http://a/internal/customers/1  /dev/dev/internal/customers/1
    /dev/%69nternal/customers/1  /dev/../internal/customers/1`.split(/\s+/)

  it.each(spellings)('when it calls %s, then 404', async (target) => {
    expect(await ask(serving.port, target)).toBe('404')
  })

  it('when it calls it below /dev in production, then 404', async () => {
    const own = await servedToTestEnd({ production: true })
    for (const path of ['/internal/customers/1', '/health', '/docs']) {
      expect([path, await ask(own.port, path), await ask(own.port, `/dev${path}`)]).toEqual([path, '200', '404'])
      expect(await ask(serving.port, `/dev${path}`)).toBe('200')
    }
  })
})

describe('a caller that guesses secrets', () => {
  const guess = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'wrong' }

  it('when its address has to wait, then another address need not', async () => {
    const own = await servedToTestEnd({ logins: { attemptsPerMinute: 2, trustedProxies: 0 } })
    const attempt = (localAddress: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = { 'content-type': 'application/json' }
        const at = { host: '127.0.0.1', port: own.port, path: '/auth/token', agent: false, localAddress }
        request({ ...at, method: 'POST', headers }, (response) => resolve(response.resume().statusCode))
          .once('error', reject)
          .end(JSON.stringify(guess))
      })
    for (const status of [401, 401, 429]) expect(await attempt('127.0.0.1')).toBe(status)
    expect(await attempt('127.0.0.2')).toBe(401)
  })
})

describe('a caller that does not speak HTTP', () => {
  const broken: { title: string; sent: string | Buffer }[] = [
    { title: 'something else', sent: 'hello\r\n\r\n' },
    { title: 'TLS', sent: Buffer.from('1603010200010001fc0303', 'hex') },
    { title: 'HTTP/2', sent: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' },
    { title: 'no host', sent: 'GET /health HTTP/1.1\r\n\r\n' },
    { title: 'no host, but a whole URL', sent: 'GET http://a/health HTTP/1.1\r\n\r\n' },
    { title: 'an empty host', sent: 'GET /health HTTP/1.1\r\nhost:\r\n\r\n' },
    { title: 'two hosts', sent: 'GET /health HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n' },
    { title: 'one host twice', sent: 'GET /health HTTP/1.1\r\nhost: a\r\nHOST: a\r\n\r\n' },
    { title: 'an invalid host', sent: 'GET /health HTTP/1.1\r\nhost: a b\r\n\r\n' },
    { title: 'an invalid target', sent: 'OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n' },
    { title: 'a target with a user', sent: 'GET http://user:word@a/health HTTP/1.1\r\nhost: a\r\n\r\n' },
    { title: 'a host with a user', sent: 'GET /health HTTP/1.1\r\nhost: user@a\r\n\r\n' },
    { title: 'a length and chunks', sent: `${HEAD}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n` },
    { title: 'two lengths', sent: `${HEAD}content-length: 2\r\ncontent-length: 3\r\n\r\n{}` },
    { title: 'a length below zero', sent: `${HEAD}content-length: -1\r\n\r\n` },
    { title: 'a header with a null byte', sent: 'GET /health HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n' },
    { title: 'a folded header', sent: 'GET /health HTTP/1.1\r\nhost: a\r\n x: b\r\n\r\n' },
    { title: 'a space before the colon', sent: 'GET /health HTTP/1.1\r\nhost: a\r\nx : b\r\n\r\n' },
  ]

  it.each(broken)('when it sends $title, then 400 and the connection is closed', async ({ sent }) => {
    const { socket, text, closed } = open()
    socket.write(sent)
    expect(await closed).toBeLessThan(LIMITS.requestMs + CHECKED_EVERY_MS + GRACE_MS)
    expect(codeOf(text(), 400)).toBe('malformed_request')
  })

  it('when its Expect header is unknown, then it is ignored', async () => {
    const { socket, text } = open()
    socket.write('GET /health HTTP/1.1\r\nhost: a\r\nexpect: cake\r\n\r\n')
    await until(
      () => (text().includes('{"status":"ok"}') ? true : undefined),
      () => text(),
    )
  })
})

describe('a body that is not UTF-8', () => {
  const bytes: { title: string; of: number[] }[] = [
    { title: 'a byte that never occurs', of: [0xff] },
    { title: 'a character that is cut off', of: [0xf0, 0x9f, 0x98] },
    { title: 'half a surrogate pair', of: [0xed, 0xa0, 0x80] },
    { title: 'a longer form than needed', of: [0xc0, 0xaf] },
    { title: 'Latin-1', of: [0x4d, 0xfc, 0x6c, 0x6c, 0x65, 0x72] },
  ]
  const bodyOf = (name: Buffer, email: string) =>
    Buffer.concat([Buffer.from('{"name":"'), name, Buffer.from(`","email":"${email}"}`)])

  async function add(body: Buffer<ArrayBuffer>) {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${await system.token()}` }
    const response = await fetch(`${system.customers.base}/customers`, { method: 'POST', headers, body })
    return { status: response.status, body: await response.json() }
  }

  it.each(bytes)('when it has $title, then 400 malformed_json, and nothing is stored', async ({ of }) => {
    const email = `${crypto.randomUUID()}@example.com`
    const response = await add(bodyOf(Buffer.from(of), email))
    const told = { code: 'malformed_json', detail: 'The body is not valid UTF-8.' }
    expect(response).toMatchObject({ status: 400, body: told })
    expect((await system.customers.get(`/customers?search=${email}`)).body.data).toEqual([])
  })

  it('when it has the replacement character itself, then that is stored', async () => {
    const name = 'A \ufffd and 😀 of Müller'
    const response = await add(bodyOf(Buffer.from(name), `${crypto.randomUUID()}@example.com`))
    expect(response).toMatchObject({ status: 201, body: { name } })
  })
})

/** Each route that reads a body, with a valid body. */
const READERS: [
  string,
  (on: TestSystem) => Promise<{ url: string; token?: string | null | undefined; body: object }>,
][] = [
  [
    'a new customer',
    async (on) => ({
      url: `${on.customers.base}/customers`,
      body: { name: 'A', email: `${crypto.randomUUID()}@example.com` },
    }),
  ],
  ['an order', async (on) => ({ url: `${on.orders.base}/orders`, body: { customer_id: 1, items: await oneUnit(on) } })],
  [
    'a cancel',
    async (on) => {
      const { id } = await newOrder(on, await oneUnit(on))
      return { url: `${on.orders.base}/orders/${id}/cancel`, body: {} }
    },
  ],
  [
    'an order through the orchestrator',
    async (on) => ({
      url: `${on.orchestrator.base}/orchestrator/create-and-confirm-order`,
      body: { customer_id: 1, items: await oneUnit(on), idempotency_key: crypto.randomUUID() },
    }),
  ],
  [
    'a token',
    async (on) => ({
      url: `${on.customers.base}/auth/token`,
      token: null,
      body: { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' },
    }),
  ],
  [
    'calls of another service',
    async (on) => ({
      url: `${on.customers.base}/internal/customers/lookups`,
      token: on.env.serviceTokens[0],
      body: { calls: [{ id: 1, correlation_id: 'a' }] },
    }),
  ],
]

async function oneUnit(on: TestSystem) {
  return [{ product_id: (await newProduct(on)).id, qty: 1 }]
}

describe.each(READERS)('the body of %s', (_, readerOn) => {
  async function send(text: (body: object) => BodyInit, more: Record<string, string> = {}) {
    const { url, token = await system.token(), body } = await readerOn(system)
    const authorization = token === null ? {} : { authorization: `Bearer ${token}` }
    const headers = { 'content-type': 'application/json', ...authorization, ...more }
    const response = await fetch(url, { method: 'POST', headers, body: text(body) })
    return { status: response.status, headers: response.headers, body: await response.json() }
  }

  it('when its Content-Encoding is identity, then it is accepted', async () => {
    for (const coding of ['identity', 'Identity', '']) {
      expect((await send(JSON.stringify, { 'content-encoding': coding })).status).toBeLessThan(300)
    }
  })

  it.each(['gzip', 'br', 'GZIP', 'gzip, identity', 'x'])(
    'when its Content-Encoding is %s, then 415 with Accept-Encoding',
    async (coding) => {
      for (const text of [JSON.stringify, (body: object) => gzipSync(JSON.stringify(body))]) {
        const response = await send(text, { 'content-encoding': coding })
        expect(response).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } })
        expect(response.headers.get('accept-encoding')).toBe('identity')
      }
    },
  )

  it('when it is not UTF-8, then 400 says so', async () => {
    const response = await send((body) => Buffer.from(JSON.stringify({ ...body, name: 'M\u00fcller' }), 'latin1'))
    expect(response).toMatchObject({
      status: 400,
      body: { code: 'malformed_json', detail: 'The body is not valid UTF-8.' },
    })
  })

  it('when it has a member twice in any spelling, then 400 names it', async () => {
    for (const twice of [(name: string) => name, (name: string) => name.replace(/^./, escaped)]) {
      const { body: usual } = await readerOn(system)
      const [name = 'reason'] = Object.keys(usual)
      const withMember = (body: object) => JSON.stringify({ [name]: null, ...body })
      const response = await send((body) => withMember(body).replace('{', `{"${twice(name)}":null,`))
      expect(response).toMatchObject({ status: 400, body: { code: 'validation_failed' } })
      expect(response.body.errors).toEqual([{ path: name, message: 'Given twice' }])
    }
  })

  function escaped(character: string): string {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  }
})

describe('a form that asks for a token', () => {
  const form = 'grant_type=client_credentials&client_id=demo&client_secret=demo-secret'
  it.each([
    ['is not UTF-8', Buffer.from(`${form}&scope=\u00fc`, 'latin1'), {}, 400, 'malformed_json'],
    ['claims to be gzip', Buffer.from(form), { 'content-encoding': 'gzip' }, 415, 'unsupported_media_type'],
    ['is gzip', gzipSync(form), { 'content-encoding': 'gzip' }, 415, 'unsupported_media_type'],
  ])('when it %s, then it is refused for that', async (_, body, more, status, code) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', ...more }
    const response = await fetch(`${system.orders.base}/auth/token`, { method: 'POST', headers, body })
    expect({ status: response.status, body: await response.json() }).toMatchObject({ status, body: { code } })
  })
})

describe('a caller that sends a large body', () => {
  const LARGE = 4 * 1024 * 1024
  const headOf = (path: string, length: number, token?: string) =>
    `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n` +
    `${token === undefined ? '' : `authorization: Bearer ${token}\r\n`}\r\n`
  const BATCH = '/internal/customers/lookups'

  async function responseTo(sent: string, port = serving.port) {
    const { socket, text } = open(port)
    socket.write(sent)
    return until(
      () => (text().endsWith('}') ? text() : undefined),
      () => `no response: ${text()}`,
    )
  }

  it.each([
    ['without a token', undefined, 401, 'unauthorized'],
    ['with a wrong one', 'wrong', 401, 'invalid_token'],
  ])('when it is internal and comes %s, then it is refused unread', async (_, token, status, code) => {
    expect(codeOf(await responseTo(headOf(BATCH, LARGE, token)), status)).toBe(code)
    const jwt = await system.token()
    expect(codeOf(await responseTo(headOf(BATCH, LARGE, jwt)), 401)).toBe('invalid_token')
  })

  it('when it comes with the service token, then it is read, up to 4 MiB', async () => {
    const token = system.env.serviceTokens[0] ?? ''
    const text = JSON.stringify({ calls: [{ id: 1, correlation_id: 'a' }], more: ' '.repeat(1024 * 1024) })
    expect(codeOf(await responseTo(headOf(BATCH, text.length, token) + text), 400)).toBe('validation_failed')
    expect(codeOf(await responseTo(headOf(BATCH, LARGE + 1, token)), 413)).toBe('payload_too_large')
  })

  it('when many send one to a route without a body, then none is kept in memory', async () => {
    const program = startProgram('start:orchestrator', { NODE_ENV: 'test', PORT: '0' })
    const port = Number(new URL(await addressOf(program)).port)
    const maxBytes = () =>
      1024 * Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${program.pid}/status`, 'utf8'))?.[1])
    const sendAtOnce = async (callers: number) => {
      const all = Array.from({ length: callers }, () => open(port))
      for (const { socket } of all) socket.write(headOf(BATCH, LARGE) + 'x'.repeat(LARGE - 1))
      await Promise.all(all.map(({ closed }) => closed))
      for (const { text } of all) expect(text()).toMatch(/^HTTP\/1\.1 413 /)
    }
    // Dropped bodies are garbage for a while, however few callers send them: only growth beyond that is kept.
    for (let sent = 0; sent < 100; sent += 4) await sendAtOnce(4)
    const before = maxBytes()
    await sendAtOnce(100)
    expect(maxBytes() - before).toBeLessThan(25 * LARGE)
  })

  const half = 30_000
  it.each([
    ['of a stated length', `content-length: ${half}\r\n\r\n`],
    ['in chunks', `transfer-encoding: chunked\r\n\r\n${half.toString(16)}\r\n${'x'.repeat(half)}\r\n`],
  ])('when bodies %s are in flight, then one more must wait, and small ones need not', async (_, rest) => {
    const own = await servedToTestEnd({ maxBodyBytesInFlight: 2.5 * half }, { requestMs: 20_000 })
    const head = 'POST /customers HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n'
    const slow = [open(own.port), open(own.port), open(own.port)]
    for (const { socket } of slow) socket.write(head + rest)
    const told = () => slow.map(({ text }) => text()).filter((text) => text !== '')
    await until(
      () => (told()[0]?.endsWith('}') ? true : undefined),
      () => 'none was refused',
    )
    expect(told().map((text) => codeOf(text, 503))).toEqual(['overloaded'])
    expect(told()[0]).toMatch(/^retry-after: 1$/im)
    // The token is checked once the body has arrived.
    expect(codeOf(await responseTo(`${head}content-length: 2\r\n\r\n{}`, own.port), 401)).toBe('unauthorized')
    for (const { socket } of slow) socket.destroy()
    await until(
      async () => {
        const text = await responseTo(`${head}content-length: ${half}\r\n\r\n${'x'.repeat(half)}`, own.port)
        return text.includes('unauthorized') ? true : undefined
      },
      () => 'the bytes of those that hung up count for ever',
    )
  })
})

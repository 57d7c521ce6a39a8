import { connect } from 'node:net'
import { describe, expect, it, vi } from 'vitest'
import { generateSecret, signedHeaders } from '../../src/webhooks/signature.ts'
import type { Variables } from '../../testing/fixture.ts'
import { type Program, runProgram, startProgram, until } from '../../testing/programs.ts'

vi.setConfig({ testTimeout: 60_000 })

const SECRET = generateSecret()
const HAPPENED = '2026-11-24T06:35:10.000Z'
const EVENT = {
  id: 'evt_812',
  type: 'order.placed',
  timestamp: HAPPENED,
  position: 812,
  resource: { type: 'order', id: 5, version: 1 },
  data: { order: { id: 5 } },
}
const nowSeconds = () => Math.floor(Date.now() / 1000)

/** A running listener. */
interface Listener extends Program {
  url: string
  /** The lines after the first. */
  lines(): string[]
  send(body: string | Uint8Array<ArrayBuffer>, headers?: Record<string, string>): Promise<Response>
}

async function startListener(args: string[] = [], variables: Variables = {}): Promise<Listener> {
  const program = startProgram('webhooks:listen', variables, ['--port', '0', ...args])
  const failure = () => `it does not listen\n${program.stdout()}\n${program.stderr()}`
  const [, url = ''] = await until(
    () => /^Webhooks are received at (\S+)\. /.exec(program.stdout()) ?? undefined,
    failure,
  )
  const lines = () => program.stdout().split('\n').slice(1, -1)
  const send: Listener['send'] = (body, headers = {}) => fetch(url, { method: 'POST', body, headers })
  return { ...program, url, lines, send }
}

/** The headers of an attempt, and its body. */
function signed(event: unknown = EVENT, { secret = SECRET, at = nowSeconds() } = {}) {
  const body = JSON.stringify(event)
  return { body, headers: signedHeaders([secret], { id: 'evt_812', timestampSeconds: at, body }) }
}

function lineOf(listener: Listener, index = 0): Promise<string> {
  return until(
    () => listener.lines()[index],
    () => `there is no line ${index}\n${listener.stdout()}\n${listener.stderr()}`,
  )
}

describe('npm run webhooks:listen', () => {
  it('when a signed event arrives, then it is one line, and verified', async () => {
    const listener = await startListener(['--secret', SECRET])
    expect(listener.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    const { body, headers } = signed({ ...EVENT, timestamp: new Date(nowSeconds() * 1000).toISOString() })
    expect((await listener.send(body, headers)).status).toBe(204)
    const line = /^\d\d:\d\d:\d\d {2}order\.placed {2}order 5 v1 {2}evt_812 {2}\+0\.\d s {2}verified {2}answered 204$/
    expect(await lineOf(listener)).toMatch(line)
  })

  it('when a signature is wrong, missing or old, then the line says so, and 400', async () => {
    const listener = await startListener(['--secret', SECRET])
    const { body, headers } = signed()
    const old = signed(EVENT, { at: nowSeconds() - 400 })
    const other = signed(EVENT, { secret: generateSecret() })
    const tries = [
      [`${body} `, headers, 'the signature is wrong'],
      [body, other.headers, 'the signature is wrong'],
      [body, {}, 'a webhook- header is missing'],
      [body, old.headers, 'it was signed more than 5 minutes ago'],
      [body, signed(EVENT, { at: nowSeconds() + 400 }).headers, 'it was signed for later than 5 minutes from now'],
      [body, { ...headers, 'webhook-timestamp': 'soon' }, 'webhook-timestamp is not a number'],
    ] as const
    for (const [index, [text, sent, reason]] of tries.entries()) {
      expect((await listener.send(text, sent)).status).toBe(400)
      expect(await lineOf(listener, index)).toContain(`NOT verified: ${reason}  answered 400`)
    }
  })

  it('when there is no secret, then events are taken, and it says that it checks none', async () => {
    const listener = await startListener()
    expect(listener.stdout()).toContain('Signatures are not verified: there is no --secret.')
    const { body } = signed()
    expect((await listener.send(body)).status).toBe(204)
    expect(await lineOf(listener)).toMatch(/ {2}evt_812 {2}\+\? {2}not checked {2}answered 204$/)
  })

  it('when the secret is in WEBHOOK_SECRET, then it is used, and --secret wins', async () => {
    const { body, headers } = signed()
    const listener = await startListener([], { WEBHOOK_SECRET: SECRET })
    expect((await listener.send(body, headers)).status).toBe(204)
    const other = await startListener(['--secret', generateSecret()], { WEBHOOK_SECRET: SECRET })
    expect((await other.send(body, headers)).status).toBe(400)
  })

  it('when an attempt is late, then its line says how long after the event it came', async () => {
    const listener = await startListener()
    const delays = [
      [0.5, '+0.0 s'],
      [5, '+5.0 s'],
      [305, '+5.1 min'],
      [271_505, '+75.4 h'],
      [-3, '+0.0 s'],
    ] as const
    for (const [index, [seconds, shown]] of delays.entries()) {
      const { body, headers } = signed(EVENT, { at: Date.parse(HAPPENED) / 1000 + seconds })
      await listener.send(body, headers)
      expect(await lineOf(listener, index)).toContain(`  ${shown}  `)
    }
  })

  it('when a body is no event, then its line says so, and the next one is served', async () => {
    const listener = await startListener()
    const bodies = ['', 'ping', '{}', '[1]', 'null', '{"id":1}', '{"resource":{}}', '{"id":']
    for (const [index, body] of bodies.entries()) {
      expect((await listener.send(body)).status).toBe(204)
      expect(await lineOf(listener, index)).toMatch(/ {2}not an event {2}not checked {2}answered 204$/)
    }
  })

  it('when a text would steer the terminal, then it is shown harmless and short', async () => {
    const listener = await startListener()
    const resource = { type: '\u202egnp.exe', id: `\u001b[2J${'x'.repeat(1000)}` }
    await listener.send(JSON.stringify({ ...EVENT, type: 'order\nplaced\r\u009b1m', resource }))
    const line = await lineOf(listener)
    expect(line).toContain('  order?placed??1m  ?gnp.exe ?[2Jx')
    expect(line.length).toBeLessThan(200)
    expect(listener.stdout()).not.toMatch(/[^\P{C}\n]/u)
  })

  it('when a body is larger than 1 MiB, then 413', async () => {
    const listener = await startListener()
    expect((await listener.send(new Uint8Array(1024 * 1024))).status).toBe(204)
    expect((await listener.send(new Uint8Array(1024 * 1024 + 1))).status).toBe(413)
    expect(await lineOf(listener, 1)).toContain('NOT verified: it is larger than 1 MiB  answered 413')
  })

  it('when a request is no POST, then 405', async () => {
    const listener = await startListener()
    const response = await fetch(listener.url)
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST'])
  })

  it('when a sender goes away in its request, then the next one is served', async () => {
    const listener = await startListener()
    const socket = connect(Number(new URL(listener.url).port), '127.0.0.1')
    socket.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf')
    await new Promise<void>((resolve) => socket.end(resolve))
    expect((await listener.send('x')).status).toBe(204)
    expect(listener.stderr()).toBe('')
  })
})

describe('npm run webhooks:listen -- --fail', () => {
  it.each([
    ['500', 500, null],
    ['410', 410, null],
    ['429', 429, '5'],
  ])('when it is %s, then every answer is that', async (fail, status, retryAfter) => {
    const listener = await startListener(['--fail', fail, '--secret', SECRET])
    for (const index of [0, 1, 2]) {
      const { body, headers } = signed()
      const response = await listener.send(body, headers)
      expect([response.status, response.headers.get('retry-after')]).toEqual([status, retryAfter])
      expect(await lineOf(listener, index)).toMatch(new RegExp(`  verified  answered ${status}$`))
    }
  })

  it('when it has a number, then the first answers fail, and then none', async () => {
    const listener = await startListener(['--fail', '500:2'])
    const statuses = []
    for (let index = 0; index < 4; index++) statuses.push((await listener.send('x')).status)
    expect(statuses).toEqual([500, 500, 204, 204])
  })

  it('when it is timeout:1, then the first request gets no answer, and the next does', async () => {
    const listener = await startListener(['--fail', 'timeout:1'])
    const silent = expect(listener.send(signed().body)).rejects.toThrow('fetch failed')
    expect(await lineOf(listener)).toMatch(/ {2}not checked {2}no answer$/)
    expect((await listener.send('x')).status).toBe(204)
    const { code } = await listener.stop()
    expect(code).toBe(0)
    await silent
  })
})

describe('the end of npm run webhooks:listen', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('when it gets %s, then it ends with 0 and a count', async (signal) => {
    const listener = await startListener()
    await listener.send('x')
    process.kill(listener.pid, signal)
    const { code, stdout, stderr } = await listener.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/\nStopped\. Requests received: 1\.\n$/)
  })
})

describe('the options of npm run webhooks:listen', () => {
  it.each([
    [['--port', '65536'], '--port must be a number from 0 to 65535.'],
    [['--port', 'x'], '--port must be a number from 0 to 65535.'],
    [['--port', ''], '--port must be a number from 0 to 65535.'],
    [['--fail', '404'], '--fail must be 500, 429, 410 or timeout'],
    [['--fail', '500:0'], '--fail must be 500, 429, 410 or timeout'],
    [['--fail', '500:'], '--fail must be 500, 429, 410 or timeout'],
    [['--fail', ''], '--fail must be 500, 429, 410 or timeout'],
    [['--secret', ''], '--secret must be the secret as it was shown'],
    [['--secret', 'abc-hidden'], '--secret must be the secret as it was shown'],
  ])('when they are %j, then it says what is wrong, with the help', async (args, fault) => {
    const { code, stdout, stderr } = await runProgram('webhooks:listen', {}, args)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr.trim().startsWith(fault)).toBe(true)
    expect(stderr).toContain('npm run webhooks:listen')
    expect(stderr).not.toContain('abc-hidden')
  })

  it('when WEBHOOK_SECRET is malformed, then it is named and not shown', async () => {
    const { code, stderr } = await runProgram('webhooks:listen', { WEBHOOK_SECRET: 'abc-hidden' })
    expect(code).toBe(1)
    expect(stderr.trim()).toMatch(/^WEBHOOK_SECRET must be the secret as it was shown/)
    expect(stderr).not.toContain('abc-hidden')
  })

  it('when the port is taken, then it says how to choose another', async () => {
    const { port } = new URL((await startListener()).url)
    const { code, stderr } = await runProgram('webhooks:listen', {}, ['--port', port])
    expect(code).toBe(1)
    expect(stderr).toContain(`Port ${port} can't be used`)
    expect(stderr).toContain('Choose another one with --port.')
    expect(stderr).not.toMatch(/^\s+at /m)
  })
})

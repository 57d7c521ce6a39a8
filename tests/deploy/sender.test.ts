import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { bundleFunction } from '../../scripts/bundling.ts'
import { LOOPBACK_HOSTS, NO_ADDRESSES, PUBLIC_ADDRESSES, SPECIAL_ADDRESSES } from '../../testing/addresses.ts'
import { createAuthority } from '../../testing/certificates.ts'
import { DENO, DENO_TASKS, runsOnDeno } from '../../testing/deno.ts'
import { BINARIES, ROOT, startCommand, within } from '../../testing/programs.ts'
import { RECEIVERS, startRawReceiver, startReceiver } from '../../testing/receivers.ts'
import type { Sending, Sent } from './send.ts'

vi.setConfig({ testTimeout: 60_000 })

const PROGRAM = 'tests/deploy/send.ts'
/** Those of `deno task start`. */
const PERMISSIONS = DENO_TASKS.start?.command.match(/--\S+/g) ?? []

const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
const bundle = join(folder, 'app.mjs')
await bundleFunction(PROGRAM, bundle)
afterAll(() => rmSync(folder, { recursive: true }))

/** The Node of the machine, which may be older than the project's. */
const machines = (process.env.PATH ?? '').split(delimiter).filter((path) => !path.includes('node_modules'))
const node = machines.map((path) => join(path, 'node')).find((file) => existsSync(file))
const OWN_NODE = join(BINARIES, 'node')

type Runtime = [name: string, command: string, args: string[]]

const RUNTIMES: Runtime[] = [
  ['Node', OWN_NODE, [PROGRAM]],
  ...(runsOnDeno() ? [['Deno', DENO, ['run', ...PERMISSIONS, PROGRAM]] as Runtime] : []),
  ['Node, bundled', OWN_NODE, [bundle]],
  ...(node === undefined ? [] : [[`Node ${versionOf(node)}, bundled`, node, [bundle]] as Runtime]),
]

function versionOf(file: string): string {
  return spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout.trim()
}

const HOST = 'hooks.example'
const LOOPBACK = ['127.0.0.1']

describe.each(RUNTIMES)('on %s', (_, program, args) => {
  async function send(sendings: Sending[], variables = {}): Promise<Sent[]> {
    const all = { DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1', ...variables }
    const command = startCommand(program, [...args, JSON.stringify(sendings)], all, ROOT)
    const { code, stdout } = await within(command.ended, () => `it did not end: ${command.stderr()}`)
    expect({ code, stderr: command.stderr() }).toMatchObject({ code: 0 })
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  }

  it('when receivers are good, broken or hostile, then each attempt says so', async () => {
    const ports = await Promise.all(RECEIVERS.map(async ({ connected }) => (await startRawReceiver(connected)).port))
    const attempts = await send(
      RECEIVERS.map(({ timeoutMs }, i) => ({ url: `http://${HOST}:${ports[i]}/`, addresses: LOOPBACK, timeoutMs })),
    )
    expect(attempts.map((attempt, i) => ({ does: RECEIVERS[i]?.does, ...attempt }))).toEqual(
      RECEIVERS.map(({ does, attempt }) => expect.objectContaining({ does, error: null, status: null, ...attempt })),
    )
  })

  it('when a name has a special address, then no connection is made', async () => {
    const sendings = [...SPECIAL_ADDRESSES, ...NO_ADDRESSES].map((address) => ({
      url: `http://${HOST}/`,
      addresses: [address],
      networks: '',
    }))
    const attempts = await send(sendings)
    expect(attempts.map(({ error }, i) => [sendings[i]?.addresses, error])).toEqual(
      sendings.map(({ addresses }) => [addresses, 'address_not_allowed']),
    )
  })

  it('when a name has a public address, then its URL may be registered', async () => {
    const sendings = PUBLIC_ADDRESSES.map((address) => ({
      url: `http://${HOST}/`,
      addresses: [address],
      onlyCheck: true,
    }))
    expect(await send(sendings)).toEqual(PUBLIC_ADDRESSES.map(() => ({ refusal: null })))
  })

  it('when a URL hides an address of this machine, then no connection is made', async () => {
    const receiver = await startReceiver(tellHost)
    const attempts = await send(
      LOOPBACK_HOSTS.map((host) => ({ url: `http://${host}:${receiver.port}/`, networks: '' })),
    )
    expect(attempts.map(({ error }, i) => [LOOPBACK_HOSTS[i], error])).toEqual(
      LOOPBACK_HOSTS.map((host) => [host, 'address_not_allowed']),
    )
    expect(receiver.sockets).toHaveLength(0)
  })

  it('when the certificate is for the host, then the message is sent, with its name', async () => {
    const authority = createAuthority()
    const { port } = await startReceiver(tellHost, authority.issue(`DNS:${HOST},IP:127.0.0.1`))
    const hosts = [HOST, `${HOST}.`, '127.0.0.1']
    const attempts = await send(
      hosts.map((host) => ({ url: `https://${host}:${port}/`, addresses: LOOPBACK })),
      { NODE_EXTRA_CA_CERTS: authority.file },
    )
    expect(attempts.map(({ error, excerpt, refusal, cause }) => (error === null ? [excerpt, refusal] : cause))).toEqual(
      [
        [`${HOST}:${port} ${HOST}`, null],
        [`${HOST}.:${port} ${HOST}`, null],
        [`127.0.0.1:${port} false`, null],
      ],
    )
  })

  it('when the certificate is not valid, then nothing is sent', async () => {
    const [authority, other] = [createAuthority(), createAuthority()]
    const receivers = await Promise.all([
      startReceiver(tellHost, authority.issue('DNS:elsewhere.example')),
      startReceiver(tellHost, other.issue(`DNS:${HOST}`)),
      startReceiver(tellHost),
      startRawReceiver((socket) => socket.once('data', () => socket.end())),
    ])
    const sendings = receivers.map(({ port }) => ({ url: `https://${HOST}:${port}/`, addresses: LOOPBACK }))
    const attempts = await send(sendings, {
      NODE_EXTRA_CA_CERTS: authority.file,
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
    })
    expect(attempts).toEqual(receivers.map(() => expect.objectContaining({ status: null, error: 'tls' })))
  })

  it('when TLS is never agreed on, then the attempt times out', async () => {
    const { port } = await startRawReceiver((socket) => socket.resume())
    const [attempt] = await send([{ url: `https://${HOST}:${port}/`, addresses: LOOPBACK, timeoutMs: 300 }])
    expect(attempt).toMatchObject({ status: null, error: 'timeout' })
  })

  it('when the environment names a proxy, then it is not used', async () => {
    const [proxy, { port }] = [await startReceiver(tellHost), await startReceiver(tellHost)]
    const url = `http://127.0.0.1:${proxy.port}`
    const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'all_proxy']
    const [attempt] = await send([{ url: `http://${HOST}:${port}/`, addresses: LOOPBACK }], {
      NODE_USE_ENV_PROXY: '1',
      ...Object.fromEntries(names.map((name) => [name, url])),
    })
    expect(attempt).toMatchObject({ status: 200, excerpt: expect.stringContaining(`${HOST}:${port}`) })
    expect(proxy.sockets).toHaveLength(0)
  })

  it('when an allowed address leads to another one, then nothing is sent', async () => {
    const received: Buffer[] = []
    const { port } = await startRawReceiver((socket) => socket.on('data', (data) => received.push(data)))
    const [attempt] = await send([{ url: `http://0.0.0.0:${port}/`, networks: '0.0.0.0/32' }])
    expect(attempt).toMatchObject({
      error: 'address_not_allowed',
      cause: expect.stringContaining('leads to 127.0.0.1'),
    })
    expect(received).toEqual([])
  })

  it('when some addresses refuse, then the next one gets the message', async () => {
    const { port } = await startReceiver(tellHost)
    const addresses = ['127.0.0.2', '::1', '127.0.0.3', '127.0.0.1']
    const networks = '127.0.0.0/8,::1/128'
    const [attempt] = await send([{ url: `http://${HOST}:${port}/`, addresses, networks }])
    expect(attempt).toMatchObject({ status: 200, excerpt: expect.stringContaining(`${HOST}:${port}`) })
  })

  it('when the receiver answers before it reads, then its status counts', async () => {
    const { port } = await startRawReceiver((socket) => socket.write('HTTP/1.1 413 \r\nContent-Length: 4\r\n\r\nmuch'))
    const body = 'x'.repeat(100_000)
    const [attempt] = await send([{ url: `http://${HOST}:${port}/`, addresses: LOOPBACK, body }])
    expect(attempt).toMatchObject({ status: 413, excerpt: 'much' })
  })
})

/** Responds with the host that the request names and the one that TLS was asked for. */
function tellHost({ headers, socket }: IncomingMessage, response: ServerResponse): void {
  response.end(`${headers.host} ${socket instanceof TLSSocket ? String(socket.servername) : ''}`)
}

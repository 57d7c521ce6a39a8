import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { expect, it, onTestFinished, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import { probeWrites } from '../../src/platform/database/write-probe.ts'
import { type Ended, runProgram } from '../../testing/programs.ts'

vi.setConfig({ testTimeout: 60_000 })

const PASSWORD = 'a password of these tests'
const CLIENT_SSL = 0x800
const TLS_HANDSHAKE = 0x16
const REQUEST_FOR_TLS_BYTES = 36

/** The first packet of a MySQL server. */
function greeting(offersTls: boolean): Buffer {
  const capabilities = offersTls ? 0xffff : 0xffff & ~CLIENT_SSL
  const body = Buffer.concat([
    Buffer.from([10]),
    Buffer.from('8.4.0\0'),
    Buffer.from([1, 0, 0, 0]),
    Buffer.from('12345678\0'),
    Buffer.from([capabilities & 0xff, capabilities >> 8, 45, 2, 0, 0x08, 0x00, 21]),
    Buffer.alloc(10),
    Buffer.from('123456789012\0caching_sha2_password\0'),
  ])
  return Buffer.concat([Buffer.from([body.length, 0, 0, 0]), body])
}

/** A server that sends its greeting and then only listens, until the test ends. */
async function startListener({ offersTls = true } = {}) {
  const heard: Buffer[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (data) => heard.push(data))
    socket.write(greeting(offersTls))
    onTestFinished(() => void socket.destroy())
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      if (typeof address === 'object' && address !== null) resolve(address.port)
      else reject(new Error('it has no port'))
    })
  })
  onTestFinished(() => void server.close())
  return { port, heard: () => Buffer.concat(heard) }
}

function configFor(port: number, DB_TLS: string) {
  const where = { DB_HOST: '127.0.0.1', DB_PORT: String(port), DB_USER: 'somebody', DB_PASS: PASSWORD }
  return parseEnv({ ...where, DB_CONNECT_TIMEOUT_MS: '500', DB_TLS }).database
}

it.each(['on', 'amazon-rds'])('when DB_TLS is %s, then TLS begins before anything else is sent', async (tls) => {
  const listener = await startListener()
  const db = await openDatabase(configFor(listener.port, tls))
  onTestFinished(() => db.destroy())
  await expect(probeWrites(db)).rejects.toThrow()
  const heard = listener.heard()
  const length = 4 + heard.readUIntLE(0, 3)
  expect(heard.readUInt32LE(4) & CLIENT_SSL).toBe(CLIENT_SSL)
  expect(heard[length]).toBe(TLS_HANDSHAKE)
  for (const told of ['somebody', PASSWORD]) expect(heard.includes(told)).toBe(false)
})

it('when DB_TLS is off, then the connection is plain', async () => {
  const listener = await startListener()
  const db = await openDatabase(configFor(listener.port, 'off'))
  onTestFinished(() => db.destroy())
  await expect(probeWrites(db)).rejects.toThrow()
  expect(listener.heard().readUInt32LE(4) & CLIENT_SSL).toBe(0)
  expect(listener.heard().includes('somebody')).toBe(true)
})

it('when the server offers no TLS, then nothing is sent to it', async () => {
  const listener = await startListener({ offersTls: false })
  const db = await openDatabase(configFor(listener.port, 'on'))
  onTestFinished(() => db.destroy())
  await expect(probeWrites(db)).rejects.toThrow(/secure connection/)
  expect(listener.heard()).toHaveLength(0)
})

const REMEDY = 'DB_HOST must be a name that the certificate is for, and NODE_EXTRA_CA_CERTS must name its authority.'

interface Certificate {
  cert: Buffer
  key: Buffer
  /** The certificate file that makes it trusted. */
  authority: string
}

/** A self-signed certificate for these names. */
function certificateFor(names: string): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const [key, authority] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const about = ['-subj', '/CN=database', '-addext', `subjectAltName=${names}`]
  const { status, error, stderr } = spawnSync('openssl', [...kind, ...about, '-keyout', key, '-out', authority])
  if (status !== 0) throw new Error(`openssl made no certificate: ${error?.message ?? stderr}`)
  return { cert: readFileSync(authority), key: readFileSync(key), authority }
}

/** A server with this certificate that records what it gets over TLS, until the test ends. */
async function startSafeListener({ cert, key }: Certificate) {
  const heard: Buffer[] = []
  const server = createServer((socket: Socket) => {
    socket.on('error', () => {})
    onTestFinished(() => void socket.destroy())
    socket.write(greeting(true))
    socket.once('data', (first: Buffer) => {
      // The bytes after the TLS request belong to TLS already.
      socket.pause()
      if (first.length > REQUEST_FOR_TLS_BYTES) socket.unshift(first.subarray(REQUEST_FOR_TLS_BYTES))
      const safe = new TLSSocket(socket, { isServer: true, cert, key })
      safe.on('error', () => {})
      safe.on('data', (data) => {
        heard.push(data)
        safe.destroy()
      })
    })
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      if (typeof address === 'object' && address !== null) resolve(address.port)
      else reject(new Error('it has no port'))
    })
  })
  onTestFinished(() => void server.close())
  return { port, heard: () => Buffer.concat(heard) }
}

async function startAgainst(
  certificate: Certificate,
  host: string,
  DB_TLS = 'on',
): Promise<{ ended: Ended; heard: Buffer }> {
  const { port, heard } = await startSafeListener(certificate)
  const ended = await runProgram('start:customers', {
    DB_HOST: host,
    DB_PORT: String(port),
    DB_USER: 'somebody',
    DB_PASS: PASSWORD,
    DB_TLS,
    DB_CONNECT_TIMEOUT_MS: '5000',
    NODE_EXTRA_CA_CERTS: certificate.authority,
  })
  return { ended, heard: heard() }
}

it.each([
  ['localhost', 'DNS:elsewhere.example'],
  ['127.0.0.1', 'DNS:localhost,DNS:database'],
  ['127.0.0.1', 'IP:127.0.0.2'],
])('when %s shows a certificate for %s, then nothing is sent to it', async (host, names) => {
  const { ended, heard } = await startAgainst(certificateFor(names), host)
  expect(ended.code).toBe(1)
  expect(ended.stderr).toContain("does not match certificate's altnames")
  expect(ended.stderr).toContain(REMEDY)
  expect(ended.stderr).not.toMatch(/^\s+at /m)
  expect(heard).toHaveLength(0)
})

it.each([
  ['localhost', 'DNS:localhost'],
  ['127.0.0.1', 'IP:127.0.0.1'],
])('when %s shows a trusted certificate for %s, then the login is sent', async (host, names) => {
  const { heard } = await startAgainst(certificateFor(names), host)
  expect(heard.includes('somebody')).toBe(true)
})

it.each(['on', 'amazon-rds'])(
  'when DB_TLS is %s and does not trust the certificate, then nothing is sent',
  async (tls) => {
    const [certificate, other] = [certificateFor('DNS:localhost'), certificateFor('DNS:localhost')]
    const { ended, heard } = await startAgainst({ ...certificate, authority: other.authority }, 'localhost', tls)
    expect(ended.stderr).toContain(REMEDY)
    expect(heard).toHaveLength(0)
  },
)

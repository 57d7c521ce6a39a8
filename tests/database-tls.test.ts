import { createServer } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { createWriteProbe, openDatabase } from '../src/platform/database.ts'
import { parseEnv } from '../src/platform/env.ts'

const PASSWORD = 'a password of these tests'
const CLIENT_SSL = 0x800
const TLS_HANDSHAKE = 0x16

/** What MySQL says first. */
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

/** A server that greets and then only listens, until the test ends. */
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

it.each(['on', 'amazon-rds'])('when DB_TLS is %s, then TLS begins before anything is told', async (tls) => {
  const listener = await startListener()
  const db = await openDatabase(configFor(listener.port, tls))
  onTestFinished(() => db.destroy())
  await expect(createWriteProbe(db)()).rejects.toThrow()
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
  await expect(createWriteProbe(db)()).rejects.toThrow()
  expect(listener.heard().readUInt32LE(4) & CLIENT_SSL).toBe(0)
  expect(listener.heard().includes('somebody')).toBe(true)
})

it('when the server offers no TLS, then nothing is told it at all', async () => {
  const listener = await startListener({ offersTls: false })
  const db = await openDatabase(configFor(listener.port, 'on'))
  onTestFinished(() => db.destroy())
  await expect(createWriteProbe(db)()).rejects.toThrow(/secure connection/)
  expect(listener.heard()).toHaveLength(0)
})

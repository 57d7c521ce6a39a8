import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { freePort } from './database-server.ts'

interface Address {
  host: string
  port: number
}

export interface DatabaseProxy extends Address {
  /** New connections lead there from now on; those that are open stay where they are. */
  leadTo(address: Address): void
  /** Whatever the server sends comes so much later from now on. */
  delayBy(ms: number): void
}

/** Stands where a database's name would lead, until the test ends. */
export async function startDatabaseProxy(first: Address): Promise<DatabaseProxy> {
  let target = first
  let delayMs = 0
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(target.port, target.host)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.once('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
    near.pipe(far)
    far.on('end', () => near.end())
    const held: Buffer[] = []
    far.on('data', (data) => {
      held.push(data)
      const sendFirst = () => near.write(held.shift() ?? '')
      if (delayMs === 0 && held.length === 1) sendFirst()
      else setTimeout(sendFirst, delayMs)
    })
  })
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    host: '127.0.0.1',
    port,
    leadTo(address) {
      target = address
    },
    delayBy(ms) {
      delayMs = ms
    },
  }
}

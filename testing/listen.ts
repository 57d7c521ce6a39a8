import type { Server } from 'node:net'

/** Starts a server on this machine. @returns its port, which is a free one by default */
export function listen(server: Server, port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      if (address !== null && typeof address === 'object') resolve(address.port)
      else reject(new Error('the server has no port'))
    })
  })
}

import { RawConnection } from '../../testing/raw-http.ts'

/** Callers of one client with one request in flight each, until the parent ends or sends stop. */
export interface Flood {
  port: number
  connections: number
  /** The encoded requests, sent in turn. */
  requests: string[]
}

/** Counts of responses by status. */
export type FloodResponses = Record<string, number>

let stopped = false
process.on('disconnect', () => process.exit())
process.on('message', async (message: Flood | 'stop') => {
  if (message === 'stop') stopped = true
  else process.send?.(await flood(message))
})

async function flood({ port, connections, requests }: Flood): Promise<FloodResponses> {
  const responses: FloodResponses = {}
  const call = async (_: unknown, caller: number) => {
    let connection = new RawConnection(port)
    for (let i = caller; !stopped; i++) {
      if (!connection.open) connection = new RawConnection(port)
      const outcome = await connection.send(requests[i % requests.length] ?? '').catch(() => ({ status: 'lost' }))
      responses[outcome.status] = (responses[outcome.status] ?? 0) + 1
    }
    connection.close()
  }
  await Promise.all(Array.from({ length: connections }, call))
  return responses
}

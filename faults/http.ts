import type { ServiceName } from '../testing/openapi.ts'
import { ConnectionPool, encodeRequest, readExactly } from '../testing/raw-http.ts'
import type { Ports } from '../testing/service-processes.ts'
import type { JumpyClock } from './clock.ts'

/** A request that may be sent any number of times. */
export interface Sendable {
  service: ServiceName
  path: string
  headers: Record<string, string>
  body: object | undefined
}

/** The whole response, or why there is none. */
export type Reply = { status: number; body: string } | { failure: string }

export type Send = (sendable: Sendable, clock: JumpyClock, limitMs: number) => Promise<Reply>

/** However far a caller's clock jumps, the caller does not wait longer than this. */
const MAX_WAIT_MS = 25_000

/** Posts over kept connections. @param instances where the services are; a retry goes to the next instance */
export function createSender(instances: readonly Ports[], token: string): Send {
  const pools = new Map<number, ConnectionPool>()
  const turns = new WeakMap<Sendable, number>()
  let first = 0

  function poolFor(sendable: Sendable): ConnectionPool {
    const turn = turns.get(sendable) ?? first++
    turns.set(sendable, turn + 1)
    const port = instances[turn % instances.length]?.[sendable.service] ?? 0
    const pool = pools.get(port) ?? new ConnectionPool(port)
    pools.set(port, pool)
    return pool
  }

  return async (sendable, clock, limitMs) => {
    const { path, body, headers: own } = sendable
    const headers = { authorization: `Bearer ${token}`, date: new Date(clock.now()).toUTCString(), ...own }
    const request = encodeRequest({ method: 'POST', path, headers, ...(body && { body }) })
    const late = new AbortController()
    const stopWaiting = clock.after(limitMs, MAX_WAIT_MS, () => late.abort())
    try {
      const response = await poolFor(sendable).send(request, readExactly('POST'), late.signal)
      if (response === undefined) throw new Error('no connection')
      return { status: response.status, body: Buffer.from(response.text, 'latin1').toString() }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      return { failure: late.signal.aborted ? 'late' : message }
    } finally {
      stopWaiting()
    }
  }
}

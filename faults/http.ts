import type { ServiceName } from '../testing/openapi.ts'
import { ConnectionPool, encodeRequest, readExactly } from '../testing/raw-http.ts'
import type { Ports } from '../testing/service-processes.ts'
import type { SkewedClock } from './clock.ts'

/** A request that may be sent any number of times. */
export interface ServiceRequest {
  service: ServiceName
  path: string
  headers: Record<string, string>
  body: object | undefined
}

/** The whole response, or why there is none. */
export type Reply = { status: number; body: string } | { failure: string }

export type Send = (request: ServiceRequest, clock: SkewedClock, limitMs: number) => Promise<Reply>

/** However far a caller's clock jumps, the caller does not wait longer than this. */
const MAX_WAIT_MS = 25_000

/** Posts over kept connections. @param instances where the services are; a retry goes to the next instance */
export function createSender(instances: readonly Ports[], token: string): Send {
  const pools = new Map<number, ConnectionPool>()
  const turns = new WeakMap<ServiceRequest, number>()
  let first = 0

  function poolFor(request: ServiceRequest): ConnectionPool {
    const turn = turns.get(request) ?? first++
    turns.set(request, turn + 1)
    const port = instances[turn % instances.length]?.[request.service] ?? 0
    const pool = pools.get(port) ?? new ConnectionPool(port)
    pools.set(port, pool)
    return pool
  }

  return async (target, clock, limitMs) => {
    const { path, body, headers: own } = target
    const headers = { authorization: `Bearer ${token}`, date: new Date(clock.now()).toUTCString(), ...own }
    const request = encodeRequest({ method: 'POST', path, headers, ...(body && { body }) })
    const late = new AbortController()
    const stopWaiting = clock.after(limitMs, MAX_WAIT_MS, () => late.abort())
    try {
      const response = await poolFor(target).send(request, readExactly('POST'), late.signal)
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

import { Agent, type IncomingMessage, request } from 'node:http'
import type { JumpyClock } from './clock.ts'
import type { Service } from './system.ts'

/** A request that may be sent any number of times. */
export interface Sendable {
  service: Service
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  body: string | undefined
}

/** The whole answer, or why there is none. */
export type Reply = { status: number; body: string } | { failure: string }

export type Send = (sendable: Sendable, clock: JumpyClock, limitMs: number) => Promise<Reply>

/** However a caller's clock jumps, it does not wait longer than this. */
const MAX_WAIT_MS = 25_000

/** Sends over kept connections, as callers do. @param instances where they are; a request sent again goes to the next one */
export function createSender(instances: readonly Record<Service, number>[], token: string): Send {
  const agent = new Agent({ keepAlive: true })
  const turns = new WeakMap<Sendable, number>()
  let first = 0

  function portFor(sendable: Sendable): number {
    const turn = turns.get(sendable) ?? first++
    turns.set(sendable, turn + 1)
    return instances[turn % instances.length]?.[sendable.service] ?? 0
  }

  return (sendable, clock, limitMs) =>
    new Promise((resolve) => {
      const { method, path, headers, body } = sendable
      const outgoing = request({
        agent,
        host: '127.0.0.1',
        port: portFor(sendable),
        method,
        path,
        headers: {
          authorization: `Bearer ${token}`,
          date: new Date(clock.now()).toUTCString(),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
      })
      const settle = (reply: Reply) => {
        stopWaiting()
        resolve(reply)
      }
      const stopWaiting = clock.after(limitMs, MAX_WAIT_MS, () => {
        outgoing.destroy()
        settle({ failure: 'late' })
      })
      outgoing.on('error', (error) => settle({ failure: error.message }))
      outgoing.on('response', (incoming) => read(incoming).then(settle))
      outgoing.end(body)
    })
}

function read(incoming: IncomingMessage): Promise<Reply> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('error', (error) => resolve({ failure: error.message }))
    incoming.on('close', () => resolve({ failure: 'closed' }))
    incoming.on('end', () => {
      if (!incoming.complete) return resolve({ failure: 'cut off' })
      resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString() })
    })
  })
}

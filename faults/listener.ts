import type { Event } from '../src/events/event-response.ts'
import { isRecord } from './history.ts'

// Whoever is told what happens, while the system is broken: the reader of the feed, and receivers of webhooks.

/** An event as it was told. */
export interface HeardEvent {
  id: string
  position: number
  type: string
  resource: { type: string; id: number; version: number }
  /** The state of an order. */
  status?: string
  /** The id of an entry of the ledger. */
  adjustment?: number
}

export interface Listener {
  /** As the report names it. */
  name: string
  /** `once`: each event, in the order of the feed. `at least once`: in order for each resource. */
  promise: 'once' | 'at least once'
  /** The position of the last event of which it is not told, because it came before. */
  begin: number
  /** Whether it is told of events of this type. */
  wants(type: string): boolean
  /** Listens until this is over, whatever fails meanwhile. */
  listen(over: AbortSignal): Promise<void>
  /** When nothing is broken any more: hears what is left. */
  hearRest(signal: AbortSignal): Promise<void>
  /** All that was heard, in that order. */
  heard: readonly HeardEvent[]
  /** How it went, for people. */
  summary(): string
  /** What must never happen, in words. */
  troubles(): string[]
}

export function heardAs({ id, position, type, resource, data }: Event): HeardEvent {
  const status = isRecord(data.order) ? data.order.status : undefined
  const adjustment = isRecord(data.adjustment) ? data.adjustment.id : undefined
  return {
    ...{ id, position, type, resource },
    ...(typeof status === 'string' && { status }),
    ...(typeof adjustment === 'number' && { adjustment }),
  }
}

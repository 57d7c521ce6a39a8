// Whoever is told what happens, while the system is broken. The reader of the feed is one; a receiver of webhooks would be
// another: it goes into the list in run.ts.

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

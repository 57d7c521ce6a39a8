import { connect, createServer, type Socket } from 'node:net'
import { listen } from './listen.ts'

export interface Address {
  host: string
  port: number
}

/** What a watch decides about the bytes it saw: pass them on, or cut the connection after some of them. */
export type Verdict = 'pass' | { cutAfter: number }

export interface Watch {
  /** Matches a chunk towards the service that contains any of these. */
  texts: readonly string[]
  /** Acts before the request is passed on, after it was, or before its response is passed on. */
  at: 'departure' | 'arrival' | 'answer'
  /** On arrival the verdict has no effect: nothing is left to pass on. */
  act(): Verdict
}

/** A TCP proxy that breaks the network between callers and a service. Faults hit the connections that exist. */
export interface NetworkProxy extends Address {
  /** Resets every connection. @returns how many */
  cut(): number
  /** Tells one side that nothing more will come; the other side notices nothing. @returns how many connections */
  halfClose(side: 'callers' | 'service'): number
  /** From now on, and for a while, bytes arrive this much later. */
  delay(ms: number, forMs?: number, directions?: readonly Direction[]): void
  /**
   * For a while nothing passes and no side is told, not even that the other has closed. New connections open and lead
   * nowhere. Afterwards the connections that lost bytes are reset, as the kernels would find out then.
   */
  swallow(forMs: number): void
  /** While it is on, drops what the service sends. Requests still arrive, and no connection ends. */
  muteService(on: boolean): void
  /** New connections lead to this address; open ones stay. */
  leadTo(address: Address): void
  /** Waits for one request. @returns cancels the watch */
  watch(watch: Watch): () => boolean
  /** Ends all delays and swallowing, and resets half-closed connections. */
  heal(): void
  close(): Promise<void>
}

export type Direction = 'requests' | 'responses'
const BOTH: readonly Direction[] = ['requests', 'responses']
const HOST = '127.0.0.1'
/** A half-closed connection is reset after this time. */
const HALF_CLOSED_MS = 5_000

/** What all connections of a proxy share. */
interface Network {
  target: Address
  delay: { ms: number; until: number; directions: readonly Direction[] }
  isServiceMuted: boolean
  watches: Set<Watch>
  connections: Set<ProxiedConnection>
}

/** Opens a proxy on a free port. It stays open while its target is down. */
export async function openProxy(target: Address): Promise<NetworkProxy> {
  const connections = new Set<ProxiedConnection>()
  const network: Network = {
    target,
    delay: { ms: 0, until: 0, directions: BOTH },
    isServiceMuted: false,
    watches: new Set(),
    connections,
  }
  let swallowing: NodeJS.Timeout | undefined

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
    const connection = new ProxiedConnection(caller, network)
    connections.add(connection)
    if (swallowing === undefined) connection.open()
    else connection.swallow()
  })
  const port = await listen(server)

  function endSwallowing(): void {
    clearTimeout(swallowing)
    swallowing = undefined
    for (const connection of connections) if (connection.swallowed) connection.reset()
  }

  function cut(): number {
    const { size } = connections
    for (const connection of connections) connection.reset()
    return size
  }

  return {
    host: HOST,
    port,
    cut,
    halfClose(side) {
      for (const connection of connections) connection.endTowards(side)
      return connections.size
    },
    delay(ms, forMs = Number.POSITIVE_INFINITY, directions = BOTH) {
      network.delay = { ms, until: Date.now() + forMs, directions }
    },
    swallow(forMs) {
      for (const connection of connections) connection.swallow()
      clearTimeout(swallowing)
      swallowing = setTimeout(endSwallowing, forMs)
    },
    muteService(on) {
      network.isServiceMuted = on
    },
    leadTo(address) {
      network.target = address
    },
    watch(watch) {
      network.watches.add(watch)
      return () => network.watches.delete(watch)
    },
    heal() {
      network.delay.until = 0
      network.watches.clear()
      endSwallowing()
      for (const connection of connections) if (connection.halfClosed) connection.reset()
    },
    close() {
      endSwallowing()
      return new Promise((resolve) => {
        server.close(() => resolve())
        cut()
      })
    },
  }
}

/** Bytes that travel in one direction, or the news that no more will come. */
interface Parcel {
  due: number
  chunk: Buffer | undefined
}

class ProxiedConnection {
  readonly #caller: Socket
  #service: Socket | undefined
  readonly #network: Network
  readonly #lanes: Record<Direction, Parcel[]> = { requests: [], responses: [] }
  readonly #ended = { callers: false, service: false }
  #awaitingResponse: Watch[] = []
  swallowed = false

  constructor(caller: Socket, network: Network) {
    this.#caller = caller
    this.#network = network
    caller.on('error', () => {})
    caller.on('close', () => this.#closed())
    caller.on('data', (chunk) => this.#receive('requests', chunk))
    caller.on('end', () => this.#receive('requests', undefined))
  }

  open(): void {
    const service = connect({ ...this.#network.target, allowHalfOpen: true, noDelay: true })
    this.#service = service
    service.on('error', () => this.reset())
    service.on('close', () => this.#closed())
    service.on('data', (chunk) => this.#receive('responses', chunk))
    service.on('end', () => this.#receive('responses', undefined))
  }

  get halfClosed(): boolean {
    return this.#ended.callers || this.#ended.service
  }

  swallow(): void {
    this.swallowed = true
  }

  endTowards(side: 'callers' | 'service'): void {
    this.#ended[side] = true
    const socket = side === 'callers' ? this.#caller : this.#service
    socket?.end()
    setTimeout(() => this.reset(), HALF_CLOSED_MS).unref()
  }

  reset(): void {
    this.swallowed = false
    for (const socket of [this.#caller, this.#service]) if (socket && !socket.destroyed) socket.resetAndDestroy()
    this.#network.connections.delete(this)
  }

  #closed(): void {
    // While nothing passes, a side does not learn that the other has closed.
    if (!this.swallowed) this.#finish()
  }

  /** Closes both sides after all bytes that still travel have arrived. */
  #finish(): void {
    if (this.#lanes.requests.length + this.#lanes.responses.length > 0) setTimeout(() => this.#finish(), 10)
    else {
      for (const socket of [this.#caller, this.#service]) socket?.destroySoon()
      this.#network.connections.delete(this)
    }
  }

  #receive(direction: Direction, chunk: Buffer | undefined): void {
    if (this.swallowed || this.#ended[direction === 'responses' ? 'callers' : 'service']) return
    if (direction === 'responses' && chunk && this.#network.isServiceMuted) return
    const lane = this.#lanes[direction]
    const due = Math.max(Date.now() + this.#delayNow(direction), lane.at(-1)?.due ?? 0)
    if (lane.length === 0 && due <= Date.now()) this.#deliver(direction, chunk)
    else {
      lane.push({ due, chunk })
      if (lane.length === 1) this.#deliverLater(direction)
    }
  }

  #delayNow(direction: Direction): number {
    const { ms, until, directions } = this.#network.delay
    return Date.now() < until && directions.includes(direction) ? ms : 0
  }

  /** The watches that match, which wait no longer. */
  #takeWatches(chunk: Buffer): Watch[] {
    const { watches } = this.#network
    const found = [...watches].filter(({ texts }) => texts.some((text) => chunk.includes(text)))
    for (const watch of found) watches.delete(watch)
    return found
  }

  #deliverLater(direction: Direction): void {
    const lane = this.#lanes[direction]
    const [first] = lane
    if (first === undefined) return
    setTimeout(
      () => {
        lane.shift()
        if (!this.swallowed) this.#deliver(direction, first.chunk)
        this.#deliverLater(direction)
      },
      Math.max(0, first.due - Date.now()),
    )
  }

  #deliver(direction: Direction, chunk: Buffer | undefined): void {
    if (direction === 'requests') this.#passRequest(chunk)
    else this.#passResponse(chunk)
  }

  #passRequest(chunk: Buffer | undefined): void {
    const service = this.#service
    if (chunk === undefined) service?.end()
    else if (service?.writable) {
      const watches = this.#takeWatches(chunk)
      this.#awaitingResponse.push(...watches.filter(({ at }) => at === 'answer'))
      const cut = cutAmong(watches.filter(({ at }) => at === 'departure'))
      if (cut) this.#cutOff(service, chunk, cut.cutAfter)
      else {
        // The request has arrived once the kernel has it: the service will read it whatever happens to the connection.
        service.write(chunk, () => {
          for (const watch of watches) if (watch.at === 'arrival') watch.act()
        })
      }
    }
  }

  #passResponse(chunk: Buffer | undefined): void {
    if (chunk === undefined) this.#caller.end()
    else {
      const watches = this.#awaitingResponse
      this.#awaitingResponse = []
      const cut = cutAmong(watches)
      if (cut) this.#cutOff(this.#caller, chunk, cut.cutAfter)
      else if (this.#caller.writable) this.#caller.write(chunk)
    }
  }

  #cutOff(towards: Socket, chunk: Buffer, after: number): void {
    this.#ended.callers = true
    this.#ended.service = true
    const part = chunk.subarray(0, after)
    // A reset discards bytes that were not read yet: give the part a moment to arrive.
    if (part.length === 0 || !towards.writable) this.reset()
    else towards.write(part, () => setTimeout(() => this.reset(), 5))
  }
}

function cutAmong(watches: readonly Watch[]): { cutAfter: number } | undefined {
  return watches.map((watch) => watch.act()).find((verdict) => verdict !== 'pass')
}

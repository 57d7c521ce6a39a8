import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What becomes of what a watch saw: it goes its way, or its connection is cut after so many bytes of it. */
export type Verdict = 'pass' | { cutAfter: number }

export interface Watch {
  /** Any of these in what is sent towards the service. */
  texts: readonly string[]
  /** Acts before the request is passed on, or when it has been, or when its answer is there and has not been. */
  at: 'departure' | 'arrival' | 'answer'
  /** The verdict counts where there is still something to be passed on. */
  act(): Verdict
}

/** A stretch of the network, from those who call to the one that is called. All faults hit the connections it has now. */
export interface Hop {
  port: number
  /** Resets every connection. @returns how many */
  cut(): number
  /** One side is told that nothing more will come; the other notices nothing. @returns how many connections */
  halfClose(side: 'callers' | 'service'): number
  /** Whatever passes takes so much longer, for a while. */
  delay(ms: number, forMs: number): void
  /**
   * For a while nothing passes, and nobody is told: not the bytes, not that a side has closed. New connections are made,
   * and lead nowhere. Afterwards those that have lost bytes are reset, as the kernels would find out then.
   */
  swallow(forMs: number): void
  /** Waits for one request. @returns takes the watch back; whether it was still waiting */
  watch(watch: Watch): () => boolean
  /** Nothing is delayed or swallowed any more, and no connection is half of one. */
  heal(): void
  close(): Promise<void>
}

/** What is on its way in one direction: bytes, or the news that no more will come. */
interface Parcel {
  due: number
  chunk: Buffer | undefined
}

/** Opens a hop to a port of this machine. It goes on when the service behind it is away, as a network does. */
export async function openHop(target: number): Promise<Hop> {
  const passages = new Set<Passage>()
  const watches = new Set<Watch>()
  let delayMs = 0
  let delayedUntil = 0
  let swallowing: NodeJS.Timeout | undefined

  const delayNow = () => (Date.now() < delayedUntil ? delayMs : 0)

  /** Those who have waited for this request, and wait no longer. */
  function watching(chunk: Buffer): Watch[] {
    const found = [...watches].filter(({ texts }) => texts.some((text) => chunk.includes(text)))
    for (const watch of found) watches.delete(watch)
    return found
  }

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
    const passage = new Passage(caller, target, delayNow, watching, () => passages.delete(passage))
    passages.add(passage)
    if (swallowing === undefined) passage.open()
    else passage.swallow()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })

  function endSwallowing(): void {
    clearTimeout(swallowing)
    swallowing = undefined
    for (const passage of passages) if (passage.swallowed) passage.reset()
  }

  function cut(): number {
    const { size } = passages
    for (const passage of passages) passage.reset()
    return size
  }

  return {
    port: portOf(server.address()),
    cut,
    halfClose(side) {
      for (const passage of passages) passage.endTowards(side)
      return passages.size
    },
    delay(ms, forMs) {
      delayMs = ms
      delayedUntil = Date.now() + forMs
    },
    swallow(forMs) {
      for (const passage of passages) passage.swallow()
      clearTimeout(swallowing)
      swallowing = setTimeout(endSwallowing, forMs)
    },
    watch(watch) {
      watches.add(watch)
      return () => watches.delete(watch)
    },
    heal() {
      delayedUntil = 0
      watches.clear()
      endSwallowing()
      for (const passage of passages) if (passage.halfClosed) passage.reset()
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

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === 'string') throw new Error('a hop has no port')
  return address.port
}

/** A broken half is cut for good after this time: nobody would keep it longer. */
const HALF_CLOSED_MS = 5_000

/** One connection through a hop. */
class Passage {
  readonly #caller: Socket
  #service: Socket | undefined
  readonly #target: number
  readonly #delayNow: () => number
  readonly #watching: (request: Buffer) => Watch[]
  readonly #gone: () => void
  readonly #lanes: Record<'requests' | 'responses', Parcel[]> = { requests: [], responses: [] }
  readonly #ended = { callers: false, service: false }
  #awaitingResponse: Watch[] = []
  swallowed = false

  constructor(
    caller: Socket,
    target: number,
    delayNow: () => number,
    watching: (request: Buffer) => Watch[],
    gone: () => void,
  ) {
    this.#caller = caller
    this.#target = target
    this.#delayNow = delayNow
    this.#watching = watching
    this.#gone = gone
    caller.on('error', () => {})
    caller.on('close', () => this.#closed())
    caller.on('data', (chunk) => this.#receive('requests', chunk))
    caller.on('end', () => this.#receive('requests', undefined))
  }

  open(): void {
    const service = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
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
    this.#gone()
  }

  #closed(): void {
    // What a side does while nothing passes, the other hears of when the network is back.
    if (!this.swallowed) this.#finish()
  }

  /** The news of a closed side reaches the other behind all that is still on its way to it. */
  #finish(): void {
    if (this.#lanes.requests.length + this.#lanes.responses.length > 0) setTimeout(() => this.#finish(), 10)
    else {
      for (const socket of [this.#caller, this.#service]) socket?.destroySoon()
      this.#gone()
    }
  }

  #receive(direction: 'requests' | 'responses', chunk: Buffer | undefined): void {
    if (this.swallowed || this.#ended[direction === 'responses' ? 'callers' : 'service']) return
    const lane = this.#lanes[direction]
    const due = Math.max(Date.now() + this.#delayNow(), lane.at(-1)?.due ?? 0)
    if (lane.length === 0 && due <= Date.now()) this.#deliver(direction, chunk)
    else {
      lane.push({ due, chunk })
      if (lane.length === 1) this.#deliverLater(direction)
    }
  }

  #deliverLater(direction: 'requests' | 'responses'): void {
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

  #deliver(direction: 'requests' | 'responses', chunk: Buffer | undefined): void {
    if (direction === 'requests') this.#passRequest(chunk)
    else this.#passResponse(chunk)
  }

  #passRequest(chunk: Buffer | undefined): void {
    const service = this.#service
    if (chunk === undefined) service?.end()
    else if (service?.writable) {
      const watches = this.#watching(chunk)
      this.#awaitingResponse.push(...watches.filter(({ at }) => at === 'answer'))
      const cut = cutAmong(watches.filter(({ at }) => at === 'departure'))
      if (cut) this.#cutOff(service, chunk, cut.cutAfter)
      else {
        // Has arrived when the kernel has it: the service will find it, whatever becomes of the connection.
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
    // A reset throws away what has not been read: the part gets a moment to arrive.
    if (part.length === 0 || !towards.writable) this.reset()
    else towards.write(part, () => setTimeout(() => this.reset(), 5))
  }
}

function cutAmong(watches: readonly Watch[]): { cutAfter: number } | undefined {
  return watches.map((watch) => watch.act()).find((verdict) => verdict !== 'pass')
}

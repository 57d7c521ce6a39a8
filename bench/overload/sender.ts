import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectionPool, encodeRequest, type RawResponse } from '../../testing/raw-http.ts'
import { onTask, postToParent } from '../converse.ts'
import { type Fixture, type Service, WORKLOADS } from '../workloads.ts'

// The load, in a process of its own, so that the measured services do not delay its schedule.

export interface Task {
  ports: Record<Service, number>
  fixture: Fixture
  /** Callers, each with one request after the other; undefined where the steps give a rate. */
  callers: number | undefined
  steps: Step[]
  maxConnections: number
}

export interface Step {
  ms: number
  /** Requests sent each second, whether or not earlier ones were answered. */
  perSecond: number
}

export type Outcome = 'accepted' | 'refused' | 'other' | 'not sent'

/** One request. Times are in ms since the first step began. */
export interface Arrival {
  step: number
  due: number
  sent: number
  /** When its response arrived, or its failure was known. */
  settled: number
  outcome: Outcome
  /** Whether a connection was opened for it. */
  onNew: boolean
  /** The id of an accepted order. */
  order: number | undefined
}

/** What the sender posts to its parent. */
export type SenderMessage =
  | { kind: 'step'; step: number }
  | { kind: 'second'; counts: Record<Outcome, number> }
  /** No more requests come; some may still wait for their responses. */
  | { kind: 'ended' }
  | { kind: 'done'; arrivals: Arrival[]; opened: number; firstOther: string | undefined }

onTask(perform)

let pool: ConnectionPool | undefined

async function perform({ ports, fixture, callers, steps, maxConnections }: Task): Promise<void> {
  pool ??= new ConnectionPool(ports.orchestrator, maxConnections)
  const run = new Run(pool, fixture)
  const counting = setInterval(() => postToParent({ kind: 'second', counts: run.takeCounts() }), 1_000)
  await (callers === undefined ? keepSchedule(run, steps) : takeTurns(run, steps, callers))
  clearInterval(counting)
  const { arrivals, firstOther } = run
  postToParent({ kind: 'done', arrivals, opened: pool.opened, firstOther })
}

class Run {
  readonly arrivals: Arrival[] = []
  firstOther: string | undefined
  readonly #pool: ConnectionPool
  readonly #fixture: Fixture
  readonly #began = performance.now()
  #counts = noCounts()

  constructor(pool: ConnectionPool, fixture: Fixture) {
    this.#pool = pool
    this.#fixture = fixture
  }

  now(): number {
    return performance.now() - this.#began
  }

  takeCounts(): Record<Outcome, number> {
    const counts = this.#counts
    this.#counts = noCounts()
    return counts
  }

  /** Never rejects. */
  async send(step: number, due: number): Promise<void> {
    const sent = this.now()
    const { opened } = this.#pool
    const asked = this.#pool.send(encodeRequest(ORDER.request(this.#fixture)))
    const onNew = this.#pool.opened > opened
    const { outcome, order } = asked === undefined ? NOT_SENT : await this.#settle(asked)
    this.#counts[outcome]++
    this.arrivals.push({ step, due, sent, settled: this.now(), outcome, onNew, order })
  }

  async #settle(asked: Promise<RawResponse>): Promise<Pick<Arrival, 'outcome' | 'order'>> {
    try {
      const response = await asked
      const order = orderIn(response)
      if (order !== undefined) return { outcome: 'accepted', order }
      if (isRefusal(response)) return REFUSED
      this.firstOther ??= `${response.head}\n${response.text}`.slice(0, 1_000)
    } catch (error) {
      this.firstOther ??= String(error)
    }
    return OTHER
  }
}

const NOT_SENT = { outcome: 'not sent', order: undefined } as const
const REFUSED = { outcome: 'refused', order: undefined } as const
const OTHER = { outcome: 'other', order: undefined } as const

function noCounts(): Record<Outcome, number> {
  return { accepted: 0, refused: 0, other: 0, 'not sent': 0 }
}

/** Two lines of 1,000 products, and a new idempotency key each time. */
const ORDER = orderWorkload()

function orderWorkload() {
  const workload = WORKLOADS.find(({ name }) => name === 'order')
  if (workload === undefined) throw new Error('no workload order')
  return workload
}

function orderIn({ status, text }: RawResponse): number | undefined {
  const [, id] = status === 201 ? (/"order":\{"id":(\d+)/.exec(text) ?? []) : []
  return id === undefined ? undefined : Number(id)
}

/** A 503 with `Retry-After` and the code `overloaded`. */
function isRefusal({ status, head, text }: RawResponse): boolean {
  if (status !== 503 || !/\r\nretry-after: *\d/i.test(head)) return false
  return /\r\ncontent-type: *application\/problem\+json/i.test(head) && text.includes('"code":"overloaded"')
}

/** Sends each step's requests on schedule. Late ones are sent at once: real callers would not wait for this process. */
async function keepSchedule(run: Run, steps: readonly Step[]): Promise<void> {
  const sends: Promise<void>[] = []
  let from = 0
  for (const [step, { ms, perSecond }] of steps.entries()) {
    postToParent({ kind: 'step', step })
    const all = Math.round((perSecond * ms) / 1000)
    let sent = 0
    while (sent < all) {
      const due = Math.min(all, Math.floor(((run.now() - from) * perSecond) / 1000) + 1)
      for (; sent < due; sent++) sends.push(run.send(step, from + (sent * 1000) / perSecond))
      await sleep(1)
    }
    from += ms
  }
  postToParent({ kind: 'ended' })
  await Promise.all(sends)
}

async function takeTurns(run: Run, steps: readonly Step[], callers: number): Promise<void> {
  let step = 0
  const callerLoop = async () => {
    while (step < steps.length) await run.send(step, run.now())
  }
  postToParent({ kind: 'step', step })
  const all = Array.from({ length: callers }, callerLoop)
  for (const { ms } of steps) {
    await sleep(ms)
    step++
    postToParent(step < steps.length ? { kind: 'step', step } : { kind: 'ended' })
  }
  await Promise.all(all)
}

import { setTimeout as sleep } from 'node:timers/promises'
import { JumpyClock } from './clock.ts'
import type { Wish, Wishes } from './generator.ts'
import { doneIn, isDefinitive, isRecord, readJson, type Story, tell } from './history.ts'
import type { Reply, Send } from './http.ts'
import type { Random } from './random.ts'

/** All that the callers of a run did and were told. */
export interface Ledger {
  wishes: Wish[]
  /** By status, and by why there was none. */
  outcomes: Map<string, number>
  requests: number
  /** Requests that were sent before, in the same words. */
  retries: number
  underWay: number
}

export interface Caller {
  clock: JumpyClock
  /** Asks for one thing after another until it is over, and brings to its end what it has begun, unless that is given up. */
  work(over: AbortSignal, givenUp: AbortSignal): Promise<void>
}

const PAUSE_MS = 120
const FIRST_WAIT_MS = 150
const MAX_WAIT_MS = 1_200
/** By the caller's clock. */
const PATIENCE_MS = [2_000, 12_000] as const
const TWIN_AFTER_MS = 60

/**
 * A caller as there are many: it keeps a request until it has an answer that settles it, sends the very same one again when
 * none came, sometimes twice at once, and sometimes once more when all is done.
 * @param number from 0, below `callers`
 * @param twins how likely a request is sent twice at once
 */
export function createCaller(
  number: number,
  { callers, twins }: { callers: number; twins: number },
  wishes: Wishes,
  random: Random,
  send: Send,
  ledger: Ledger,
): Caller {
  const clock = new JumpyClock()
  let made = 0
  let givenUp: AbortSignal | undefined
  /** Orders that were placed and then left alone, to be confirmed when it may be too late. */
  const left: { serial: number; orderId: number }[] = []

  async function work(over: AbortSignal, end: AbortSignal): Promise<void> {
    givenUp = end
    while (!over.aborted && !end.aborted) {
      await askForSomething()
      await sleep(random.whole(0, PAUSE_MS))
    }
  }

  function askForSomething(): Promise<unknown> {
    const serial = 1 + number + callers * made++
    const dice = random.fraction()
    if (dice < 0.4) return orchestrate(serial)
    if (dice < 0.5) return placeConfirmed(serial)
    if (dice < 0.8) return place(serial)
    if (dice < 0.9) return fulfil(wishes.adjust(random, serial))
    if (dice < 0.95) return fulfil(wishes.addCustomer(serial))
    return fulfil(wishes.addProduct(serial))
  }

  async function orchestrate(serial: number): Promise<void> {
    const body = await fulfil(wishes.orchestrate(random, serial))
    const data = isRecord(body?.data) ? body.data : {}
    const order = isRecord(data.order) ? data.order : {}
    if (typeof order.id === 'number' && random.chance(0.08)) await fulfil(wishes.cancel(serial, order.id))
  }

  async function placeConfirmed(serial: number): Promise<void> {
    const order = await fulfil(wishes.placeConfirmed(random, serial))
    if (typeof order?.id === 'number' && random.chance(0.08)) await fulfil(wishes.cancel(serial, order.id))
  }

  async function place(serial: number): Promise<void> {
    const order = await fulfil(wishes.place(random, serial))
    if (typeof order?.id !== 'number') return
    const orderId = order.id
    const dice = random.fraction()
    if (dice < 0.5) await fulfil(wishes.confirm(serial, orderId))
    else if (dice < 0.65) await fulfil(wishes.cancel(serial, orderId))
    // Both at once: one of them wins.
    else if (dice < 0.75)
      await Promise.all([fulfil(wishes.confirm(serial, orderId)), fulfil(wishes.cancel(serial, orderId))])
    else left.push({ serial, orderId })
    if (left.length > 6 && random.chance(0.5)) await confirmLate()
  }

  async function confirmLate(): Promise<void> {
    const order = left.shift()
    if (order) await fulfil(wishes.confirm(order.serial, order.orderId))
  }

  /** @returns what it was answered, if it was done */
  async function fulfil(wish: Wish): Promise<Record<string, unknown> | undefined> {
    const { story, sendable } = wish
    ledger.wishes.push(wish)
    ledger.underWay++
    let wait = FIRST_WAIT_MS
    while (!story.settled && !givenUp?.aborted) {
      await Promise.all([tryOnce(story, sendable), ...(random.chance(twins) ? [tryLater(story, sendable)] : [])])
      if (story.settled) break
      await sleep(random.whole(1, wait))
      wait = Math.min(2 * wait, MAX_WAIT_MS)
    }
    if (story.settled && random.chance(0.1)) await tryOnce(story, sendable)
    ledger.underWay--
    const [done] = doneIn(story)
    return done && readJson(done.body)
  }

  async function tryLater(story: Story, sendable: Wish['sendable']): Promise<void> {
    await sleep(random.whole(0, TWIN_AFTER_MS))
    await tryOnce(story, sendable)
  }

  async function tryOnce(story: Story, sendable: Wish['sendable']): Promise<void> {
    await askOnce(story, () => send(sendable, clock, random.whole(...PATIENCE_MS)), ledger)
  }

  return { clock, work }
}

/** Sends a story's request and notes what came of it. */
export async function askOnce(story: Story, ask: () => Promise<Reply>, ledger: Ledger): Promise<void> {
  ledger.requests++
  if (story.tries > 0) ledger.retries++
  story.tries++
  const askedAt = performance.now()
  const reply = await ask()
  const outcome = 'failure' in reply ? reply.failure : String(reply.status)
  ledger.outcomes.set(outcome, (ledger.outcomes.get(outcome) ?? 0) + 1)
  if ('status' in reply && isDefinitive(reply)) tell(story, reply, askedAt, performance.now())
  else story.unanswered++
}

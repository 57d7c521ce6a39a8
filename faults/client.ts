import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../testing/random.ts'
import { SkewedClock } from './clock.ts'
import type { Generator, Operation } from './generator.ts'
import { type HistoryEntry, isDefinitive, isRecord, okIn, readJson, recordCompletion } from './history.ts'
import type { Reply, Send } from './http.ts'

/** Everything that the callers of a run did, and the responses. */
export interface History {
  operations: Operation[]
  /** Counts by status, or by the reason why there was no response. */
  outcomes: Map<string, number>
  requests: number
  /** Requests that had been sent before, byte for byte. */
  retries: number
  inFlight: number
}

export interface Caller {
  clock: SkewedClock
  /** Runs operations until `over`. The one in progress is retried until it is settled or `givenUp`. */
  work(over: AbortSignal, givenUp: AbortSignal): Promise<void>
}

const PAUSE_MS = 120
const FIRST_WAIT_MS = 150
const MAX_WAIT_MS = 1_200
/** By the caller's clock. */
const PATIENCE_MS = [2_000, 12_000] as const
const DUPLICATE_AFTER_MS = 60

/**
 * A typical client: it retries the same request until it has a final response. Sometimes it sends the request twice at
 * once, and sometimes once more after the final response.
 * @param number from 0, below `callers`
 * @param duplicates the probability that a request is sent twice at once
 */
export function createCaller(
  number: number,
  { callers, duplicates }: { callers: number; duplicates: number },
  generator: Generator,
  random: Random,
  send: Send,
  history: History,
): Caller {
  const clock = new SkewedClock()
  let made = 0
  let givenUp: AbortSignal | undefined
  /** Placed orders that will be confirmed later, perhaps too late. */
  const left: { serial: number; orderId: number }[] = []

  async function work(over: AbortSignal, end: AbortSignal): Promise<void> {
    givenUp = end
    while (!over.aborted && !end.aborted) {
      await runNext()
      await sleep(random.whole(0, PAUSE_MS))
    }
  }

  function runNext(): Promise<unknown> {
    const serial = 1 + number + callers * made++
    const dice = random.fraction()
    if (dice < 0.4) return orchestrate(serial)
    if (dice < 0.5) return placeConfirmed(serial)
    if (dice < 0.8) return place(serial)
    if (dice < 0.9) return invokeUntilSettled(generator.adjust(random, serial))
    if (dice < 0.95) return invokeUntilSettled(generator.addCustomer(serial))
    return invokeUntilSettled(generator.addProduct(serial))
  }

  async function orchestrate(serial: number): Promise<void> {
    const body = await invokeUntilSettled(generator.orchestrate(random, serial))
    const data = isRecord(body?.data) ? body.data : {}
    const order = isRecord(data.order) ? data.order : {}
    if (typeof order.id === 'number' && random.chance(0.08))
      await invokeUntilSettled(generator.cancel(serial, order.id))
  }

  async function placeConfirmed(serial: number): Promise<void> {
    const order = await invokeUntilSettled(generator.placeConfirmed(random, serial))
    if (typeof order?.id === 'number' && random.chance(0.08))
      await invokeUntilSettled(generator.cancel(serial, order.id))
  }

  async function place(serial: number): Promise<void> {
    const order = await invokeUntilSettled(generator.place(random, serial))
    if (typeof order?.id !== 'number') return
    const orderId = order.id
    const dice = random.fraction()
    if (dice < 0.5) await invokeUntilSettled(generator.confirm(serial, orderId))
    else if (dice < 0.65) await invokeUntilSettled(generator.cancel(serial, orderId))
    // Confirm and cancel race: one of them wins.
    else if (dice < 0.75)
      await Promise.all([
        invokeUntilSettled(generator.confirm(serial, orderId)),
        invokeUntilSettled(generator.cancel(serial, orderId)),
      ])
    else left.push({ serial, orderId })
    if (left.length > 6 && random.chance(0.5)) await confirmLate()
  }

  async function confirmLate(): Promise<void> {
    const order = left.shift()
    if (order) await invokeUntilSettled(generator.confirm(order.serial, order.orderId))
  }

  /** @returns the body of the response, if it was ok */
  async function invokeUntilSettled(operation: Operation): Promise<Record<string, unknown> | undefined> {
    const { entry, request } = operation
    history.operations.push(operation)
    history.inFlight++
    let wait = FIRST_WAIT_MS
    while (!entry.settled && !givenUp?.aborted) {
      await Promise.all([attempt(entry, request), ...(random.chance(duplicates) ? [attemptLater(entry, request)] : [])])
      if (entry.settled) break
      await sleep(random.whole(1, wait))
      wait = Math.min(2 * wait, MAX_WAIT_MS)
    }
    if (entry.settled && random.chance(0.1)) await attempt(entry, request)
    history.inFlight--
    const [done] = okIn(entry)
    return done && readJson(done.body)
  }

  async function attemptLater(entry: HistoryEntry, request: Operation['request']): Promise<void> {
    await sleep(random.whole(0, DUPLICATE_AFTER_MS))
    await attempt(entry, request)
  }

  async function attempt(entry: HistoryEntry, request: Operation['request']): Promise<void> {
    await invoke(entry, () => send(request, clock, random.whole(...PATIENCE_MS)), history)
  }

  return { clock, work }
}

/** Sends the request once and records its outcome. */
export async function invoke(entry: HistoryEntry, send: () => Promise<Reply>, history: History): Promise<void> {
  history.requests++
  if (entry.invocations > 0) history.retries++
  entry.invocations++
  const invokedAt = performance.now()
  const reply = await send()
  const outcome = 'failure' in reply ? reply.failure : String(reply.status)
  history.outcomes.set(outcome, (history.outcomes.get(outcome) ?? 0) + 1)
  if ('status' in reply && isDefinitive(reply)) recordCompletion(entry, reply, invokedAt, performance.now())
  else entry.infos++
}

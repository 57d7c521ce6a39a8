import { type DataReaders, eventId, presentEvents } from '../events/event-response.ts'
import { onCommit } from '../platform/database/commits.ts'
import type { Database } from '../platform/database/types.ts'
import { numberEvents } from '../platform/events/positions.ts'
import type { Job, JobContext } from '../platform/jobs/jobs.ts'
import { createBell } from './bell.ts'
import { findEventsById, type LeasedDelivery } from './delivery-store.ts'
import { type Ended, type Work, workOnEndpoint } from './endpoint-work.ts'
import { createLane, isIdle, type Lane, roomIn, takeBack } from './lanes.ts'
import type { Outbox, WebhookMessage } from './outbox.ts'
import { type EndpointRow, findWorkingEndpoints } from './store.ts'

/** Steps at one time: requests need connections to the database too. */
const MAX_STEPS = 2
/** How often the dispatcher looks for retries that have become due, and how soon it asks again after a failure. */
const LOOK_MS = 1_000
/** What is committed in this time is looked at together. */
const NEWS_MS = 100
/** How long it is tried to note an attempt: after that time another dispatcher may have sent it again. */
const MAX_NOTING_MS = 60_000
const EVERY_SECONDS = 5

export interface DispatcherConfig {
  /** An endpoint that nothing has reached for so many hours is disabled by the next exhausted delivery. */
  disableAfterHours: number
  readers: DataReaders
}

/**
 * Sends events to webhook endpoints until nothing is due. Any number of machines may do it. An endpoint that is slow or away
 * delays no other one.
 * @throws what the database throws while nothing is on its way
 */
export async function dispatch(
  db: Database,
  outbox: Outbox,
  config: DispatcherConfig,
  context: JobContext,
): Promise<void> {
  const { logger, signal } = context
  const lanes = new Map<number, Lane>()
  const bell = createBell()
  let [lookAt, lookedAt] = [0, 0]
  const stopListening = onCommit(db, () => {
    lookAt = Math.min(lookAt, lookedAt + NEWS_MS)
    bell.ring()
  })

  /** Finds out which endpoints have something to do. */
  async function look(): Promise<void> {
    lookedAt = performance.now()
    lookAt = lookedAt + LOOK_MS
    const due = signal.aborted ? [] : await findDue(db).catch(failLook)
    for (const lane of lanes.values()) if (isIdle(lane, lookedAt) && !due.includes(lane.id)) lanes.delete(lane.id)
    for (const id of due) {
      const lane = lanes.get(id) ?? createLane(id)
      lanes.set(id, lane)
      lane.isDue = true
    }
  }

  function failLook(err: unknown): number[] {
    if (areIdle()) throw err
    logger.error({ event: 'webhooks_unseen', err }, 'it could not be seen which webhook endpoints have something to do')
    return []
  }

  function areIdle(): boolean {
    const now = signal.aborted ? Number.POSITIVE_INFINITY : performance.now()
    return [...lanes.values()].every((lane) => isIdle(lane, now))
  }

  /** Those that did something go to the end, so that all get their turn. */
  function startSteps(): void {
    for (const lane of [...lanes.values()]) {
      if ([...lanes.values()].filter(({ isBusy }) => isBusy).length >= MAX_STEPS) return
      if (!isReady(lane)) continue
      lanes.delete(lane.id)
      lanes.set(lane.id, lane)
      void step(lane)
    }
  }

  function isReady(lane: Lane): boolean {
    const { isBusy, isDue, ended, restsUntil } = lane
    if (signal.aborted) return !isBusy && ended.length > 0
    if (isBusy || restsUntil > performance.now()) return false
    return ended.length > 0 || (isDue && roomIn(lane, lanes.values()) > 0)
  }

  /** Notes what ended, and sends what is due. */
  async function step(lane: Lane): Promise<void> {
    const ended = lane.ended.splice(0)
    const most = signal.aborted ? 0 : roomIn(lane, lanes.values())
    lane.isBusy = true
    lane.isDue = false
    lane.taken += most
    const work = await workOnEndpoint(db, lane.id, ended, most, config).catch((err) => failStep(lane, ended, err))
    lane.taken -= most - (work?.leased.length ?? 0)
    if (work) await sendAll(lane, work)
    if (work) goOn(lane, work, most, ended.length)
    lane.isBusy = false
    bell.ring()
  }

  /** What ended is noted later, where there is a later. Otherwise its lease ends, and it is sent again. */
  function failStep(lane: Lane, ended: Lane['ended'], err: unknown): undefined {
    const now = performance.now()
    logger.error(
      { event: 'webhooks_unnoted', err, endpoint_id: lane.id },
      'the deliveries of a webhook endpoint could not be noted',
    )
    lane.restsUntil = now + LOOK_MS
    if (!signal.aborted) lane.ended.unshift(...ended.filter(({ until }) => until > now))
  }

  function goOn(lane: Lane, work: Work, most: number, noted: number): void {
    const { leased, moved, isBehind } = work
    tellDisabled(work)
    lane.isDue ||= isBehind || leased.length === most
    const isElsewhere = most > 0 && leased.length === 0 && noted === 0 && !moved
    // Other machines have as many on their way as the endpoint may get.
    if (isElsewhere) lane.restsUntil = performance.now() + LOOK_MS
  }

  function tellDisabled({ endpoint: { id, version }, disabled }: Work): void {
    const told = { endpoint_id: id, reason: disabled, version: version + 1 }
    if (disabled) logger.warn({ event: 'webhook_endpoint_disabled', ...told }, 'webhook endpoint disabled')
  }

  async function sendAll(lane: Lane, { endpoint, leased, lease }: Work): Promise<void> {
    if (leased.length === 0) return
    const messages = await readMessages(db, endpoint, leased, config).catch((err) => failRead(lane, err))
    for (const delivery of leased) {
      const message = messages?.get(delivery.event_id)
      void follow(lane, delivery, lease, messages && sendOne(outbox, endpoint, delivery, message, context))
    }
  }

  /** What was leased is given back. */
  function failRead(lane: Lane, err: unknown): undefined {
    logger.error(
      { event: 'webhooks_unread', err, endpoint_id: lane.id },
      'the events of a webhook endpoint could not be read',
    )
    lane.restsUntil = performance.now() + LOOK_MS
  }

  /** @param attempt absent for a delivery that is given back */
  async function follow(
    lane: Lane,
    delivery: LeasedDelivery,
    lease: string,
    attempt?: Promise<Ended['result']>,
  ): Promise<void> {
    const result = await attempt
    takeBack(lane, { delivery, lease, result, until: performance.now() + MAX_NOTING_MS })
    bell.ring()
  }

  try {
    for (;;) {
      if (performance.now() >= lookAt) await look()
      startSteps()
      if (areIdle()) return
      await bell.wait(Math.max(0, lookAt - performance.now()))
    }
  } finally {
    stopListening()
  }
}

/** Gives positions to what was committed, and finds the endpoints that have something to do. */
async function findDue(db: Database): Promise<number[]> {
  await numberEvents(db)
  return findWorkingEndpoints(db)
}

/**
 * What is sent, by the ids of the events; those that are deleted are missing. They are read for each attempt: personal data
 * that was erased meanwhile is not sent.
 */
async function readMessages(
  db: Database,
  { customer_id: customerId }: EndpointRow,
  leased: readonly LeasedDelivery[],
  { readers }: DispatcherConfig,
): Promise<Map<number, WebhookMessage>> {
  const ids = leased.map(({ event_id }) => event_id)
  const events = await findEventsById(db, ids)
  const shown = await presentEvents(db, events, { customerId }, readers)
  return new Map(
    events.map(({ id, traceparent }, i) => [
      id,
      { id: eventId(id), body: JSON.stringify(shown[i]), cause: traceparent },
    ]),
  )
}

/** Makes one attempt, and never rejects. @returns undefined when it was given up because the process stops */
async function sendOne(
  outbox: Outbox,
  endpoint: EndpointRow,
  delivery: LeasedDelivery,
  message: WebhookMessage | undefined,
  { logger, signal }: JobContext,
): Promise<Ended['result']> {
  if (message === undefined)
    return { status: null, error: 'event_deleted', retryAfter: null, durationMs: 0, excerpt: '' }
  const attempt = await outbox.send(endpoint, message, signal)
  const ids = { endpoint_id: endpoint.id, delivery_id: delivery.id }
  if (attempt.error === 'not_signed')
    logger.error({ event: 'webhook_not_signed', err: attempt.cause, ...ids }, 'a webhook could not be signed')
  return attempt.error === 'aborted' ? undefined : attempt
}

/** {@link dispatch} as a job: woken by what this process commits, and every few seconds for what others do. */
export function dispatcherJob(db: Database, outbox: Outbox, config: DispatcherConfig): Job {
  return {
    name: 'webhooks',
    everySeconds: EVERY_SECONDS,
    wakeUp: (wake) => onCommit(db, wake),
    run: (context) => dispatch(db, outbox, config, context),
  }
}

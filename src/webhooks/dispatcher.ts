import { setTimeout as sleep } from 'node:timers/promises'
import { type DataReaders, eventId, presentEvents } from '../events/event-response.ts'
import { onCommit } from '../platform/database/commits.ts'
import type { Database } from '../platform/database/types.ts'
import type { Job, JobContext } from '../platform/jobs/jobs.ts'
import { findEventsById, type LeasedDelivery } from './delivery-store.ts'
import { type Ended, type Work, workOnEndpoint } from './endpoint-work.ts'
import type { Outbox } from './outbox.ts'
import { type EndpointRow, findWorkingEndpoints } from './store.ts'

const MAX_IN_FLIGHT = 32
/** How often the dispatcher looks for retries that have become due while it waits for slow endpoints. */
const LOOK_MS = 1_000
const EVERY_SECONDS = 5

export interface DispatcherConfig {
  /** An endpoint that nothing has reached for so many hours is disabled by the next exhausted delivery. */
  disableAfterHours: number
  readers: DataReaders
}

/**
 * Sends events to webhook endpoints until nothing is due. Any number of machines may do it. An endpoint that is slow or away
 * delays no other one.
 */
export async function dispatch(
  db: Database,
  outbox: Outbox,
  config: DispatcherConfig,
  { logger, signal }: JobContext,
): Promise<void> {
  const lanes = new Map<number, Lane>()
  const news = createNews()
  const stopListening = onCommit(db, news.tell)
  let inFlight = 0

  /** Works on one endpoint, one step after another, until it has nothing to do. */
  async function work(id: number, lane: Lane): Promise<void> {
    for (let again = true; again; ) {
      const ended = lane.ended.splice(0)
      const most = signal.aborted ? 0 : MAX_IN_FLIGHT - inFlight
      const step = await workOnEndpoint(db, id, ended, most, config).catch((err) => {
        // Their leases end, and they are sent again.
        logger.error({ err, endpoint_id: id }, 'the deliveries of a webhook endpoint could not be noted')
        return undefined
      })
      if (step === undefined) return
      tellDisabled(id, step)
      await sendAll(lane, step)
      again = lane.ended.length > 0 || (step.isBehind && !signal.aborted)
    }
  }

  function tellDisabled(endpoint_id: number, { disabled, endpoint }: Work): void {
    if (disabled)
      logger.warn({ endpoint_id, reason: disabled, version: endpoint.version + 1 }, 'webhook endpoint disabled')
  }

  /** Starts to send; what ends is noted by the endpoint's next step. */
  async function sendAll(lane: Lane, { endpoint, leased, lease }: Work): Promise<void> {
    const events = await findEventsById(
      db,
      leased.map(({ event_id }) => event_id),
    )
    const viewer = { customerId: endpoint.customer_id }
    const shown = await presentEvents(db, events, viewer, config.readers)
    const bodies = new Map(shown.map((event) => [event.id, JSON.stringify(event)]))
    for (const delivery of leased) {
      inFlight++
      void sendOne(outbox, endpoint, delivery, bodies.get(eventId(delivery.event_id)), { logger, signal })
        .then((result) => lane.ended.push({ delivery, lease, result }))
        .finally(() => {
          inFlight--
          news.tell()
        })
    }
  }

  try {
    for (;;) {
      const isStopping = signal.aborted
      const due = isStopping ? [] : await findWorkingEndpoints(db)
      for (const id of due) if (!lanes.has(id)) lanes.set(id, { ended: [], isBusy: false })
      for (const [id, lane] of lanes) {
        if (lane.isBusy || !(due.includes(id) || lane.ended.length > 0)) continue
        lane.isBusy = true
        void work(id, lane).finally(() => {
          lane.isBusy = false
          news.tell()
        })
      }
      if (inFlight === 0 && [...lanes.values()].every(({ isBusy, ended }) => !isBusy && ended.length === 0)) return
      await Promise.race([news.wait(), sleep(LOOK_MS)])
    }
  } finally {
    stopListening()
  }
}

/** What the dispatcher knows of one endpoint. */
interface Lane {
  /** Attempts that the next step notes. */
  ended: Ended[]
  isBusy: boolean
}

async function sendOne(
  outbox: Outbox,
  endpoint: EndpointRow,
  delivery: LeasedDelivery,
  body: string | undefined,
  { logger, signal }: JobContext,
): Promise<Ended['result']> {
  if (body === undefined) return { status: null, error: 'event_deleted', retryAfter: null, durationMs: 0, excerpt: '' }
  const attempt = await outbox.send(endpoint, eventId(delivery.event_id), body, signal)
  const ids = { endpoint_id: endpoint.id, delivery_id: delivery.id }
  if (attempt.error === 'not_signed') logger.error({ err: attempt.cause, ...ids }, 'a webhook could not be signed')
  return attempt.error === 'aborted' ? undefined : attempt
}

/** Something to wait for. What is told while nobody waits is not lost. */
function createNews() {
  let next = Promise.withResolvers<void>()
  return {
    tell: () => next.resolve(),
    async wait() {
      await next.promise
      next = Promise.withResolvers<void>()
    },
  }
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

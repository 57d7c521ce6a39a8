import { feedJob, numberAll, sweepFeed } from '../events/keeper.ts'
import { readOrderData } from '../orders/event-data.ts'
import type { OrdersService } from '../orders/service.ts'
import { sweep, sweeperJob } from '../orders/sweeper.ts'
import type { Database } from '../platform/database/types.ts'
import { lastPosition } from '../platform/events/feed.ts'
import type { JobContext } from '../platform/jobs/jobs.ts'
import { NO_TELEMETRY, type Telemetry } from '../platform/telemetry/telemetry.ts'
import { dispatch, dispatcherJob } from '../webhooks/dispatcher.ts'
import { countAttempts } from '../webhooks/metrics.ts'
import { createOutbox, type Outbox } from '../webhooks/outbox.ts'
import { sweepDeliveries } from '../webhooks/retention.ts'
import { createSecretBox } from '../webhooks/secret-box.ts'
import { sweepSecrets } from '../webhooks/secret-sweep.ts'
import { createSender } from '../webhooks/sender.ts'
import type { Env } from './env.ts'

/** The domains whose events keep less than they tell. */
export const EVENT_DATA = { order: readOrderData }

// What Orders does beside its requests. It needs no app: a function that does only this is a fifth smaller.

/** @param orders the verbs that release and purge */
export function composeSweep(
  env: Env,
  db: Database,
  orders: Pick<OrdersService, 'releaseExpiredHolds' | 'purgeExpiredKeys'>,
) {
  const secrets = createSecretBox(env.webhooks.keys)
  const sweepAll = async (signal?: AbortSignal) => ({
    ...(await sweep(orders)),
    ...(await sweepFeed(db, env.events, signal)),
    ...(await sweepDeliveries(db)),
    ...(await sweepSecrets(db, secrets)),
  })
  return {
    job: sweeperJob(sweepAll, env.orders.sweepSeconds),
    /** Does once what the jobs do again and again. */
    async sweep() {
      const swept = await sweepAll()
      await numberAll(db)
      return swept
    },
  }
}

export interface Dispatched {
  /** The last position of the feed. */
  position: number
  /** How many requests were sent to endpoints, and how many of them were answered with 2xx. */
  attempts: number
  delivered: number
}

/** Gives events their positions, and sends webhooks. */
export function composeDispatcher({ webhooks }: Env, db: Database, telemetry: Telemetry = NO_TELEMETRY) {
  const { keys, allowHttp, allowedNetworks, disableAfterHours } = webhooks
  const secrets = createSecretBox(keys)
  const outbox = countAttempts(createOutbox(secrets, createSender({ allowHttp, allowedNetworks })), telemetry)
  const config = { disableAfterHours, readers: EVENT_DATA }
  return {
    secrets,
    outbox,
    /** For the function that sends: the one that sweeps has no keys. */
    sweepSecrets: () => sweepSecrets(db, secrets),
    jobs: [feedJob(db), dispatcherJob(db, outbox, config)],
    /** Gives all events their positions, and sends webhooks until nothing is due. */
    async dispatch(context: JobContext): Promise<Dispatched> {
      await numberAll(db, context.signal)
      const position = await lastPosition(db)
      const sent = counting(outbox)
      await dispatch(db, sent.outbox, config, context)
      return { position, ...sent.counts }
    },
  }
}

function counting({ send }: Outbox) {
  const counts = { attempts: 0, delivered: 0 }
  const outbox: Outbox = {
    async send(...message) {
      const attempt = await send(...message)
      counts.attempts++
      if (attempt.status !== null && attempt.status >= 200 && attempt.status < 300) counts.delivered++
      return attempt
    },
  }
  return { outbox, counts }
}

import { createEmbeddedGauges } from '../compose/embedded-gauges.ts'
import { composeDispatcher } from '../compose/jobs.ts'
import { openDatabase } from '../platform/database/open.ts'
import { onSchedule } from './lambda-handler.ts'

/** The next run begins a minute after this one. An attempt that is cut off is made again by that run. */
const MAX_RUN_MS = 50_000

/** Gives events their positions, sends webhooks, and encrypts secrets under a new key, as the Orders process does. */
export const handler = onSchedule('orders', async ({ env, logger, telemetry }) => {
  const db = await openDatabase(env.database, { logger })
  const { dispatch, sweepSecrets } = composeDispatcher(env, db, telemetry)
  const readGauges = createEmbeddedGauges(db, telemetry, 'events')
  return async () => {
    await sweepSecrets()
    const dispatched = await dispatch({ logger, signal: AbortSignal.timeout(MAX_RUN_MS) })
    logger.info({ event: 'dispatched', ...dispatched, ...(await readGauges()) }, 'dispatched')
    return dispatched
  }
})

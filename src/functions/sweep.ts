import { createEmbeddedGauges } from '../compose/embedded-gauges.ts'
import { composeSweep } from '../compose/jobs.ts'
import { findServiceUrls } from '../compose/service-urls.ts'
import { composeOrdersService } from '../compose/services.ts'
import { openDatabase } from '../platform/database/open.ts'
import { onSchedule } from './lambda-handler.ts'

/** Runs the same sweep as the job of the Orders process. On Lambda, runs may overlap. */
export const handler = onSchedule('orders', async ({ env, logger, telemetry }) => {
  const { customers } = findServiceUrls(env, [])
  const db = await openDatabase(env.database, { logger })
  const { sweep } = composeSweep(env, db, composeOrdersService(env, db, customers))
  const readGauges = createEmbeddedGauges(db, telemetry, 'sweep')
  return async () => {
    const swept = await sweep()
    logger.info({ event: 'swept', ...swept, ...(await readGauges()) }, 'swept')
    return swept
  }
})

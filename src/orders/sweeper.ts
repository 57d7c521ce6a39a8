import type { Job } from '../platform/jobs/jobs.ts'
import type { OrdersService } from './service.ts'

export interface Swept {
  released: number
  purged: number
}

/** Releases ended holds and purges expired keys. Any number of machines may sweep at once. */
export async function sweep(orders: Pick<OrdersService, 'releaseExpiredHolds' | 'purgeExpiredKeys'>): Promise<Swept> {
  const released = await orders.releaseExpiredHolds()
  const purged = await orders.purgeExpiredKeys()
  return { released, purged }
}

/** A sweep as a job. It logs only a sweep that changed something. */
export function sweeperJob(
  sweepAll: (signal: AbortSignal) => Promise<Record<string, number>>,
  everySeconds: number,
): Job {
  return {
    name: 'sweep',
    everySeconds,
    async run({ logger, signal }) {
      const swept = await sweepAll(signal)
      if (Object.values(swept).some((count) => count > 0)) logger.info({ event: 'swept', ...swept }, 'swept')
    },
  }
}

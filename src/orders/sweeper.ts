import type { Logger } from '../platform/telemetry/logger.ts'
import type { OrdersService } from './service.ts'

/**
 * Releases ended holds and purges expired keys, now and then again and again.
 * @returns stops it, and resolves when a sweep that is under way has ended
 */
export function startSweeper(orders: OrdersService, everySeconds: number, logger: Logger): () => Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  let underWay = Promise.resolve()

  async function sweep(): Promise<void> {
    try {
      const released = await orders.releaseExpiredHolds()
      const purged = await orders.purgeExpiredKeys()
      if (released + purged > 0) logger.info({ released, purged }, 'swept')
    } catch (err) {
      logger.error({ err }, 'the sweep failed; the next one will go on')
    }
    if (!stopped) timer = setTimeout(begin, everySeconds * 1_000)
  }

  function begin(): void {
    underWay = sweep()
  }

  begin()
  return async () => {
    stopped = true
    clearTimeout(timer)
    await underWay
  }
}

import { chunks } from '../database/bulk-insert.ts'
import { runPipeline } from '../database/pipeline.ts'
import type { Database } from '../database/types.ts'

/** So many events are written in one round trip. */
const WRITTEN_TOGETHER = 100

/**
 * Replaces what the events of some resources tell. For personal data that must go: without it, an event never changes. The
 * transaction must have locked the resources, so that they get no event meanwhile.
 */
export async function rewriteEvents(
  trx: Database,
  resourceType: string,
  ids: readonly number[],
  rewrite: (data: string) => string,
): Promise<void> {
  if (ids.length === 0) return
  const events = await trx
    .selectFrom('events')
    .select(['id', 'data'])
    .where('resource_type', '=', resourceType)
    .where('resource_id', 'in', ids)
    .execute()
  const changed = events
    .map(({ id, data }) => ({ id, before: data, data: rewrite(data) }))
    .filter(({ before, data }) => data !== before)
  for (const some of chunks(changed, WRITTEN_TOGETHER)) {
    await runPipeline(
      trx,
      some.map(({ id, data }) => trx.updateTable('events').set({ data }).where('id', '=', id).compile()),
    )
  }
}

import type { Database } from '../database/types.ts'

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
  for (const { id, data } of events) {
    const rewritten = rewrite(data)
    if (rewritten !== data) await trx.updateTable('events').set({ data: rewritten }).where('id', '=', id).execute()
  }
}

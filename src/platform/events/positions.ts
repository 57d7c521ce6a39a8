import { CompiledQuery, sql } from 'kysely'
import { dialectOf } from '../database/dialect.ts'
import { pipeline, runPipeline } from '../database/pipeline.ts'
import { transact } from '../database/transaction.ts'
import type { Database } from '../database/types.ts'

// Events get their positions after their commit, one transaction at a time. Ids alone would lose events: they are given
// at the insert and seen at the commit, so a reader that stands at id 103 would never see 102, committed later.

/** Small, so that a transaction is short and other numberers wait little. */
const MAX_NUMBERED = 500

interface UnnumberedEvent {
  id: number
  resource_type: string
  resource_id: number
  resource_version: number
}

/**
 * Gives positions to committed events that have none, at most 500 and some. Any number of processes may do it.
 * @returns whether all events that were committed before the call have a position now
 * @throws RowsLocked
 * @throws AppError `unavailable`
 */
export async function numberEvents(db: Database): Promise<boolean> {
  if (!(await hasUnnumbered(db))) return true
  const numbered = await transact(db, numberSome)
  return numbered < MAX_NUMBERED
}

/** Whether an event has no position yet. */
export async function hasUnnumbered(db: Database): Promise<boolean> {
  const [found] = await pipeline(db, unnumberedQuery(db, 1))
  return found.length > 0
}

async function numberSome(trx: Database): Promise<number> {
  const [[feed], events] = await pipeline(trx, lockFeedQuery(trx), unnumberedQuery(trx, MAX_NUMBERED))
  if (feed === undefined || events.length === 0) return 0
  const earlier = await findEarlierVersions(trx, events)
  const ids = inOrder([...events, ...earlier]).map(({ id }) => id)
  await runPipeline(trx, [
    ...progressionsOf(ids).map((run) => numberQuery(run, feed.position)),
    trx
      .updateTable('event_feed')
      .set({ position: feed.position + ids.length })
      .where('id', '=', 1)
      .compile(),
  ])
  return ids.length
}

/**
 * Locks the end of the feed until the transaction ends: no event gets a position meanwhile.
 * @returns the last position that was given
 */
export async function lockFeedEnd(trx: Database): Promise<number> {
  const [[feed]] = await pipeline(trx, lockFeedQuery(trx))
  return feed?.position ?? 0
}

/** Writers of events never touch this row. */
function lockFeedQuery(trx: Database) {
  return trx
    .selectFrom('event_feed')
    .select('position')
    .where('id', '=', 1)
    .modifyEnd(dialectOf(trx).forUpdate)
    .compile()
}

function unnumberedQuery(db: Database, limit: number): CompiledQuery<UnnumberedEvent> {
  return unnumbered(db, 'events_position').orderBy('id').limit(limit).compile()
}

function unnumbered(db: Database, index: string) {
  return db
    .selectFrom(sql<UnnumberedEvent>`events`.as<'e'>(sql`e ${dialectOf(db).forceIndex(index)}`))
    .select(['id', 'resource_type', 'resource_id', 'resource_version'])
    .where(sql<boolean>`position = 0`)
}

/**
 * Lower versions of the same resources that were not read because of the limit: the nodes of a cluster give ids from ranges
 * of their own, so an earlier version may have a higher id.
 */
async function findEarlierVersions(
  trx: Database,
  events: readonly UnnumberedEvent[],
): Promise<readonly UnnumberedEvent[]> {
  const changed = latestOf(events).filter(({ resource_version }) => resource_version > 1)
  if (changed.length === 0 || events.length < MAX_NUMBERED) return []
  const read = new Set(events.map(({ id }) => id))
  const rows = await unnumbered(trx, 'events_resource')
    .where((eb) =>
      eb.or(
        changed.map(({ resource_type, resource_id, resource_version }) =>
          eb.and([
            eb('resource_type', '=', resource_type),
            eb('resource_id', '=', resource_id),
            eb('resource_version', '<', resource_version),
          ]),
        ),
      ),
    )
    .execute()
  return rows.filter(({ id }) => !read.has(id))
}

/** Of each resource the event with the highest version. */
function latestOf(events: readonly UnnumberedEvent[]): UnnumberedEvent[] {
  const rising = [...events].sort((a, b) => a.resource_version - b.resource_version)
  return [...new Map(rising.map((event) => [nameOf(event), event])).values()]
}

function nameOf({ resource_type, resource_id }: UnnumberedEvent): string {
  return `${resource_type} ${resource_id}`
}

/** By ids, but never a later version of a resource before an earlier one. */
export function inOrder<T extends UnnumberedEvent>(events: readonly T[]): T[] {
  const byId = [...events].sort((a, b) => a.id - b.id)
  const versions = Map.groupBy(byId, nameOf)
  for (const group of versions.values()) group.sort((a, b) => a.resource_version - b.resource_version || a.id - b.id)
  // Each place that a resource has in the order of ids goes to its next version.
  return byId.map((event) => versions.get(nameOf(event))?.shift() ?? event)
}

/** Ids that rise by the same step, from the position `index` of the list on. */
interface Progression {
  ids: number[]
  step: number
  index: number
}

/** Cuts ids into runs that rise by one step each. One update numbers a run: most often all ids are in one. */
export function progressionsOf(ids: readonly number[]): Progression[] {
  const runs: Progression[] = []
  for (const [index, id] of ids.entries()) {
    const run = runs.at(-1)
    const step = id - (run?.ids.at(-1) ?? id)
    const continues = run && step > 0 && (run.ids.length === 1 || run.step === step)
    if (!continues) runs.push({ ids: [id], step: 1, index })
    else {
      run.ids.push(id)
      run.step = step
    }
  }
  return runs
}

function numberQuery({ ids, step, index }: Progression, lastPosition: number): CompiledQuery {
  const [first = 0] = ids
  const text = `update events set position = ? + (id - ?) / ? where id in (${ids.map(() => '?').join(', ')})`
  return CompiledQuery.raw(text, [lastPosition + index + 1, first, step, ...ids])
}

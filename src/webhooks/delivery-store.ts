import { sql } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'
import { bulkInsert } from '../platform/database/bulk-insert.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import { enqueueWrite } from '../platform/database/pipeline.ts'
import type { Database } from '../platform/database/types.ts'
import type { EventRow } from '../platform/events/feed.ts'
import type { AttemptRow, DeliveryRow } from './store.ts'
import type { DeliveryStatus } from './tables.ts'

// Who writes deliveries has locked their endpoint: so a delivery can't be made to wait for one that ends at that moment.

/** An order, a product: what deliveries of one endpoint go in order for. */
export type Resource = Pick<DeliveryRow, 'resource_type' | 'resource_id'>

const DELIVERY_COLUMNS = [
  'endpoint_id',
  'event_id',
  'event_type',
  'position',
  'resource_type',
  'resource_id',
  'status',
  'next_attempt_at',
  'created_at',
] as const

export type NewDelivery = Pick<DeliveryRow, (typeof DELIVERY_COLUMNS)[number]>

/** Writes deliveries with the transaction's next statement. */
export async function insertDeliveries(trx: Database, rows: readonly NewDelivery[]): Promise<void> {
  if (rows.length > 0) await enqueueWrite(trx, bulkInsert('webhook_deliveries', DELIVERY_COLUMNS, rows))
}

/** Those of these resources that have a pending delivery at the endpoint. */
export function findPendingResources(
  trx: Database,
  endpointId: number,
  resources: readonly Resource[],
): Promise<Resource[]> {
  if (resources.length === 0) return Promise.resolve([])
  return deliveries(trx, 'webhook_deliveries_resource')
    .select(['resource_type', 'resource_id'])
    .distinct()
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where(isOf(resources))
    .execute()
}

/** The number of deliveries that dispatchers are sending to the endpoint now. */
export async function countInFlight(trx: Database, endpointId: number, now: DbTime): Promise<number> {
  const { n } = await deliveries(trx, 'webhook_deliveries_leased')
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .where('endpoint_id', '=', endpointId)
    .where('leased_until', '>', now)
    .executeTakeFirstOrThrow()
  return Number(n)
}

/** Deliveries that are due and that nobody is sending, earliest first. */
export function findDue(trx: Database, endpointId: number, now: DbTime, limit: number): Promise<LeasedDelivery[]> {
  return deliveries(trx, 'webhook_deliveries_due')
    .select(LEASED_COLUMNS)
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where('next_attempt_at', '<=', now)
    .where(isFree(now))
    .orderBy('next_attempt_at')
    .orderBy('id')
    .limit(limit)
    .execute()
}

/** Gives deliveries to one dispatcher until a time. */
export async function leaseDeliveries(
  trx: Database,
  ids: readonly number[],
  lease: string,
  until: DbTime,
): Promise<void> {
  await trx.updateTable('webhook_deliveries').set({ lease, leased_until: until }).where('id', 'in', ids).execute()
}

const LEASED_COLUMNS = ['id', 'endpoint_id', 'event_id', 'tries'] as const

export type LeasedDelivery = Pick<DeliveryRow, (typeof LEASED_COLUMNS)[number]>

/** The deliveries of a lease that lasts. */
export function findLeased(trx: Database, endpointId: number, lease: string, now: DbTime): Promise<LeasedDelivery[]> {
  return deliveries(trx, 'webhook_deliveries_leased')
    .select(LEASED_COLUMNS)
    .where('endpoint_id', '=', endpointId)
    .where('leased_until', '>', now)
    .where('lease', '=', lease)
    .execute()
}

/** Events by their ids; those that are deleted are missing. */
export function findEventsById(db: Database, ids: readonly number[]): Promise<EventRow[]> {
  if (ids.length === 0) return Promise.resolve([])
  return db.selectFrom('events').selectAll().where('id', 'in', ids).$castTo<EventRow & { position: number }>().execute()
}

/** What becomes of a delivery after an attempt, or of one that is given back. */
export type DeliveryEnd = Partial<Pick<DeliveryRow, 'status' | 'tries' | 'next_attempt_at' | 'finished_at'>>

/** Ends a lease. @returns the delivery's resource; undefined when the lease had ended, so that another has the delivery */
export async function endLease(
  trx: Database,
  id: number,
  lease: string,
  end: DeliveryEnd,
): Promise<Resource | undefined> {
  const row = await trx
    .selectFrom('webhook_deliveries')
    .select(['resource_type', 'resource_id'])
    .where('id', '=', id)
    .where('lease', '=', lease)
    .executeTakeFirst()
  if (row === undefined) return undefined
  await trx
    .updateTable('webhook_deliveries')
    .set({ ...end, lease: null, leased_until: null })
    .where('id', '=', id)
    .execute()
  return row
}

/** The earliest pending delivery of a resource. */
export function findFirst(
  trx: Database,
  endpointId: number,
  { resource_type, resource_id }: Resource,
): Promise<Pick<DeliveryRow, 'id' | 'next_attempt_at'> | undefined> {
  return deliveries(trx, 'webhook_deliveries_resource')
    .select(['id', 'next_attempt_at'])
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where('resource_type', '=', resource_type)
    .where('resource_id', '=', resource_id)
    .orderBy('position')
    .limit(1)
    .executeTakeFirst()
}

/** Of each of these resources, the earliest pending delivery, where that one waits. */
export async function findWaitingFirsts(
  trx: Database,
  endpointId: number,
  resources: readonly Resource[],
): Promise<number[]> {
  const rows = await deliveries(trx, 'webhook_deliveries_resource')
    .select('id')
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where('next_attempt_at', 'is', null)
    .where(isOf(resources))
    .where(earlierOne, 'is', null)
    .execute()
  return rows.map(({ id }) => id)
}

const earlierOne = sql`(
  select earlier.id from webhook_deliveries earlier
  where earlier.endpoint_id = d.endpoint_id and earlier.status = 'pending' and earlier.resource_type = d.resource_type
    and earlier.resource_id = d.resource_id and earlier.position < d.position
  limit 1)`

/** Says when deliveries are sent next; null lets them wait for earlier ones of their resource. */
export async function scheduleDeliveries(
  trx: Database,
  ids: readonly number[],
  next_attempt_at: DbTime | null,
): Promise<void> {
  if (ids.length > 0)
    await trx.updateTable('webhook_deliveries').set({ next_attempt_at }).where('id', 'in', ids).execute()
}

/** Lets all deliveries of these resources wait that are not on their way. */
export async function holdBack(
  trx: Database,
  endpointId: number,
  resources: readonly Resource[],
  now: DbTime,
): Promise<void> {
  if (resources.length === 0) return
  await trx
    .updateTable('webhook_deliveries')
    .set({ next_attempt_at: null })
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where('next_attempt_at', 'is not', null)
    .where(isFree(now))
    .where(isOf(resources))
    .execute()
}

/** Writes an attempt with the transaction's next statement. */
export function insertAttempt(trx: Database, attempt: Omit<AttemptRow, 'id'>): Promise<void> {
  const columns = ['delivery_id', 'attempted_at', 'status', 'duration_ms', 'error', 'excerpt'] as const
  return enqueueWrite(trx, bulkInsert('webhook_attempts', columns, [attempt]))
}

/** @param only the customer whose endpoints the caller may see */
export function findDelivery(db: Database, id: number, only: number | null): Promise<DeliveryRow | undefined> {
  return db
    .selectFrom('webhook_deliveries as d')
    .innerJoin('webhook_endpoints as e', 'e.id', 'd.endpoint_id')
    .selectAll('d')
    .where('d.id', '=', id)
    .where('e.status', '<>', 'deleted')
    .$if(only !== null, (query) => query.where('e.customer_id', '=', only))
    .executeTakeFirst()
}

/** The last attempts of a delivery, oldest first. */
export async function findAttempts(db: Database, deliveryId: number, limit: number): Promise<AttemptRow[]> {
  const newestFirst = await db
    .selectFrom('webhook_attempts')
    .selectAll()
    .where('delivery_id', '=', deliveryId)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
  return newestFirst.reverse()
}

/** Where a delivery stands among those of its endpoint. */
export type DeliveryPlace = Pick<DeliveryRow, 'created_at' | 'id'>

export interface DeliveryList {
  status: DeliveryStatus | undefined
  from: DbTime | undefined
  /** The last delivery of the page before. */
  after: DeliveryPlace | undefined
  limit: number
}

/** The deliveries of an endpoint, newest first. */
export function listDeliveries(
  db: Database,
  endpointId: number,
  { status, from, after, limit }: DeliveryList,
): Promise<DeliveryRow[]> {
  const { keysetAfter } = dialectOf(db)
  return deliveries(db, status === undefined ? 'webhook_deliveries_created' : 'webhook_deliveries_status')
    .selectAll()
    .where('endpoint_id', '=', endpointId)
    .$if(status !== undefined, (query) => query.where('status', '=', status ?? 'pending'))
    .$if(from !== undefined, (query) => query.where('created_at', '>=', from ?? ''))
    .$if(after !== undefined, (query) =>
      query.where(keysetAfter(['created_at', 'id'], '<', [after?.created_at ?? '', after?.id ?? 0])),
    )
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
}

export interface RecoveryWindow {
  status: 'failed' | 'succeeded'
  since: DbTime
  until: DbTime
}

/** Deliveries of an endpoint that were made in a time and ended so, oldest first. */
export function findEnded(
  trx: Database,
  endpointId: number,
  { status, since, until }: RecoveryWindow,
  after: DeliveryPlace | undefined,
  limit: number,
): Promise<DeliveryRow[]> {
  const { keysetAfter } = dialectOf(trx)
  return deliveries(trx, 'webhook_deliveries_status')
    .selectAll()
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', status)
    .where('created_at', '<', until)
    .$if(after === undefined, (query) => query.where('created_at', '>=', since))
    .$if(after !== undefined, (query) =>
      query.where(keysetAfter(['created_at', 'id'], '>', [after?.created_at ?? '', after?.id ?? 0])),
    )
    .orderBy('created_at')
    .orderBy('id')
    .limit(limit)
    .execute()
}

/** Makes deliveries pending again, as if they had never been sent. Each waits until it is released. */
export async function reopenDeliveries(trx: Database, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return
  await trx
    .updateTable('webhook_deliveries')
    .set({ status: 'pending', tries: 0, next_attempt_at: null, finished_at: null, lease: null, leased_until: null })
    .where('id', 'in', ids)
    .execute()
}

/** Sends a pending delivery at once instead of at the end of its pause. */
export async function hastenDelivery(trx: Database, id: number, now: DbTime): Promise<void> {
  await trx
    .updateTable('webhook_deliveries')
    .set({ next_attempt_at: now, tries: 0 })
    .where('id', '=', id)
    .where('next_attempt_at', '>', now)
    .execute()
}

/** The ids of deliveries that ended before a time, and of some of those of deleted endpoints. */
export async function findOldDeliveries(db: Database, before: DbTime, limit: number): Promise<number[]> {
  const old = await deliveries(db, 'webhook_deliveries_finished')
    .select('id')
    .where('finished_at', '<', before)
    .orderBy('finished_at')
    .limit(limit)
    .execute()
  const orphans = await db
    .selectFrom('webhook_endpoints as e')
    .innerJoin('webhook_deliveries as d', 'd.endpoint_id', 'e.id')
    .select('d.id')
    .where('e.status', '=', 'deleted')
    .limit(limit)
    .execute()
  return [...new Set([...old, ...orphans].map(({ id }) => id))]
}

/** Of these deliveries, locks those that are still old or of a deleted endpoint: another may be sent again by now. */
export async function lockOldDeliveries(trx: Database, ids: readonly number[], before: DbTime): Promise<number[]> {
  const rows = await trx
    .selectFrom('webhook_deliveries as d')
    .select('d.id')
    .where('d.id', 'in', ids)
    .where(({ or, eb, selectFrom }) =>
      or([
        eb('d.finished_at', '<', before),
        eb('d.endpoint_id', 'in', selectFrom('webhook_endpoints').select('id').where('status', '=', 'deleted')),
      ]),
    )
    .modifyEnd(dialectOf(trx).forUpdate)
    .execute()
  return rows.map(({ id }) => id)
}

/** Deletes deliveries with their attempts. */
export async function deleteDeliveries(trx: Database, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return
  await trx.deleteFrom('webhook_attempts').where('delivery_id', 'in', ids).execute()
  await trx.deleteFrom('webhook_deliveries').where('id', 'in', ids).execute()
}

/** Reads deliveries by one index: with a limit, planners may choose another one and read all rows of an endpoint. */
function deliveries(db: Database, index: string) {
  return db.selectFrom(sql<DeliveryRow>`webhook_deliveries`.as<'d'>(sql`d ${dialectOf(db).forceIndex(index)}`))
}

/** Whether no dispatcher has the delivery. */
function isFree(now: DbTime) {
  return sql<boolean>`(leased_until is null or leased_until <= ${now})`
}

/** Whether a delivery is of one of these resources. */
function isOf(resources: readonly Resource[]) {
  const byType = Map.groupBy(resources, ({ resource_type }) => resource_type)
  const ofType = [...byType].map(
    ([type, some]) =>
      sql`(resource_type = ${type} and resource_id in (${sql.join(some.map((one) => one.resource_id))}))`,
  )
  return sql<boolean>`(${sql.join(ofType, sql` or `)})`
}

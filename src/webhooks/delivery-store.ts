import { sql } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'
import { bulkInsert } from '../platform/database/bulk-insert.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import { enqueueWrite } from '../platform/database/pipeline.ts'
import type { Database } from '../platform/database/types.ts'
import type { EventRow, NumberedEvent } from '../platform/events/feed.ts'
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
  const byType = Map.groupBy(resources, ({ resource_type }) => resource_type)
  return trx
    .selectFrom('webhook_deliveries')
    .select(['resource_type', 'resource_id'])
    .distinct()
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where((eb) =>
      eb.or(
        [...byType].map(([type, some]) =>
          eb.and([
            eb('resource_type', '=', type),
            eb(
              'resource_id',
              'in',
              some.map(({ resource_id }) => resource_id),
            ),
          ]),
        ),
      ),
    )
    .execute()
}

/** The number of deliveries that dispatchers are sending to the endpoint now. */
export async function countInFlight(trx: Database, endpointId: number, now: DbTime): Promise<number> {
  const { n } = await trx
    .selectFrom('webhook_deliveries')
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where('next_attempt_at', '<=', now)
    .where('leased_until', '>', now)
    .executeTakeFirstOrThrow()
  return Number(n)
}

/** The ids of deliveries that are due and that nobody is sending, earliest first. */
export async function findDue(trx: Database, endpointId: number, now: DbTime, limit: number): Promise<number[]> {
  const rows = await trx
    .selectFrom(
      sql<DeliveryRow>`webhook_deliveries`.as<'d'>(sql`d ${dialectOf(trx).forceIndex('webhook_deliveries_due')}`),
    )
    .select('id')
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where('next_attempt_at', '<=', now)
    .where((eb) => eb.or([eb('leased_until', 'is', null), eb('leased_until', '<=', now)]))
    .orderBy('next_attempt_at')
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
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

export type LeasedDelivery = Pick<DeliveryRow, 'id' | 'endpoint_id' | 'event_id' | 'tries'>

/** The deliveries of a lease, in the order of their events. */
export function findLeased(trx: Database, endpointId: number, lease: string): Promise<LeasedDelivery[]> {
  return trx
    .selectFrom('webhook_deliveries')
    .select(['id', 'endpoint_id', 'event_id', 'tries'])
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where('lease', '=', lease)
    .orderBy('position')
    .execute()
}

/** Events by their ids; those that are deleted are missing. */
export function findEventsById(db: Database, ids: readonly number[]): Promise<NumberedEvent[]> {
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

/** Lets the earliest delivery of a resource that waits for earlier ones be sent now. */
export async function releaseNext(
  trx: Database,
  endpointId: number,
  { resource_type, resource_id }: Resource,
  now: DbTime,
): Promise<void> {
  const next = await trx
    .selectFrom('webhook_deliveries')
    .select(['id', 'next_attempt_at'])
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', 'pending')
    .where('resource_type', '=', resource_type)
    .where('resource_id', '=', resource_id)
    .orderBy('position')
    .limit(1)
    .executeTakeFirst()
  if (next === undefined || next.next_attempt_at !== null) return
  await trx.updateTable('webhook_deliveries').set({ next_attempt_at: now }).where('id', '=', next.id).execute()
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

/** The attempts of a delivery, oldest first. */
export function findAttempts(db: Database, deliveryId: number, limit: number): Promise<AttemptRow[]> {
  return db
    .selectFrom('webhook_attempts')
    .selectAll()
    .where('delivery_id', '=', deliveryId)
    .orderBy('id')
    .limit(limit)
    .execute()
}

export interface DeliveryList {
  status: DeliveryStatus | undefined
  from: DbTime | undefined
  /** The last delivery of the page before. */
  after: Pick<DeliveryRow, 'created_at' | 'id'> | undefined
  limit: number
}

/** The deliveries of an endpoint, newest first. */
export function listDeliveries(
  db: Database,
  endpointId: number,
  { status, from, after, limit }: DeliveryList,
): Promise<DeliveryRow[]> {
  const { forceIndex, keysetAfter } = dialectOf(db)
  const index = status === undefined ? 'webhook_deliveries_created' : 'webhook_deliveries_status'
  return db
    .selectFrom(sql<DeliveryRow>`webhook_deliveries`.as<'d'>(sql`d ${forceIndex(index)}`))
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

/** Deliveries of an endpoint that were made in a time and ended so, in the order of their ids. */
export function findEnded(
  trx: Database,
  endpointId: number,
  { status, since, until }: RecoveryWindow,
  afterId: number,
  limit: number,
): Promise<DeliveryRow[]> {
  return trx
    .selectFrom('webhook_deliveries')
    .selectAll()
    .where('endpoint_id', '=', endpointId)
    .where('status', '=', status)
    .where('created_at', '>=', since)
    .where('created_at', '<', until)
    .where('id', '>', afterId)
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
  const old = await db
    .selectFrom('webhook_deliveries')
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

/** Deletes deliveries with their attempts. */
export async function deleteDeliveries(trx: Database, ids: readonly number[]): Promise<void> {
  await trx.deleteFrom('webhook_attempts').where('delivery_id', 'in', ids).execute()
  await trx.deleteFrom('webhook_deliveries').where('id', 'in', ids).execute()
}

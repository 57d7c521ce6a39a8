import { type Selectable, sql } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Tables } from '../platform/database/tables.ts'
import type { Database } from '../platform/database/types.ts'
import type { DisabledReason } from './tables.ts'

export type EndpointRow = Selectable<Tables['webhook_endpoints']>
export type DeliveryRow = Selectable<Tables['webhook_deliveries']>
export type AttemptRow = Selectable<Tables['webhook_attempts']>

/** What a caller may write. */
export type EndpointFields = Pick<EndpointRow, 'url' | 'description' | 'event_types'>

/**
 * Writes a new endpoint without a secret: what seals the secret is the endpoint's id.
 * @param cursor the position after which its events begin
 */
export async function insertEndpoint(
  trx: Database,
  fields: EndpointFields & Pick<EndpointRow, 'customer_id' | 'cursor'>,
  now: DbTime,
): Promise<number> {
  const { insertId } = await trx
    .insertInto('webhook_endpoints')
    .values({
      ...fields,
      status: 'enabled',
      disabled_reason: null,
      secret: '',
      enabled_at: now,
      created_at: now,
      updated_at: now,
    })
    .executeTakeFirstOrThrow()
  return Number(insertId)
}

/** @param only the customer whose endpoints the caller may see */
export function findEndpoint(db: Database, id: number, only?: number | null): Promise<EndpointRow | undefined> {
  return endpoints(db, only).where('id', '=', id).executeTakeFirst()
}

/** Like {@link findEndpoint}, and locks the endpoint until the transaction ends. */
export function lockEndpoint(trx: Database, id: number, only?: number | null): Promise<EndpointRow | undefined> {
  return endpoints(trx, only).where('id', '=', id).modifyEnd(dialectOf(trx).forUpdate).executeTakeFirst()
}

export interface EndpointList {
  after: number | undefined
  limit: number
  only: number | null
}

export function listEndpoints(db: Database, { after = 0, limit, only }: EndpointList): Promise<EndpointRow[]> {
  return endpoints(db, only).where('id', '>', after).orderBy('id').limit(limit).execute()
}

/** Counts the endpoints of a customer, or those that are nobody's in particular. */
export async function countEndpoints(db: Database, customerId: number | null): Promise<number> {
  const { n } = await db
    .selectFrom('webhook_endpoints')
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .where('status', '<>', 'deleted')
    .where('customer_id', customerId === null ? 'is' : '=', customerId)
    .executeTakeFirstOrThrow()
  return Number(n)
}

/** Changes an endpoint that the transaction has locked, and counts its version up. */
export async function updateEndpoint(
  trx: Database,
  id: number,
  fields: Partial<Omit<EndpointRow, 'id' | 'version'>>,
  now: DbTime,
): Promise<void> {
  await trx
    .updateTable('webhook_endpoints')
    .set({ ...fields, updated_at: now, version: sql<number>`version + 1` })
    .where('id', '=', id)
    .execute()
}

/** What is noted of an endpoint while events are sent to it. Callers' versions of it stay. */
export type EndpointNotes = Partial<
  Pick<EndpointRow, 'secret' | 'old_secret' | 'cursor' | 'paused_until' | 'last_success_at'>
>

/** Notes something of an endpoint that the transaction has locked. */
export async function noteOnEndpoint(trx: Database, id: number, notes: EndpointNotes): Promise<void> {
  await trx.updateTable('webhook_endpoints').set(notes).where('id', '=', id).execute()
}

/** The columns of an endpoint that is disabled. */
export function disabledFor(reason: DisabledReason) {
  return { status: 'disabled', disabled_reason: reason } as const
}

function endpoints(db: Database, only: number | null = null) {
  const query = db.selectFrom('webhook_endpoints').selectAll().where('status', '<>', 'deleted')
  return only === null ? query : query.where('customer_id', '=', only)
}

/** Endpoints that have something to do: their cursor is behind the feed, or a delivery is due. */
export async function findWorkingEndpoints(db: Database): Promise<number[]> {
  const { now } = dialectOf(db)
  const rows = await db
    .selectFrom('webhook_endpoints as e')
    .select('e.id')
    .where('e.status', '=', 'enabled')
    .where((eb) => eb.or([eb('e.paused_until', 'is', null), eb('e.paused_until', '<=', now)]))
    .where((eb) =>
      eb.or([
        eb('e.cursor', '<', eb.selectFrom('event_feed').select('position').where('id', '=', 1)),
        eb.exists(
          eb
            .selectFrom('webhook_deliveries as d')
            .select('d.id')
            .whereRef('d.endpoint_id', '=', 'e.id')
            .where('d.status', '=', 'pending')
            .where('d.next_attempt_at', '<=', now)
            .where((of) => of.or([of('d.leased_until', 'is', null), of('d.leased_until', '<=', now)])),
        ),
      ]),
    )
    .execute()
  return rows.map(({ id }) => id)
}

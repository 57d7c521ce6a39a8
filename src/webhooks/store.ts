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
  Pick<EndpointRow, 'secret' | 'old_secret' | 'old_secret_until' | 'cursor' | 'paused_until' | 'last_success_at'>
>

/** Notes something of an endpoint that the transaction has locked. */
export async function noteOnEndpoint(trx: Database, id: number, notes: EndpointNotes): Promise<void> {
  await trx.updateTable('webhook_endpoints').set(notes).where('id', '=', id).execute()
}

/** The columns of an endpoint that is disabled. */
export function disabledFor(reason: DisabledReason) {
  return { status: 'disabled', disabled_reason: reason } as const
}

/**
 * Endpoints that have something to do: their cursor is behind the feed, or a delivery is due. Not by EXISTS: MariaDB would
 * read all deliveries first.
 */
export async function findWorkingEndpoints(db: Database): Promise<number[]> {
  const { now } = dialectOf(db)
  const rows = await byStatus(db)
    .select('e.id')
    .where('e.status', '=', 'enabled')
    .where((eb) => eb.or([eb('e.paused_until', 'is', null), eb('e.paused_until', '<=', now)]))
    .where((eb) =>
      eb.or([
        eb('e.cursor', '<', eb.selectFrom('event_feed').select('position').where('id', '=', 1)),
        eb(firstDue(db), 'is not', null),
      ]),
    )
    .execute()
  return rows.map(({ id }) => id)
}

function firstDue(db: Database) {
  const { now, forceIndex } = dialectOf(db)
  return sql<number | null>`(
    select d.id from webhook_deliveries d ${forceIndex('webhook_deliveries_due')}
    where d.endpoint_id = e.id and d.status = 'pending' and d.next_attempt_at <= ${now}
      and (d.leased_until is null or d.leased_until <= ${now})
    limit 1)`
}

/**
 * Endpoints with a secret that another key sealed, or with an old secret that signs no more.
 * @param prefix what the secrets begin with that the present key sealed
 */
export async function findOutdatedSecrets(
  db: Database,
  prefix: string,
  after: number,
  limit: number,
): Promise<number[]> {
  const { now, byPrimaryKey } = dialectOf(db)
  const isOther = (column: 'secret' | 'old_secret') => sql`substr(${sql.ref(column)}, 1, ${prefix.length}) <> ${prefix}`
  const rows = await db
    .selectFrom(sql<EndpointRow>`webhook_endpoints`.as<'e'>(sql`e ${byPrimaryKey}`))
    .select('id')
    .where('id', '>', after)
    .where('status', '<>', 'deleted')
    .where(sql<boolean>`(${isOther('secret')} or ${isOther('old_secret')} or old_secret_until <= ${now})`)
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
}

/** Forgets the deleted endpoints whose deliveries are deleted too. */
export async function forgetDeletedEndpoints(db: Database): Promise<void> {
  const rows = await byStatus(db)
    .select('e.id')
    .where('e.status', '=', 'deleted')
    .where(sql`(select d.id from webhook_deliveries d where d.endpoint_id = e.id limit 1)`, 'is', null)
    .execute()
  const ids = rows.map(({ id }) => id)
  if (ids.length > 0) await db.deleteFrom('webhook_endpoints').where('id', 'in', ids).execute()
}

function byStatus(db: Database) {
  const { forceIndex } = dialectOf(db)
  return db.selectFrom(sql<EndpointRow>`webhook_endpoints`.as<'e'>(sql`e ${forceIndex('webhook_endpoints_status')}`))
}

function endpoints(db: Database, only: number | null = null) {
  const query = db.selectFrom('webhook_endpoints').selectAll().where('status', '<>', 'deleted')
  return only === null ? query : query.where('customer_id', '=', only)
}

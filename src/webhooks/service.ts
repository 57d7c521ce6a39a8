import type { z } from 'zod'
import { liveCustomersQuery } from '../customers/customer-rows.ts'
import { CUSTOMER_ERRORS } from '../customers/errors.ts'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { addMs, type DbTime, fromRfc3339, toRfc3339 } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { readClock } from '../platform/database/clock.ts'
import { pipeline } from '../platform/database/pipeline.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { lockFeedEnd, numberEvents } from '../platform/events/positions.ts'
import type { Caller } from '../platform/http/app.ts'
import { type Preconditions, requireVersion } from '../platform/http/etag.ts'
import { cutPage, type Page, type PageRequest, readCursor } from '../platform/http/pagination.ts'
import { mayActFor, type Principal } from '../platform/http/principal.ts'
import { claimOf, type Operation } from '../platform/idempotency/claim.ts'
import { replayOrThrow, runIdempotent } from '../platform/idempotency/run.ts'
import type { StoredResponse } from '../platform/idempotency/store.ts'
import {
  DeliveryCursor,
  type DeliveryQuery,
  EndpointCursor,
  type NewWebhookEndpoint,
  type PingResult,
  type Recovered,
  type Recovery,
  type SecretRotation,
  type WebhookEndpointChange,
} from './contract.ts'
import {
  type DeliveryPlace,
  findAttempts,
  findDelivery,
  findEnded,
  findWaitingFirsts,
  hastenDelivery,
  holdBack,
  listDeliveries,
  reopenDeliveries,
  scheduleDeliveries,
} from './delivery-store.ts'
import {
  type Delivery,
  type DeliveryDetail,
  type Endpoint,
  presentDelivery,
  presentDeliveryDetail,
  presentEndpoint,
} from './endpoint-response.ts'
import { WEBHOOK_ERRORS } from './errors.ts'
import { type Outbox, pingOf } from './outbox.ts'
import { openIfPossible, type SecretBox } from './secret-box.ts'
import { generateSecret } from './signature.ts'
import {
  countEndpoints,
  type DeliveryRow,
  type EndpointRow,
  findEndpoint,
  insertEndpoint,
  listEndpoints,
  lockEndpoint,
  noteOnEndpoint,
  updateEndpoint,
} from './store.ts'

const CREATE_ENDPOINT: Operation = { name: 'webhooks.create', status: 201, targetType: 'webhook_endpoint' }
const CHANGE_ENDPOINT: Operation = { name: 'webhooks.change', status: 200, targetType: 'webhook_endpoint' }
const DELETE_ENDPOINT: Operation = { name: 'webhooks.delete', status: 204, targetType: 'webhook_endpoint' }
const ROTATE_SECRET: Operation = { name: 'webhooks.rotate', status: 200, targetType: 'webhook_endpoint' }

/** Of a customer, or of nobody in particular. */
const MAX_ENDPOINTS = 50
const MAX_ATTEMPTS_SHOWN = 100
const RECOVERY_PAGE_SIZE = 500
const DEFAULT_GRACE_SECONDS = 86_400
const NO_OLD_SECRET = { old_secret: null, old_secret_until: null }

export interface WebhooksDeps {
  /** Absent: no keys are configured, so nothing can be signed. */
  secrets: SecretBox | undefined
  outbox: Outbox
  /** Why a URL may not be called; undefined when it may. */
  findUrlFault(url: string): Promise<string | undefined>
  idempotencyTtlMinutes: number
}

export type WebhooksService = ReturnType<typeof createWebhooksService>

/** The verbs of webhook endpoints and deliveries. A bound client sees only the endpoints of its own customer. */
export function createWebhooksService(
  db: Database,
  { secrets, outbox, findUrlFault, idempotencyTtlMinutes }: WebhooksDeps,
) {
  return {
    /**
     * @throws AppError `not_found`, `customer_not_found`, `url_not_allowed`, `too_many_endpoints`, `unavailable`,
     *   `idempotency_key_reused`
     */
    async createEndpoint(caller: Caller, input: NewEndpoint, key: string | undefined): Promise<StoredResponse> {
      const box = requireSecrets(secrets)
      const customerId = ownerOf(caller.principal, input.customer_id)
      const claim = claimOf(CREATE_ENDPOINT, caller.principal, key, input)
      try {
        await requireAllowedUrl(input.url)
        await numberEvents(db)
      } catch (error) {
        return await replayOrThrow(db, claim, error)
      }
      const secret = generateSecret()
      const response = await runIdempotent(db, claim, idempotencyTtlMinutes, caller.trace, async (trx, now) => {
        // One endpoint is made at a time, so that no two count the same number of others.
        const cursor = await lockFeedEnd(trx)
        await requireOwner(trx, customerId)
        const { url, description = null, event_types } = input
        const fields = { url, description, event_types: JSON.stringify(event_types), customer_id: customerId }
        const id = await insertEndpoint(trx, { ...fields, cursor }, now)
        await noteOnEndpoint(trx, id, { secret: box.seal(secret, id) })
        return withoutSecret(found(await findEndpoint(trx, id), id))
      })
      return withSecret(db, box, response, secret)
    },

    /** @throws AppError `not_found` */
    async getEndpoint({ principal }: Caller, id: number): Promise<Endpoint> {
      return presentEndpoint(found(await findEndpoint(db, id, principal.customerId), id))
    },

    /** @throws AppError `validation_failed` for a cursor of another list */
    async listEndpoints({ principal }: Caller, { cursor, limit }: PageRequest): Promise<Page<Endpoint>> {
      const [after] = readCursor('webhook_endpoints', cursor, EndpointCursor) ?? []
      const rows = await listEndpoints(db, { after, limit: limit + 1, only: principal.customerId })
      const page = cutPage('webhook_endpoints', rows, limit, ({ id }) => [id])
      return { ...page, data: page.data.map(presentEndpoint) }
    },

    /** @throws AppError `not_found`, `url_not_allowed`, `precondition_failed`, `idempotency_key_reused` */
    async changeEndpoint(
      { principal, trace }: Caller,
      id: number,
      change: EndpointChange,
      key: string | undefined,
      preconditions: Preconditions,
    ): Promise<StoredResponse> {
      const claim = claimOf(CHANGE_ENDPOINT, principal, key, id, change)
      try {
        if (change.url !== undefined) await requireAllowedUrl(change.url)
      } catch (error) {
        return await replayOrThrow(db, claim, error)
      }
      return runIdempotent(db, claim, idempotencyTtlMinutes, trace, async (trx, now) => {
        const before = await lockAtVersion(trx, principal, id, preconditions)
        await updateEndpoint(trx, id, changedColumns(before, change, now), now)
        return presentEndpoint(found(await findEndpoint(trx, id), id))
      })
    },

    /** @throws AppError `not_found`, `precondition_failed`, `idempotency_key_reused` */
    deleteEndpoint(
      { principal, trace }: Caller,
      id: number,
      key: string | undefined,
      preconditions: Preconditions,
    ): Promise<StoredResponse> {
      const claim = claimOf(DELETE_ENDPOINT, principal, key, id)
      return runIdempotent(db, claim, idempotencyTtlMinutes, trace, async (trx, now) => {
        await lockAtVersion(trx, principal, id, preconditions)
        await updateEndpoint(trx, id, { status: 'deleted', secret: '', old_secret: null }, now)
        return { id }
      })
    },

    /** @throws AppError `not_found`, `rotation_in_progress`, `unavailable`, `idempotency_key_reused` */
    async rotateSecret(
      { principal, trace }: Caller,
      id: number,
      rotation: Rotation,
      key: string | undefined,
    ): Promise<StoredResponse> {
      const box = requireSecrets(secrets)
      const claim = claimOf(ROTATE_SECRET, principal, key, id, rotation)
      const secret = generateSecret()
      const response = await runIdempotent(db, claim, idempotencyTtlMinutes, trace, async (trx, now) => {
        const before = found(await lockEndpoint(trx, id, principal.customerId), id)
        const until = before.old_secret_until
        if (!rotation.force && until !== null && until > now) throw rotationInProgress(toRfc3339(until))
        const old_secret_until = addMs(now, (rotation.grace_seconds ?? DEFAULT_GRACE_SECONDS) * 1_000)
        // Without its key, the old secret can't sign.
        const isKept = openIfPossible(box, before.secret, id) !== undefined
        const kept = isKept ? { old_secret: before.secret, old_secret_until } : NO_OLD_SECRET
        await updateEndpoint(trx, id, { ...kept, secret: box.seal(secret, id) }, now)
        return withoutSecret(found(await findEndpoint(trx, id), id))
      })
      return withSecret(db, box, response, secret)
    },

    /** Sends a `ping` now. @throws AppError `not_found`, `unavailable` */
    async ping({ principal, trace }: Caller, id: number): Promise<Ping> {
      requireSecrets(secrets)
      const endpoint = found(await findEndpoint(db, id, principal.customerId), id)
      const now = await readClock(db)
      const event = pingOf(endpoint, now)
      const message = { id: event.id, body: JSON.stringify(event), cause: trace.traceparent ?? null }
      const { status, error, durationMs, excerpt } = await outbox.send(endpoint, message)
      const attempt = { attempted_at: toRfc3339(now), status, duration_ms: durationMs, error, response: excerpt }
      return { event, attempt }
    },

    /** Newest first. @throws AppError `not_found`, `validation_failed` for a cursor of another list */
    async listDeliveries({ principal }: Caller, endpointId: number, query: DeliveriesQuery): Promise<Page<Delivery>> {
      const { status, from, cursor, limit } = query
      const [createdAt, id] = readCursor('webhook_deliveries', cursor, DeliveryCursor) ?? []
      found(await findEndpoint(db, endpointId, principal.customerId), endpointId)
      const after = createdAt && id ? { created_at: fromRfc3339(createdAt), id } : undefined
      const filter = { status, from: from && fromRfc3339(from), after, limit: limit + 1 }
      const rows = await listDeliveries(db, endpointId, filter)
      const page = cutPage('webhook_deliveries', rows, limit, (row) => [toRfc3339(row.created_at), row.id])
      return { ...page, data: page.data.map(presentDelivery) }
    },

    /** @throws AppError `not_found` */
    async getDelivery({ principal }: Caller, id: number): Promise<DeliveryDetail> {
      const row = foundDelivery(await findDelivery(db, id, principal.customerId), id)
      return presentDeliveryDetail(row, await findAttempts(db, id, MAX_ATTEMPTS_SHOWN))
    },

    /** @throws AppError `not_found` */
    redeliver({ principal }: Caller, id: number): Promise<Delivery> {
      return transactAlone(db, async (trx) => {
        const { endpoint_id } = foundDelivery(await findDelivery(trx, id, principal.customerId), id)
        found(await lockEndpoint(trx, endpoint_id), endpoint_id)
        const now = await readClock(trx)
        const row = foundDelivery(await findDelivery(trx, id, principal.customerId), id)
        if (row.status === 'pending') await hastenDelivery(trx, id, now)
        else await reopen(trx, endpoint_id, [row], now)
        return presentDelivery(foundDelivery(await findDelivery(trx, id, principal.customerId), id))
      })
    },

    /** @throws AppError `not_found` */
    async recover({ principal }: Caller, endpointId: number, input: RecoveryInput): Promise<RecoveredCount> {
      const { since, until, status = 'failed' } = input
      const before = until === undefined ? await readClock(db) : fromRfc3339(until)
      const window = { status, since: fromRfc3339(since), until: before }
      let recovered = 0
      let last: DeliveryPlace | undefined
      for (let isFull = true; isFull; ) {
        const rows = await transactAlone(db, async (trx) => {
          found(await lockEndpoint(trx, endpointId, principal.customerId), endpointId)
          const ended = await findEnded(trx, endpointId, window, last, RECOVERY_PAGE_SIZE)
          await reopen(trx, endpointId, ended, await readClock(trx))
          return ended
        })
        recovered += rows.length
        last = rows.at(-1) ?? last
        isFull = rows.length === RECOVERY_PAGE_SIZE
      }
      return { recovered }
    },
  }

  async function requireAllowedUrl(url: string): Promise<void> {
    const fault = await findUrlFault(url)
    if (fault !== undefined) throw new AppError(WEBHOOK_ERRORS.url_not_allowed, fault)
  }
}

type NewEndpoint = z.output<typeof NewWebhookEndpoint>
type EndpointChange = z.output<typeof WebhookEndpointChange>
type Rotation = z.output<typeof SecretRotation>
type DeliveriesQuery = z.output<typeof DeliveryQuery>
type RecoveryInput = z.output<typeof Recovery>
type RecoveredCount = z.output<typeof Recovered>
type Ping = z.output<typeof PingResult>

/** Whose events an endpoint gets: a bound client makes endpoints for its own customer only. */
function ownerOf(principal: Principal, asked: number | undefined): number | null {
  if (asked !== undefined && !mayActFor(principal, asked)) {
    throw new AppError(PLATFORM_ERRORS.not_found, `There is no customer ${asked}.`)
  }
  return principal.customerId ?? asked ?? null
}

/** @throws AppError `customer_not_found`, `too_many_endpoints` */
async function requireOwner(trx: Database, customerId: number | null): Promise<void> {
  const [customers] = await pipeline(trx, liveCustomersQuery(trx, customerId === null ? [] : [customerId]))
  if (customerId !== null && customers.length === 0) {
    throw new AppError(CUSTOMER_ERRORS.customer_not_found, `There is no customer ${customerId}.`)
  }
  if ((await countEndpoints(trx, customerId)) < MAX_ENDPOINTS) return
  const detail = `There are ${MAX_ENDPOINTS} endpoints already. Delete one first.`
  throw new AppError(WEBHOOK_ERRORS.too_many_endpoints, detail, { max_endpoints: MAX_ENDPOINTS })
}

function changedColumns(
  before: EndpointRow,
  { url = before.url, description, event_types, status }: EndpointChange,
  now: DbTime,
): Partial<EndpointRow> {
  const fields = {
    url,
    description: description === undefined ? before.description : description || null,
    event_types: event_types === undefined ? before.event_types : JSON.stringify(event_types),
  }
  // What was asked for at one URL is not asked for at another.
  const pause = url === before.url ? {} : { paused_until: null }
  if (status === undefined || status === before.status) return { ...fields, ...pause }
  if (status === 'disabled') return { ...fields, ...pause, status, disabled_reason: 'requested' }
  return { ...fields, status, disabled_reason: null, enabled_at: now, paused_until: null }
}

/**
 * Makes deliveries pending again. Those of one resource go in the order of their events, together with those that are
 * pending, except one that is on its way.
 */
async function reopen(trx: Database, endpointId: number, rows: readonly DeliveryRow[], now: DbTime): Promise<void> {
  if (rows.length === 0) return
  await reopenDeliveries(
    trx,
    rows.map(({ id }) => id),
  )
  await holdBack(trx, endpointId, rows, now)
  await scheduleDeliveries(trx, await findWaitingFirsts(trx, endpointId, rows), now)
}

function withoutSecret(row: EndpointRow): Endpoint & { secret: null } {
  return { ...presentEndpoint(row), secret: null }
}

/**
 * The stored response holds no secret: only the first answer shows it. A response that this call stored itself, and found
 * again because the answer of the commit was lost, is a first answer.
 */
async function withSecret(
  db: Database,
  box: SecretBox,
  response: StoredResponse,
  secret: string,
): Promise<StoredResponse> {
  const row = response.replayed ? await findEndpoint(db, response.targetId) : undefined
  if (response.replayed && (row === undefined || openIfPossible(box, row.secret, row.id) !== secret)) return response
  const body = JSON.stringify({ ...unsafeCast<object>(JSON.parse(response.body)), secret })
  return { ...response, body, replayed: false }
}

/** @throws AppError `unavailable` */
function requireSecrets(secrets: SecretBox | undefined): SecretBox {
  if (secrets) return secrets
  throw new AppError(PLATFORM_ERRORS.unavailable, 'Webhooks are not set up here: WEBHOOK_KEYS is missing.')
}

function rotationInProgress(old_secret_until: string): AppError {
  const detail = 'The secret before the present one still signs. Wait for its end, or send "force": true.'
  return new AppError(WEBHOOK_ERRORS.rotation_in_progress, detail, { old_secret_until })
}

function found(row: EndpointRow | undefined, id: number): EndpointRow {
  if (row === undefined) throw new AppError(PLATFORM_ERRORS.not_found, `There is no webhook endpoint ${id}.`)
  return row
}

function foundDelivery(row: DeliveryRow | undefined, id: number): DeliveryRow {
  if (row === undefined) throw new AppError(PLATFORM_ERRORS.not_found, `There is no webhook delivery ${id}.`)
  return row
}

async function lockAtVersion(
  trx: Database,
  { customerId }: Principal,
  id: number,
  preconditions: Preconditions,
): Promise<EndpointRow> {
  const row = found(await lockEndpoint(trx, id, customerId), id)
  requireVersion(preconditions, row, 'webhook endpoint')
  return row
}

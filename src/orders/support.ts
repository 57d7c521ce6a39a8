import type { z } from 'zod'
import { IDENTITY_ERRORS } from '../identity/errors.ts'
import { sha256 } from '../platform/core/crypto.ts'
import { AppError } from '../platform/core/errors.ts'
import { addMinutes, type DbTime, toRfc3339 } from '../platform/core/time.ts'
import { chunks } from '../platform/database/bulk-insert.ts'
import { readClock } from '../platform/database/clock.ts'
import type { Database } from '../platform/database/types.ts'
import type { Caller } from '../platform/http/app.ts'
import { SERVICE_ID } from '../platform/http/principal.ts'
import { CANCEL_ORDER, CONFIRM_ORDER, PLACE_ORDER, UPDATE_ORDER } from './commands.ts'
import type { KeySearch as KeySearchSchema } from './contract.ts'
import { type OrderSummary, presentSummary } from './order-response.ts'
import {
  findOrder,
  findOrdersByOrigin,
  findPageBefore,
  findPlacers,
  findUsesOfKeys,
  type KeyUseRow,
  type OrderOrigin,
  type OrderRow,
} from './store.ts'

const OPERATIONS = [PLACE_ORDER, CONFIRM_ORDER, UPDATE_ORDER, CANCEL_ORDER].map(({ name }) => name)
const KEYS_A_STATEMENT = 100
/** The number of orders that one statement of a scan reads. It is low, so that no statement takes long. */
const ORDERS_A_STATEMENT = 5_000
/** The maximum number of orders that a scan finds. */
const MAX_FOUND = 100

export type KeySearch = z.output<typeof KeySearchSchema>

export interface SupportConfig {
  idempotencyTtlMinutes: number
  /** The keys at Orders that the orchestrator may have derived from a caller's key. */
  derivedKeys(principalId: string, key: string): string[]
  /** The principal ids that a client may have. Without a client, all known ones. */
  principalsOf(client: string | undefined): Promise<string[]>
}

/** An order as support sees it, with its origin. */
export type FoundOrder = OrderSummary & OrderOrigin

/** The criteria of a scan for orders. */
export interface OriginSearch {
  key?: string | undefined
  correlationId?: string | undefined
  client?: string | undefined
  since: DbTime
}

export interface Scanned {
  found: FoundOrder[]
  /** The number of orders without an origin. The version before this one placed them. */
  unrecorded: number
}

export type OrderSupport = ReturnType<typeof createOrderSupport>

/** Finds out whether an order was placed. It only reads. */
export function createOrderSupport(db: Database, config: SupportConfig) {
  return {
    /** The uses of a key, for callers of the API. @throws AppError `bound_client` */
    async searchKey({ principal }: Caller, key: string, client: string | undefined): Promise<KeySearch> {
      if (principal.customerId !== null) {
        throw new AppError(
          IDENTITY_ERRORS.bound_client,
          'A client bound to a customer may not look up keys. It may send its request again.',
        )
      }
      return findKey(key, client)
    },

    findKey,
    keptSince,

    async findOrder(id: number): Promise<FoundOrder | undefined> {
      const row = await findOrder(db, id)
      return row && foundOf(row)
    },

    /**
     * Finds orders by their origin, newest first. No index helps, so all orders back to a time are read.
     * @param onProgress gets the number of orders read so far, and the time of the oldest one
     */
    async scanOrders(search: OriginSearch, onProgress: (scanned: number, backTo: string) => void): Promise<Scanned> {
      const found: FoundOrder[] = []
      let unrecorded = 0
      let before = Number.MAX_SAFE_INTEGER
      for (let scanned = 0; found.length < MAX_FOUND; ) {
        const page = await findPageBefore(db, before, ORDERS_A_STATEMENT, search.since)
        if (page === undefined || page.newest < search.since) break
        const range = { from: page.first, before }
        found.push(...(await findInRange(search, range)).map(foundOf))
        before = page.first
        scanned += page.orders
        unrecorded += page.unrecorded
        onProgress(scanned, toRfc3339(page.oldest))
      }
      return { found: found.slice(0, MAX_FOUND), unrecorded }
    },
  }

  async function findKey(key: string, client: string | undefined): Promise<KeySearch> {
    const principals = await config.principalsOf(client)
    const derived = new Map(principals.flatMap((id) => config.derivedKeys(id, key).map((it) => [it, id])))
    const uses = []
    for (const keys of chunks([key, ...derived.keys()], KEYS_A_STATEMENT)) {
      uses.push(...(await findUsesOfKeys(db, OPERATIONS, keys)))
    }
    const isAsked = (use: KeyUseRow) => client === undefined || derived.has(use.key) || isOf(use.principal, principals)
    const { kept_since, kept_hours } = await keptSince()
    return {
      data: uses
        .filter(isAsked)
        .sort(byTime)
        .map((use) => presentUse(use, derived.get(use.key))),
      kept_since,
      kept_hours,
    }
  }

  /** The start of the period for which keys are kept, by the database's clock. */
  async function keptSince() {
    const { idempotencyTtlMinutes } = config
    const now = await readClock(db)
    const kept_since = toRfc3339(addMinutes(now, -idempotencyTtlMinutes))
    return { now: toRfc3339(now), kept_since, kept_hours: idempotencyTtlMinutes / 60 }
  }

  async function findInRange(
    { key, correlationId, client, since }: OriginSearch,
    range: { from: number; before: number },
  ) {
    const placedBy = client === undefined ? undefined : await config.principalsOf(client)
    const filter = { ...range, since, correlationId, placedBy }
    if (key === undefined) return findOrdersByOrigin(db, filter)
    const placers = placedBy ?? (await findPlacers(db, range))
    const keys = [key, ...placers.flatMap((id) => config.derivedKeys(id, key))]
    return findOrdersByOrigin(db, { ...filter, keyHashes: keys.map(sha256) })
  }
}

/**
 * A bound client may have keys that belong to its id and its customer (see `claimantOf` in
 * platform/idempotency/claim.ts).
 */
function isOf(principal: string, principals: readonly string[]): boolean {
  return principals.some((id) => principal === id || principal.startsWith(`${id}#`))
}

/** Earlier uses come first. At the same time, placing an order comes before confirming it. */
function byTime(a: KeyUseRow, b: KeyUseRow): number {
  if (a.used_at !== b.used_at) return a.used_at < b.used_at ? -1 : 1
  return OPERATIONS.indexOf(a.operation) - OPERATIONS.indexOf(b.operation)
}

/** @param caller the caller's principal id, where the orchestrator derived this key */
function presentUse(use: KeyUseRow, caller: string | undefined): KeySearch['data'][number] {
  return {
    operation: use.operation,
    key: use.key,
    principal: caller ?? use.principal,
    via: use.principal === SERVICE_ID ? 'orchestrator' : 'orders',
    status: use.answered,
    order: presentSummary(use),
    created_at: toRfc3339(use.used_at),
    expires_at: toRfc3339(use.kept_until),
  }
}

function foundOf(row: OrderRow & OrderOrigin): FoundOrder {
  const { correlation_id, key_hash } = row
  return { ...presentSummary(row), correlation_id, key_hash }
}

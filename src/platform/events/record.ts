import { CompiledQuery } from 'kysely'
import type { DbTime } from '../core/time.ts'
import { bulkInsert, chunks } from '../database/bulk-insert.ts'
import { dialectOf } from '../database/dialect.ts'
import { enqueueWrite } from '../database/pipeline.ts'
import type { Database } from '../database/types.ts'
import { callerIdOf, type Principal } from '../http/principal.ts'
import type { Trace } from '../telemetry/trace.ts'

/** Who caused an event, and in which request. */
export interface EventOrigin {
  /** The id of a principal, or `system:` and the name of a job. */
  actor: string
  correlation_id: string | null
  traceparent: string | null
}

/** What an event is about. `version` is the resource's version after the change. */
export interface EventResource {
  type: string
  id: number
  version: number
}

export interface NewEvent {
  /** Such as `order.placed`. */
  type: string
  resource: EventResource
  /** The customer whose bound clients may see the event; null for none in particular. */
  customerId: number | null
  origin: EventOrigin
  reason?: string
  /** The JSON text of what happened, as callers see it. */
  data: string
  /** Absent: now. Only events that are added later happened at another time. */
  occurredAt?: DbTime
}

export function originOf({ principal, trace }: { principal: Principal; trace: Trace }): EventOrigin {
  return {
    actor: callerIdOf(principal),
    correlation_id: trace.correlationId,
    traceparent: trace.traceparent ?? null,
  }
}

/** The origin of what a job of the product does by itself. */
export function systemOrigin(name: string): EventOrigin {
  return { actor: `system:${name}`, correlation_id: null, traceparent: null }
}

const COLUMNS = [
  'type',
  'resource_type',
  'resource_id',
  'resource_version',
  'customer_id',
  'actor',
  'correlation_id',
  'traceparent',
  'reason',
  'data',
  'occurred_at',
] as const

/**
 * Writes events in the transaction that did what they tell. They are sent with the transaction's next statement, at the
 * latest with the commit.
 */
export async function recordEvents(trx: Database, events: readonly NewEvent[], now: DbTime): Promise<void> {
  const rows = events.map(({ type, resource, customerId, origin, reason = null, data, occurredAt }) => ({
    type,
    resource_type: resource.type,
    resource_id: resource.id,
    resource_version: resource.version,
    customer_id: customerId,
    ...origin,
    reason,
    data,
    occurred_at: occurredAt ?? now,
  }))
  for (const chunk of chunks(rows, dialectOf(trx).rowsPerInsert(COLUMNS.length))) {
    await enqueueWrite(trx, bulkInsert('events', COLUMNS, chunk))
  }
}

/**
 * Like {@link recordEvents}, for events that the database makes of rows which the transaction has just written: reading
 * them here would cost a round trip. The select gives all columns of an event in the order of {@link SELECTED_COLUMNS}.
 */
export function recordSelectedEvents(trx: Database, select: CompiledQuery): Promise<void> {
  const names = COLUMNS.join(', ')
  return enqueueWrite(trx, CompiledQuery.raw(`insert into events (${names}) ${select.sql}`, [...select.parameters]))
}

/** What a select for {@link recordSelectedEvents} gives, in this order. */
export const SELECTED_COLUMNS = COLUMNS

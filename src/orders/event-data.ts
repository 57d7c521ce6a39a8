import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import type { Database } from '../platform/database/types.ts'
import type { EventRow } from '../platform/events/feed.ts'
import { completeData, type StoredOrderData } from './events.ts'
import { presentLines } from './order-response.ts'
import { findLines } from './store.ts'

/** What events of orders tell, as callers see it, by the events' ids. The lines are read from their orders. */
export async function readOrderData(db: Database, events: readonly EventRow[]): Promise<Map<number, object>> {
  const orders = [...new Set(events.map(({ resource_id }) => resource_id))].map((id) => ({ id }))
  const lines = orders.length === 0 ? new Map() : await findLines(db, orders)
  return new Map(
    events.map(({ id, resource_id, data }) => {
      const items = presentLines(lines.get(resource_id) ?? [])
      return [id, completeData(unsafeCast<StoredOrderData>(JSON.parse(data)), items)]
    }),
  )
}

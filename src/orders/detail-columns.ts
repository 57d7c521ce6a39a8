import type { z } from 'zod'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import type { changeableDetails, OrderDetails, shownDetails } from './details.ts'
import type { DetailColumns } from './store.ts'

type ShownDetails = z.output<z.ZodObject<typeof shownDetails>>
type ShownShipTo = NonNullable<ShownDetails['ship_to']>

export type ChangedDetails = z.output<z.ZodObject<typeof changeableDetails>>

/** The details of a new order as its row has them. */
export function columnsOf(details: OrderDetails): DetailColumns {
  const { po_number, requested_delivery_date, ship_to, notes, metadata, currency } = details
  return {
    po_number: po_number ?? null,
    requested_delivery_date: requested_delivery_date ?? null,
    ship_to: ship_to ? JSON.stringify(shownShipTo(ship_to)) : null,
    notes: notes || null,
    metadata: metadata ? jsonOf(metadata) : null,
    currency: currency ?? null,
  }
}

/** The columns that a change of an order's details sets. An empty value clears its column. */
export function changedColumnsOf(change: ChangedDetails): Partial<DetailColumns> {
  const given = Object.entries(change).filter(([, value]) => value !== undefined)
  const all: Partial<DetailColumns> = columnsOf({ ...change, po_number: undefined, currency: undefined })
  all.requested_delivery_date ||= null
  return Object.fromEntries(given.map(([name]) => [name, all[unsafeCast<keyof DetailColumns>(name)]]))
}

/** The details of a row as callers see them. */
export function detailsOf(row: DetailColumns): ShownDetails {
  return {
    po_number: row.po_number,
    requested_delivery_date: row.requested_delivery_date,
    ship_to: row.ship_to === null ? null : unsafeCast<ShownShipTo>(JSON.parse(row.ship_to)),
    notes: row.notes,
    metadata: row.metadata === null ? null : unsafeCast<Record<string, string>>(JSON.parse(row.metadata)),
    currency: row.currency,
  }
}

function shownShipTo({ line2 = undefined, region = undefined, ...rest }: NonNullable<OrderDetails['ship_to']>) {
  const { name, line1, city, postal_code, country } = rest
  return { name, line1, line2: line2 ?? null, city, region: region ?? null, postal_code, country }
}

/** Null for an object without members. */
function jsonOf(metadata: Readonly<Record<string, string>>): string | null {
  const json = JSON.stringify(metadata)
  return json === '{}' ? null : json
}

import type { Random } from '../testing/random.ts'
import { type Fixture, REASON } from './fixture.ts'
import { type HistoryEntry, newEntry, type PoNumber } from './history.ts'
import type { ServiceRequest } from './http.ts'

/** An operation, and the request that each of its invocations sends. */
export interface Operation {
  entry: HistoryEntry
  request: ServiceRequest
}

/** Makes the operations of a run. They depend on the seed and on the caller's `random` alone. */
export function createGenerator(seed: number, fixture: Fixture) {
  return {
    orchestrate(random: Random, serial: number): Operation {
      const key = `orchestrated-${seed}-${serial}`
      // The response contains the correlation id. Without one from the caller, it is the one stored with the key.
      const correlation = random.chance(0.5) ? { correlation_id: `faults-${seed}-${serial}` } : {}
      const order = orderFor(random, serial)
      const body = { ...order, idempotency_key: key, ...correlation }
      const entry = newEntry('orchestrate', key, { serial, po: poOf(order) })
      return { entry, request: post('orchestrator', '/orchestrator/create-and-confirm-order', {}, body) }
    },

    place(random: Random, serial: number): Operation {
      const key = `placed-${seed}-${serial}`
      const order = orderFor(random, serial)
      const entry = newEntry('place', key, { serial, po: poOf(order) })
      return { entry, request: post('orders', '/orders', { 'idempotency-key': key }, order) }
    },

    placeConfirmed(random: Random, serial: number): Operation {
      const key = `placed-confirmed-${seed}-${serial}`
      const order = orderFor(random, serial)
      const entry = newEntry('place confirmed', key, { serial, po: poOf(order) })
      return { entry, request: post('orders', '/orders', { 'idempotency-key': key }, { ...order, confirm: true }) }
    },

    confirm(serial: number, orderId: number): Operation {
      const key = `confirmed-${seed}-${serial}`
      const entry = newEntry('confirm', key, { serial })
      return { entry, request: post('orders', `/orders/${orderId}/confirm`, { 'x-idempotency-key': key }) }
    },

    /** It needs no key: an order is canceled once. */
    cancel(serial: number, orderId: number): Operation {
      const entry = newEntry('cancel', `canceled-${seed}-${serial}`, { serial })
      return { entry, request: post('orders', `/orders/${orderId}/cancel`, {}) }
    },

    adjust(random: Random, serial: number): Operation {
      const key = `adjusted-${seed}-${serial}`
      const name = `${REASON}${key}`
      const body = { delta: random.oneOf(20, 10, 5, -3, -10), reason: name }
      const path = `/products/${random.shuffled(fixture.scarce)[0]}/stock-adjustments`
      return {
        entry: newEntry('adjust', key, { name }),
        request: post('orders', path, { 'idempotency-key': key }, body),
      }
    },

    addCustomer(serial: number): Operation {
      const key = `customer-${seed}-${serial}`
      const name = `${key}@example.com`
      const body = { name: `Customer ${serial}`, email: name }
      const entry = newEntry('add customer', key, { name })
      return { entry, request: post('customers', '/customers', { 'idempotency-key': key }, body) }
    },

    addProduct(serial: number): Operation {
      const name = `PRODUCT-${seed}-${serial}`
      const key = name.toLowerCase()
      const body = { sku: name, name: `Product ${serial}`, price_cents: 100, stock: serial % 3 }
      const entry = newEntry('add product', key, { name })
      return { entry, request: post('orders', '/products', { 'idempotency-key': key }, body) }
    },
  }

  function orderFor(random: Random, serial: number): NewOrder {
    const scarce = random.chance(0.25)
    const line = (ids: readonly number[], most: number) => {
      const [product_id = 0] = random.shuffled(ids)
      return { product_id, qty: random.whole(1, most) }
    }
    const mark = { product_id: fixture.marks[serial % fixture.marks.length] ?? 0, qty: serial }
    const items = [line(fixture.plenty, 3), ...(scarce ? [line(fixture.scarce, 12)] : []), mark]
    const [customer_id = 0] = random.shuffled(fixture.customers)
    return { customer_id, items: random.shuffled(items), ...poNumberFor(random, serial) }
  }

  /** Some orders have a PO number of their own, others share one with orders of about the same time. */
  function poNumberFor(random: Random, serial: number): Pick<NewOrder, 'po_number'> {
    const dice = random.fraction()
    if (dice < 0.6) return {}
    if (dice < 0.8) return { po_number: `PO ${seed}-${serial}` }
    const shared = `Bestellung für ${seed}-${Math.floor(serial / SHARED_BY)}`
    return { po_number: random.oneOf(shared, shared.toUpperCase(), shared.normalize('NFD'), ` ${shared} `) }
  }
}

/** A fifth of so many orders, of three customers, have the same PO number. */
const SHARED_BY = 60

interface NewOrder {
  customer_id: number
  items: { product_id: number; qty: number }[]
  po_number?: string
}

function poOf({ customer_id, po_number }: NewOrder): PoNumber | undefined {
  return po_number === undefined ? undefined : { customerId: customer_id, text: po_number }
}

export type Generator = ReturnType<typeof createGenerator>

function post(
  service: ServiceRequest['service'],
  path: string,
  headers: Record<string, string>,
  body?: object,
): ServiceRequest {
  return { service, path, headers, body }
}

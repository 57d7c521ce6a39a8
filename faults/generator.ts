import { type Ground, REASON } from './fixture.ts'
import { newStory, type Story } from './history.ts'
import type { Sendable } from './http.ts'
import type { Random } from './random.ts'

/** A story that has not begun, and the request that is sent for it, again and again. */
export interface Wish {
  story: Story
  sendable: Sendable
}

/** Makes the requests of a run. All that is random about them comes from the caller's own choices. */
export function createWishes(seed: number, ground: Ground) {
  return {
    orchestrate(random: Random, serial: number): Wish {
      const key = `orchestrated-${seed}-${serial}`
      // The correlation id is part of the answer. Where the caller has none, the same key has the same.
      const correlation = random.chance(0.5) ? { correlation_id: `faults-${seed}-${serial}` } : {}
      const body = { ...orderFor(random, serial), idempotency_key: key, ...correlation }
      const story = newStory('orchestrate', key, { serial })
      return { story, sendable: post('orchestrator', '/orchestrator/create-and-confirm-order', {}, body) }
    },

    place(random: Random, serial: number): Wish {
      const key = `placed-${seed}-${serial}`
      const story = newStory('place', key, { serial })
      return { story, sendable: post('orders', '/orders', { 'idempotency-key': key }, orderFor(random, serial)) }
    },

    placeConfirmed(random: Random, serial: number): Wish {
      const key = `placed-confirmed-${seed}-${serial}`
      const body = { ...orderFor(random, serial), confirm: true }
      const story = newStory('place confirmed', key, { serial })
      return { story, sendable: post('orders', '/orders', { 'idempotency-key': key }, body) }
    },

    confirm(serial: number, orderId: number): Wish {
      const key = `confirmed-${seed}-${serial}`
      const story = newStory('confirm', key, { serial })
      return { story, sendable: post('orders', `/orders/${orderId}/confirm`, { 'x-idempotency-key': key }) }
    },

    /** It has no key, and needs none: an order is canceled once. */
    cancel(serial: number, orderId: number): Wish {
      const story = newStory('cancel', `canceled-${seed}-${serial}`, { serial })
      return { story, sendable: post('orders', `/orders/${orderId}/cancel`, {}) }
    },

    adjust(random: Random, serial: number): Wish {
      const key = `adjusted-${seed}-${serial}`
      const name = `${REASON}${key}`
      const body = { delta: random.oneOf(20, 10, 5, -3, -10), reason: name }
      const path = `/products/${random.shuffled(ground.scarce)[0]}/stock-adjustments`
      return {
        story: newStory('adjust', key, { name }),
        sendable: post('orders', path, { 'idempotency-key': key }, body),
      }
    },

    addCustomer(serial: number): Wish {
      const key = `customer-${seed}-${serial}`
      const name = `${key}@example.com`
      const body = { name: `Customer ${serial}`, email: name }
      const story = newStory('add customer', key, { name })
      return { story, sendable: post('customers', '/customers', { 'idempotency-key': key }, body) }
    },

    addProduct(serial: number): Wish {
      const name = `PRODUCT-${seed}-${serial}`
      const key = name.toLowerCase()
      const body = { sku: name, name: `Product ${serial}`, price_cents: 100, stock: serial % 3 }
      const story = newStory('add product', key, { name })
      return { story, sendable: post('orders', '/products', { 'idempotency-key': key }, body) }
    },
  }

  function orderFor(random: Random, serial: number) {
    const scarce = random.chance(0.25)
    const line = (ids: readonly number[], most: number) => {
      const [product_id = 0] = random.shuffled(ids)
      return { product_id, qty: random.whole(1, most) }
    }
    const mark = { product_id: ground.marks[serial % ground.marks.length] ?? 0, qty: serial }
    const items = [line(ground.plenty, 3), ...(scarce ? [line(ground.scarce, 12)] : []), mark]
    const [customer_id = 0] = random.shuffled(ground.customers)
    return { customer_id, items: random.shuffled(items) }
  }
}

export type Wishes = ReturnType<typeof createWishes>

function post(service: Sendable['service'], path: string, headers: Record<string, string>, body?: object): Sendable {
  return { service, path, headers, body }
}

/** What the requests are about: the same in each system's database. */
export interface Ground {
  /** For callers of Orders, with all scopes. */
  token: string
  customerId: number
  firstProduct: number
  products: number
  /** Orders that were confirmed before the load began. */
  confirmed: { id: number; key: string }[]
}

export interface Shot {
  method: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  body?: object
}

export interface Workload {
  name: string
  title: string
  service: 'orders' | 'orchestrator'
  /** Of an answer that counts as done. */
  status: number
  /** Whether each answer is a new order. */
  places: boolean
  shot(ground: Ground): Shot
}

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'order',
    title: 'create and confirm, two lines of 1,000 products',
    service: 'orchestrator',
    status: 201,
    places: true,
    shot: (ground) => orchestrated(ground, [anyLine(ground), anyLine(ground)]),
  },
  {
    name: 'hot',
    title: 'create and confirm, all of one product',
    service: 'orchestrator',
    status: 201,
    places: true,
    shot: (ground) => orchestrated(ground, [{ product_id: ground.firstProduct, qty: 1 }]),
  },
  {
    name: 'create',
    title: 'create alone, two lines of 1,000 products',
    service: 'orders',
    status: 201,
    places: true,
    shot: (ground) => ({
      method: 'POST',
      path: '/orders',
      headers: bearer(ground),
      body: { customer_id: ground.customerId, items: [anyLine(ground), anyLine(ground)] },
    }),
  },
  {
    name: 'replay',
    title: 'confirm again with the same key',
    service: 'orders',
    status: 200,
    places: false,
    shot: (ground) => {
      const { id, key } = anyOf(ground.confirmed)
      return { method: 'POST', path: `/orders/${id}/confirm`, headers: { ...bearer(ground), 'x-idempotency-key': key } }
    },
  },
  {
    name: 'read',
    title: 'an order with its lines',
    service: 'orders',
    status: 200,
    places: false,
    shot: (ground) => ({ method: 'GET', path: `/orders/${anyOf(ground.confirmed).id}`, headers: bearer(ground) }),
  },
  {
    name: 'list',
    title: 'the newest 20 orders',
    service: 'orders',
    status: 200,
    places: false,
    shot: (ground) => ({ method: 'GET', path: '/orders?limit=20', headers: bearer(ground) }),
  },
]

function orchestrated({ customerId }: Ground, items: object[]): Shot {
  return {
    method: 'POST',
    path: '/orchestrator/create-and-confirm-order',
    body: { customer_id: customerId, items, idempotency_key: crypto.randomUUID() },
  }
}

function anyLine({ firstProduct, products }: Ground) {
  return { product_id: firstProduct + Math.floor(Math.random() * products), qty: 1 }
}

function anyOf<T>(list: readonly T[]): T {
  const one = list[Math.floor(Math.random() * list.length)]
  if (one === undefined) throw new Error('nothing to choose from')
  return one
}

function bearer({ token }: Ground) {
  return { authorization: `Bearer ${token}` }
}

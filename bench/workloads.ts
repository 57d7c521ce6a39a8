import type { HttpRequest } from '../testing/raw-http.ts'

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

export type Service = 'customers' | 'orders' | 'orchestrator'

export interface Line {
  product_id: number
  qty: number
}

export interface Shot extends HttpRequest {
  service: Service
  /** Of an answer that counts as done. */
  status: number
  /** Whether such an answer is a new order. */
  places: boolean
}

export interface Workload {
  name: string
  title: string
  shot(ground: Ground): Shot
  /** Of the orders that it creates and confirms, where it does nothing else: what a loop without HTTP can do too. */
  lines?(ground: Ground): Line[]
}

const SHARE_OF_ORDERS_IN_MIX = 0.2

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'order',
    title: 'create and confirm, two lines of 1,000 products',
    shot: (ground) => orchestrated(ground, twoLines(ground)),
    lines: twoLines,
  },
  {
    name: 'hot',
    title: 'create and confirm, all of one product',
    shot: (ground) => orchestrated(ground, hotLine(ground)),
    lines: hotLine,
  },
  {
    name: 'create',
    title: 'create alone, two lines of 1,000 products',
    shot: (ground) => ({
      service: 'orders',
      method: 'POST',
      path: '/orders',
      headers: bearer(ground),
      body: { customer_id: ground.customerId, items: twoLines(ground) },
      status: 201,
      places: true,
    }),
  },
  {
    name: 'replay',
    title: 'confirm again with the same key',
    shot: (ground) => {
      const { id, key } = anyOf(ground.confirmed)
      return {
        service: 'orders',
        method: 'POST',
        path: `/orders/${id}/confirm`,
        headers: { ...bearer(ground), 'x-idempotency-key': key },
        status: 200,
        places: false,
      }
    },
  },
  { name: 'read', title: 'an order with its lines', shot: readOne },
  { name: 'list', title: 'the newest 20 orders', shot: readNewest },
  {
    name: 'mix',
    title: '80 % reads, half an order and half the newest 20; 20 % create and confirm',
    shot: (ground) => {
      if (Math.random() < SHARE_OF_ORDERS_IN_MIX) return orchestrated(ground, twoLines(ground))
      return Math.random() < 0.5 ? readOne(ground) : readNewest(ground)
    },
  },
]

function orchestrated({ customerId }: Ground, items: Line[]): Shot {
  return {
    service: 'orchestrator',
    method: 'POST',
    path: '/orchestrator/create-and-confirm-order',
    body: { customer_id: customerId, items, idempotency_key: crypto.randomUUID() },
    status: 201,
    places: true,
  }
}

function readOne(ground: Ground): Shot {
  return readOrders(`/${anyOf(ground.confirmed).id}`, ground)
}

function readNewest(ground: Ground): Shot {
  return readOrders('?limit=20', ground)
}

function readOrders(which: string, ground: Ground): Shot {
  const path = `/orders${which}`
  return { service: 'orders', method: 'GET', path, headers: bearer(ground), status: 200, places: false }
}

function twoLines(ground: Ground): Line[] {
  return [anyLine(ground), anyLine(ground)]
}

function hotLine({ firstProduct }: Ground): Line[] {
  return [{ product_id: firstProduct, qty: 1 }]
}

function anyLine({ firstProduct, products }: Ground): Line {
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

import type { HttpRequest } from '../testing/raw-http.ts'

/** What the requests refer to: the same rows in each system's database. */
export interface Fixture {
  /** A token for Orders, with all scopes. */
  token: string
  customerId: number
  firstProduct: number
  products: number
  /** Orders confirmed before the load. */
  confirmed: { id: number; key: string }[]
}

export type Service = 'customers' | 'orders' | 'orchestrator'

export interface Line {
  product_id: number
  qty: number
}

export interface RequestSpec extends HttpRequest {
  service: Service
  /** The status of a successful response. */
  status: number
  /** Whether success means a new order. */
  places: boolean
}

export interface Workload {
  name: string
  title: string
  request(fixture: Fixture): RequestSpec
  /** The lines of its orders, if it only creates and confirms: then the loops without HTTP can run it too. */
  lines?(fixture: Fixture): Line[]
}

const SHARE_OF_ORDERS_IN_MIX = 0.2

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'order',
    title: 'create and confirm, two lines of 1,000 products',
    request: (fixture) => orchestrated(fixture, twoLines(fixture)),
    lines: twoLines,
  },
  {
    name: 'hot',
    title: 'create and confirm, all of one product',
    request: (fixture) => orchestrated(fixture, hotLine(fixture)),
    lines: hotLine,
  },
  {
    name: 'create',
    title: 'create alone, two lines of 1,000 products',
    request: (fixture) => ({
      service: 'orders',
      method: 'POST',
      path: '/orders',
      headers: bearer(fixture),
      body: { customer_id: fixture.customerId, items: twoLines(fixture) },
      status: 201,
      places: true,
    }),
  },
  {
    name: 'replay',
    title: 'confirm again with the same key',
    request: (fixture) => {
      const { id, key } = anyOf(fixture.confirmed)
      return {
        service: 'orders',
        method: 'POST',
        path: `/orders/${id}/confirm`,
        headers: { ...bearer(fixture), 'x-idempotency-key': key },
        status: 200,
        places: false,
      }
    },
  },
  { name: 'read', title: 'an order with its lines', request: readOne },
  { name: 'list', title: 'the newest 20 orders', request: readNewest },
  {
    name: 'mix',
    title: '80 % reads, half an order and half the newest 20; 20 % create and confirm',
    request: (fixture) => {
      if (Math.random() < SHARE_OF_ORDERS_IN_MIX) return orchestrated(fixture, twoLines(fixture))
      return Math.random() < 0.5 ? readOne(fixture) : readNewest(fixture)
    },
  },
]

function orchestrated({ customerId }: Fixture, items: Line[]): RequestSpec {
  return {
    service: 'orchestrator',
    method: 'POST',
    path: '/orchestrator/create-and-confirm-order',
    body: { customer_id: customerId, items, idempotency_key: crypto.randomUUID() },
    status: 201,
    places: true,
  }
}

function readOne(fixture: Fixture): RequestSpec {
  return readOrders(`/${anyOf(fixture.confirmed).id}`, fixture)
}

function readNewest(fixture: Fixture): RequestSpec {
  return readOrders('?limit=20', fixture)
}

function readOrders(which: string, fixture: Fixture): RequestSpec {
  const path = `/orders${which}`
  return { service: 'orders', method: 'GET', path, headers: bearer(fixture), status: 200, places: false }
}

function twoLines(fixture: Fixture): Line[] {
  return [anyLine(fixture), anyLine(fixture)]
}

function hotLine({ firstProduct }: Fixture): Line[] {
  return [{ product_id: firstProduct, qty: 1 }]
}

function anyLine({ firstProduct, products }: Fixture): Line {
  return { product_id: firstProduct + Math.floor(Math.random() * products), qty: 1 }
}

function anyOf<T>(list: readonly T[]): T {
  const one = list[Math.floor(Math.random() * list.length)]
  if (one === undefined) throw new Error('nothing to choose from')
  return one
}

function bearer({ token }: Fixture) {
  return { authorization: `Bearer ${token}` }
}
